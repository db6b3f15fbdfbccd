// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// flagWithin is a flag and the word after it in one text: sh -c "mysql --password hunter2".
var flagWithin = regexp.MustCompile(`(?:^|[\s"'])(--?[A-Za-z][A-Za-z0-9_.-]*)[ \t]+(?:\\\r?\n[ \t]*|=[ \t]+)?("[^"]*"|'[^']*'|[^\s"'-][^\s]*)`)

// shortWithin is -p with an attached value in one text.
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
			to = from // the word after it may be a flag too
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

// maskList masks secrets that only the order of the arguments shows, such as the argument after a flag.
func maskList(args []string) {
	if len(args) == 0 {
		return
	}
	given := slices.Clone(args) // a masked argument is still needed to recognize the next one
	program := programOf(args[0])
	for i := 1; i < len(args); i++ {
		arg, before := given[i], given[i-1]
		if arg == "=" {
			given[i] = before // the next argument is the value
			continue
		}
		if i > 1 && secretFlag(before) && !strings.HasPrefix(arg, "--") && !plainValue(arg) || secretAfterWord(program, before, arg) {
			args[i] = hide(arg)
		} else {
			maskArgument(program, before, &args[i])
		}
		if known := programOf(arg); isProgram[known] {
			program = known // after env, sudo, timeout and the like
		}
	}
	maskLast(args)
}

// secretAfterWord reports whether arg is a secret because of the argument before it, which is not a long flag.
func secretAfterWord(program, before, arg string) bool {
	return slices.Contains(secretAfter[program], before) ||
		secretWord(before) && strings.IndexByte("-=:", (arg + "-")[0]) < 0 ||
		before == "-p" && !plainPrograms[program] && !plainAfterP.MatchString(arg)
}

// maskArgument masks the part of an argument that is secret.
func maskArgument(program, before string, arg *string) {
	a := *arg
	switch {
	case attachedTo(program, a):
		*arg = a[:2] + hide(a[2:])
	case len(a) > 3 && slices.Contains(secretAfter[program], a[:3]): // /p:
		*arg = a[:3] + hide(a[3:])
	case userFlags[before]:
		*arg = maskUserPair(program, a)
	case before == "--from-literal":
		*arg = maskLiteral(a)
	default:
		maskJoined(program, arg)
	}
}

func programOf(arg string) string {
	program := path.Base(arg)
	switch {
	case strings.HasPrefix(program, "mysql"), strings.HasPrefix(program, "mariadb"):
		return "mysql" // and mysqldump, mariadb-admin …
	case strings.HasPrefix(program, "ldap"):
		return "ldapsearch"
	}
	return program
}

// maskJoined masks the value that is part of a flag: -ume:hunter2, --user=me:hunter2, --from-literal=a=hunter2.
func maskJoined(program string, arg *string) {
	if name, value, ok := strings.Cut(*arg, "="); ok {
		switch {
		case userFlags[name]:
			*arg = name + "=" + maskUserPair(program, value)
			return
		case name == "--from-literal":
			*arg = name + "=" + maskLiteral(value)
			return
		}
	}
	if oraclePrograms[program] {
		*arg = replaceGroup(*arg, oracleLogin, 1)
		return
	}
	if joinedUser.MatchString(*arg) && !strings.HasPrefix(*arg, "-url:") {
		*arg = (*arg)[:2] + maskUserPair(program, (*arg)[2:])
	}
}

var oracleLogin = regexp.MustCompile(`^[^-/@=][^/@=]*/([^/@][^@]*)`)

var joinedUser = regexp.MustCompile(`^-[uU][A-Za-z0-9_.@%+-]+:[^/]`)

// maskLiteral masks the value of kubectl's --from-literal=key=value.
func maskLiteral(s string) string {
	key, value, ok := strings.Cut(s, "=")
	if !ok {
		return s
	}
	return key + "=" + hide(value)
}

// maskLast masks the last arguments of the commands in lastSecrets.
func maskLast(args []string) {
	for _, secret := range lastSecrets {
		at := slices.IndexFunc(args, func(arg string) bool { return path.Base(arg) == secret.program })
		if at < 0 {
			continue
		}
		command := slices.Index(args[at:], secret.command)
		if command < 0 {
			continue
		}
		for i := max(len(args)-secret.last, at+command+1); i < len(args); i++ {
			if !strings.HasPrefix(args[i], "-") && !strings.Contains(args[i], "=") {
				args[i] = hide(args[i])
			}
		}
	}
}

// secretFlag reports whether the argument is a flag without a value whose value is secret.
func secretFlag(arg string) bool {
	name := strings.TrimLeft(arg, "-")
	if name == arg || name == "" || len(arg)-len(name) > 2 || strings.ContainsAny(name, "=: \t/") {
		return false
	}
	words := split(name)
	return len(words) > 0 && !refusals[words[0]] && secretName(name)
}

// secretWord reports whether the argument is the name of a secret without dashes, as aws configure set and nmcli have it before the secret.
func secretWord(arg string) bool {
	switch arg {
	case "password", "passwd", "passphrase", "authtoken", "psk":
		return true
	}
	return bareName.MatchString(arg) && secretName(arg)
}

var bareName = regexp.MustCompile(`^[a-z]+(?:_[a-z]+)+$`)

// attachedTo reports whether the argument is a one-letter flag with an attached secret.
func attachedTo(program, arg string) bool {
	switch {
	case len(arg) < 3 || arg[0] != '-' || arg[1] == '-':
		return false
	case attachedP[program]:
		return arg[1] == 'p' && !secretFlag(arg)
	case arg[1] == 'p':
		return !plainPrograms[program] && attachedSecret(arg)
	}
	return slices.Contains(secretAfter[program], arg[:2])
}

// attachedSecret reports whether the argument is -p with an attached password, as in the MySQL and MariaDB tools.
func attachedSecret(arg string) bool {
	if len(arg) < 3 || !strings.HasPrefix(arg, "-p") || secretFlag(arg) {
		return false
	}
	word := arg[1:]
	if end := strings.IndexAny(word, "=-._"); end >= 0 {
		word = word[:end]
	}
	return !plainP[word] && !plainAfterP.MatchString(arg[2:])
}

// plainAfterP is a port, a mapping of ports, a path, a flag or a mask.
var plainAfterP = regexp.MustCompile(`^(?:[0-9.:/\[\]-]+(?:/(?:tcp|udp|sctp))?|\.{0,2}/.*|-.*|\*{1,3})$`)

var numericPair = regexp.MustCompile(`^[0-9]*:[0-9]*$`) // uid:gid

// maskUserPair masks the password of user:password. The separator is a percent sign in Samba's tools and a comma in lftp.
func maskUserPair(program, s string) string {
	separator := ":"
	switch program {
	case "smbclient", "rpcclient", "net", "smbget":
		separator = "%"
	case "lftp":
		separator = ","
	}
	user, password, ok := strings.Cut(s, separator)
	if !ok || numericPair.MatchString(s) {
		return s
	}
	return user + separator + hide(password)
}
