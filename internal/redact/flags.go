// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"path"
	"regexp"
	"strings"
)

// named is a name and what separates it from its value: --password=, "token": , Authorization: .
var named = regexp.MustCompile(`([A-Za-z0-9_.-]+)["']?(?:[ \t]*=[ \t]*|[ \t]*:[ \t]*)`)

// maskNamed masks the values of secret names. A name that the text begins with owns all that follows it on its line, for it is
// one argument or one header; any other owns what a shell, a URL or JSON would give it.
func maskNamed(s string) string {
	var b strings.Builder
	at := 0
	for {
		match := named.FindStringSubmatchIndex(s[at:])
		if match == nil {
			break
		}
		start, from := at+match[2], at+match[1]
		name := s[start : at+match[3]]
		if !secretName(name) || strings.HasPrefix(s[from:], "//") {
			b.WriteString(s[at:from])
			at = from
			continue
		}
		to := from + valueLength(s[from:], start == 0)
		b.WriteString(s[at:from])
		b.WriteString(hideKeeping(s[from:to]))
		at = to
	}
	b.WriteString(s[at:])
	return b.String()
}

// valueLength says how far the value reaches that s begins with.
func valueLength(s string, whole bool) int {
	if whole {
		if end := strings.IndexByte(s, '\n'); end >= 0 {
			return end
		}
		return len(s)
	}
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		if end := strings.IndexByte(s[1:], s[0]); end >= 0 {
			return end + 2
		}
		return len(s)
	}
	if end := strings.IndexAny(s, " \t\r\n&\"'`"); end >= 0 {
		return end
	}
	return len(s)
}

// flagWithin is a flag and the word after it, inside one text: sh -c "mysql --password hunter2".
var flagWithin = regexp.MustCompile(`(?:^|[\s"'])(--?[A-Za-z][A-Za-z0-9_.-]*)[ \t]+("[^"]*"|'[^']*'|[^\s"'-][^\s]*)`)

// shortWithin is -p with its value attached, inside one text.
var shortWithin = regexp.MustCompile(`[\s"'](-p[^\s"'=]+)`)

func maskFlagsWithin(s string) string {
	if !strings.Contains(s, "-") {
		return s
	}
	var b strings.Builder
	at := 0
	for {
		match := flagWithin.FindStringSubmatchIndex(s[at:])
		if match == nil {
			break
		}
		from, to := at+match[4], at+match[5]
		if !secretFlag(s[at+match[2] : at+match[3]]) {
			to = from // what looked like its value may be a flag's owner itself
			b.WriteString(s[at:to])
			at = to
			continue
		}
		b.WriteString(s[at:from])
		b.WriteString(hideKeeping(s[from:to]))
		at = to
	}
	b.WriteString(s[at:])
	s = b.String()

	b.Reset()
	at = 0
	for _, match := range shortWithin.FindAllStringSubmatchIndex(s, -1) {
		if flag := s[match[2]:match[3]]; attachedSecret(flag) {
			b.WriteString(s[at : match[2]+2])
			b.WriteString(hide(flag[2:]))
			at = match[3]
		}
	}
	b.WriteString(s[at:])
	return b.String()
}

// list masks what only the order of the arguments tells: a flag's value in the argument after it.
func (r *Redactor) list(args []string) {
	if len(args) == 0 {
		return
	}
	program := path.Base(args[0])
	for i := 1; i < len(args); i++ {
		arg, before := args[i], args[i-1]
		switch {
		case i > 1 && secretFlag(before) && !strings.HasPrefix(arg, "--"),
			secretAfter[program] != nil && secretAfter[program][before]:
			args[i] = hide(arg)
		case before == "-p" && !plainAfterP.MatchString(arg):
			args[i] = hide(arg)
		case attachedSecret(arg):
			args[i] = arg[:2] + hide(arg[2:])
		case userFlags[before]:
			args[i] = maskUserPair(arg)
		default:
			if name, value, ok := strings.Cut(arg, "="); ok && userFlags[name] {
				args[i] = name + "=" + maskUserPair(value)
			}
		}
	}
}

// secretFlag says whether the argument is a flag, without a value, whose value is secret.
func secretFlag(arg string) bool {
	name := strings.TrimLeft(arg, "-")
	if name == arg || name == "" || len(arg)-len(name) > 2 || strings.ContainsAny(name, "=: \t/") {
		return false
	}
	words := split(name)
	return len(words) > 0 && !refusals[words[0]] && secretName(name)
}

// attachedSecret says whether the argument is -p with a value attached, as the MySQL and MariaDB tools take a password.
func attachedSecret(arg string) bool {
	if len(arg) < 3 || !strings.HasPrefix(arg, "-p") {
		return false
	}
	word, _, _ := strings.Cut(arg[1:], "=")
	return !plainP[word] && !plainAfterP.MatchString(arg[2:])
}

// plainP are the long options with one dash, of find, java, terraform, haproxy and their like, that -p must not be seen in.
var plainP = map[string]bool{
	"path": true, "port": true, "ports": true, "print": true, "print0": true, "printf": true, "proxy": true, "profile": true,
	"plugin": true, "plugins": true, "pid": true, "pidfile": true, "prune": true, "parallel": true, "parallelism": true,
	"perm": true, "package": true, "prefix": true, "protocol": true, "pprof": true, "profiler": true, "policy": true,
	"partition": true, "pool": true, "peer": true, "peers": true, "ping": true, "platform": true, "project": true, "public": true,
}

// plainAfterP is a port, a mapping of ports, a path, a flag, or what is masked already.
var plainAfterP = regexp.MustCompile(`^(?:[0-9.:/\[\]-]+(?:/(?:tcp|udp|sctp))?|\.{0,2}/.*|-.*|\*{1,3})$`)

// secretAfter are short flags that only some programs take a secret after.
var secretAfter = map[string]map[string]bool{
	"sshpass":    {"-p": true},
	"redis-cli":  {"-a": true},
	"ldapsearch": {"-w": true},
	"ldapmodify": {"-w": true},
	"ldapadd":    {"-w": true},
	"ldapwhoami": {"-w": true},
	"cqlsh":      {"-p": true},
	"mongo":      {"-p": true},
	"mongosh":    {"-p": true},
	"mongodump":  {"-p": true},
	"sqlcmd":     {"-P": true},
	"bcp":        {"-P": true},
	"ipmitool":   {"-P": true},
	"snmpwalk":   {"-A": true, "-X": true, "-c": true},
	"etcdctl":    {"--user": true},
}

// userFlags take user:password.
var userFlags = map[string]bool{"-u": true, "--user": true, "-U": true, "--proxy-user": true}

var numericPair = regexp.MustCompile(`^[0-9]*:[0-9]*$`) // uid:gid

// maskUserPair masks the password of user:password.
func maskUserPair(s string) string {
	user, password, ok := strings.Cut(s, ":")
	if !ok || numericPair.MatchString(s) {
		return s
	}
	return user + ":" + hide(password)
}
