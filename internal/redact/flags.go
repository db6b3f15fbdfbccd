// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// named is a name and its separator from the value: --password=, "token": , Authorization: , :secret => , ('TOKEN', .
var named = regexp.MustCompile(`([A-Za-z0-9_.-]+)(?:[\\"'\]]*[ \t]*(?:=>|[:+]?=|:)|\\*["'][ \t]*,)[ \t]*`)

// maskNamed masks the values of secret names. The value of a name at the start of the text is the rest of the text, which is one argument or
// one header. The value of any other name ends as in a shell, a URL or JSON.
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
		scheme := s[from-1] == ':' && strings.HasPrefix(s[from:], "//") // token://
		to := from
		if !scheme && secretName(name) {
			to += valueLength(s[from:], name, start == 0)
		}
		b.WriteString(s[at:from])
		if plainValue(s[from:to]) {
			to = from
		}
		b.WriteString(hideKeeping(s[from:to]))
		at = to
	}
	b.WriteString(s[at:])
	return b.String()
}

// plainValue reports whether a value is a boolean, which is not a secret under any name.
func plainValue(s string) bool { return s == "true" || s == "false" }

// valueLength returns the length of the value at the start of s.
func valueLength(s, name string, toEnd bool) int {
	if toEnd {
		return len(s)
	}
	bare := strings.TrimLeft(s, `\`)
	quoted := bare != "" && (bare[0] == '"' || bare[0] == '\'')
	switch {
	case quoted:
		return quotedLength(s, s[:len(s)-len(bare)+1])
	case s != "" && strings.IndexByte("([{", s[0]) >= 0:
		return bracketLength(s)
	case len(s) > len(mask) && strings.HasPrefix(s, mask) && strings.IndexByte(",)]}", s[len(mask)]) >= 0:
		return len(mask) // a masked list or object
	case header(name): // its value has spaces: a scheme and a credential, or several cookies
		return lengthUntil(s, "\r\n\"'`")
	}
	return lengthUntil(s, " \t\r\n&\"'`")
}

func lengthUntil(s, ends string) int {
	if end := strings.IndexAny(s, ends); end >= 0 {
		return end
	}
	return len(s)
}

// quotedLength returns the length of the quoted text at the start of s. In a nested quoted text, the quote has backslashes before it;
// with more of them it is a literal quote.
func quotedLength(s, quote string) int {
	for at := len(quote); at < len(s); {
		end := strings.IndexByte(s[at:], quote[len(quote)-1])
		if end < 0 {
			break
		}
		at += end + 1
		slashes := 0
		for slashes < at-1 && s[at-2-slashes] == '\\' {
			slashes++
		}
		if escapes := len(quote) - 1; slashes == escapes || (escapes == 0 && slashes%2 == 0) {
			return at
		}
	}
	return len(s)
}

// bracketLength returns the length of the list or object at the start of s.
func bracketLength(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// header reports whether a header of that name contains credentials.
func header(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, "authorization") || strings.HasSuffix(name, "cookie")
}

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

// oraclePrograms have an argument user/password@database.
var oraclePrograms = map[string]bool{"sqlplus": true, "sqlldr": true, "rman": true, "expdp": true, "impdp": true}

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

// lastSecrets are commands whose last arguments are secrets without a flag.
var lastSecrets = []struct {
	program, command string
	last             int
}{
	{"rabbitmqctl", "add_user", 1},
	{"rabbitmqctl", "change_password", 1},
	{"rabbitmqctl", "authenticate_user", 1},
	{"vault", "login", 1},
	{"mc", "alias", 2},
	{"htpasswd", "-b", 1},
	{"htpasswd", "-nb", 1},
	{"htpasswd", "-cb", 1},
	{"htpasswd", "-bc", 1},
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

// plainP are long options with one dash, of find, java, terraform, haproxy and others, that are not -p with a password.
var plainP = map[string]bool{
	"path": true, "port": true, "ports": true, "print": true, "print0": true, "printf": true, "proxy": true, "profile": true,
	"plugin": true, "plugins": true, "pid": true, "pidfile": true, "prune": true, "parallel": true, "parallelism": true,
	"perm": true, "package": true, "prefix": true, "protocol": true, "pprof": true, "profiler": true, "policy": true,
	"partition": true, "pool": true, "peer": true, "peers": true, "ping": true, "platform": true, "project": true, "public": true,
	"pod": true, "pods": true, "preset": true, "pix": true, "pipe": true, "pthread": true, "pedantic": true, "poll": true, "pull": true, "push": true,
	"passin": true, "passout": true,
}

// plainAfterP is a port, a mapping of ports, a path, a flag or a mask.
var plainAfterP = regexp.MustCompile(`^(?:[0-9.:/\[\]-]+(?:/(?:tcp|udp|sctp))?|\.{0,2}/.*|-.*|\*{1,3})$`)

// secretAfter are short flags that have a secret after them, or attached, in some programs only.
var secretAfter = map[string][]string{
	"sshpass":    {"-p"},
	"redis-cli":  {"-a"},
	"ldapsearch": {"-w"},
	"cqlsh":      {"-p"},
	"mongo":      {"-p"},
	"mongosh":    {"-p"},
	"mongodump":  {"-p"},
	"sqlcmd":     {"-P"},
	"bcp":        {"-P"},
	"ipmitool":   {"-P"},
	"zip":        {"-P"},
	"unzip":      {"-P"},
	"snmpwalk":   {"-A", "-X", "-c"},
	"snmpget":    {"-A", "-X", "-c"},
	"openssl":    {"-k", "-K", "-passin", "-passout"},
	"xfreerdp":   {"/p:"},
	"etcdctl":    {"--user"},
}

// attachedP are programs whose -p always has an attached password.
var attachedP = map[string]bool{"mysql": true, "sshpass": true, "7z": true, "7za": true, "7zr": true}

// plainPrograms are programs whose -p is not a secret. They are compared with the first word only, because other programs have subcommands of
// the same names.
var plainPrograms = map[string]bool{
	"mkdir": true, "cp": true, "scp": true, "tar": true, "rsync": true, "install": true, "touch": true, "ps": true, "perl": true, "bash": true,
	"sh": true, "make": true, "gcc": true, "g++": true, "cc": true, "c++": true, "clang": true, "systemctl": true, "tini": true, "ffmpeg": true,
	"gunicorn": true, "nginx": true, "pytest": true, "find": true,
}

// isProgram are the programs with flags that are secret in them only.
var isProgram = func() map[string]bool {
	all := maps.Clone(attachedP)
	for program := range secretAfter {
		all[program] = true
	}
	return all
}()

// userFlags have a value user:password.
var userFlags = map[string]bool{"-u": true, "--user": true, "-U": true, "--proxy-user": true, "--login": true}

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
