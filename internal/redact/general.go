// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"regexp"
	"strings"
)

// unknown is a program that is not in the table.
var unknown program

// maskGeneral masks an argument by the rules that hold for every program: it follows a flag with a secret name, it follows -p, or it is
// user:password after -u. It reports whether the argument is the value of a flag with a secret.
func maskGeneral(p *program, before, arg string) (string, bool) {
	switch {
	case secretFlag(before) && !strings.HasPrefix(arg, "--"):
		if plainFor(before, arg) {
			return arg, true
		}
		return hide(arg), true
	case before == "-p" && !plainAfterP(arg):
		return hide(arg), true
	case userFlags[before]:
		return hidePair(arg, ":"), true
	case p == &unknown && joinedPassword(arg):
		return arg[:2] + hide(arg[2:]), true
	}
	return maskJoinedPair(arg), false
}

// maskJoinedPair masks the password of -uuser:password and --user=user:password.
func maskJoinedPair(arg string) string {
	if name, pair, ok := strings.Cut(arg, "="); ok && userFlags[name] {
		return name + "=" + hidePair(pair, ":")
	}
	if len(arg) > 4 && arg[0] == '-' && (arg[1] == 'u' || arg[1] == 'U') && joinedUser.MatchString(arg) {
		return arg[:2] + hidePair(arg[2:], ":")
	}
	return arg
}

// userFlags have a value user:password.
var userFlags = map[string]bool{"-u": true, "--user": true, "-U": true, "--proxy-user": true, "--login": true}

var oracleLogin = regexp.MustCompile(`^[^-/@=][^/@=]*/([^/@][^@]*)`)

// joinedUser is -uuser:password, and not a long option such as -url:x.
var joinedUser = regexp.MustCompile(`^-[uU][A-Za-z0-9_.@%+-]+:[^/]`)

// secretFlag reports whether the argument is a flag without a value whose value is secret.
func secretFlag(arg string) bool {
	name := strings.TrimLeft(arg, "-")
	if name == arg || len(name) < 2 || len(arg)-len(name) > 2 || strings.ContainsAny(name, "=: \t/") {
		return false
	}
	return secretName(name)
}

// longPassword reports whether the argument is -password or the like, and not -p with a password joined to it.
func longPassword(arg string) bool {
	return strings.EqualFold(arg, "-pw") || len(arg) > 3 && (strings.EqualFold(arg[:4], "-pas") || strings.EqualFold(arg[:4], "-pwd"))
}

// secretWord reports whether the argument is the name of a secret without dashes, as many tools have it before the secret.
func secretWord(arg string) bool {
	if host, key, ok := strings.Cut(arg, "/:_"); ok && strings.HasPrefix(host, "//") { // npm's keys of one registry
		return key == "authToken" || key == "auth" || key == "password"
	}
	switch arg {
	case "password", "passwd", "passphrase", "authtoken", "psk", "Password", "PASSWORD":
		return true
	}
	return strings.Contains(arg, "_") && bareName.MatchString(arg) && secretName(arg) || strings.HasPrefix(arg, "set-") && secretName(arg)
}

var bareName = regexp.MustCompile(`^[a-z]+(?:_[a-z]+)+$`)

// plainWord reports whether the word after the name of a secret without dashes is an ordinary one, as in: fix password handling.
func plainWord(arg string) bool {
	if arg == "" || strings.IndexByte("-=:+|.,$(", arg[0]) >= 0 || plainValue(arg) {
		return true
	}
	return strings.Trim(arg, "abcdefghijklmnopqrstuvwxyz") == "" || strings.Contains(arg, "/") && arg[0] != '/'
}

// plainAfterP reports whether what is after -p is a port, a mapping of ports, a protocol, a path, a flag or a mask.
func plainAfterP(arg string) bool {
	switch arg {
	case "", "tcp", "udp", "icmp", "icmpv6", "sctp", "all", "any", "http", "https", "tls", "ssl", "***", "**", "*":
		return true
	}
	return arg[0] == '-' || plainValue(arg) || portsOrPath.MatchString(arg)
}

var portsOrPath = regexp.MustCompile(`^(?:[0-9.:/\[\]-]+(?:/(?:tcp|udp|sctp))?|\.{0,2}/.*)$`)

// joinedPassword reports whether the argument of an unknown program is -p with a password joined to it. Most arguments that begin so are
// long options with one dash, so that it must have a digit or a sign, and not a word of plainP.
func joinedPassword(arg string) bool {
	if len(arg) < 5 || arg[0] != '-' || arg[1] != 'p' || secretFlag(arg) || portsOrPath.MatchString(arg[2:]) {
		return false
	}
	word := arg[1:]
	if end := strings.IndexFunc(word, func(c rune) bool { return c < 'a' || c > 'z' }); end >= 0 {
		word = word[:end]
	}
	return word != arg[1:] && !plainP[word] && !strings.ContainsAny(arg, "=:/")
}

// plainP are long options with one dash, of find, java, terraform, haproxy and others, that are not -p with a password.
var plainP = words(`path port ports print printf proxy profile plugin plugins pid pidfile prune parallel parallelism perm package prefix
	protocol pprof profiler policy partition pool peer peers ping platform project public pod pods preset pix pipe pthread pedantic poll
	pull push passin passout p pl`)

// words returns the set of the words in a text.
func words(text string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(text) {
		set[word] = true
	}
	return set
}
