// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"strings"
)

// rule is a line of the table of programs: where the commands of some programs have a secret, or what in them is none.
type rule struct {
	// programs are the names of the programs, separated by spaces. mysql* are all names that begin so.
	programs string
	// pattern is a list of words, separated by spaces. The last one is a value, the others say where it is:
	//
	//	login|auth   an argument, one of these words, in any case
	//	~b           a cluster of one-letter flags that has this one, such as -nbB
	//	*            any argument that is neither a flag nor its value
	//	...          any number of arguments
	//	-p|--pass    the flags before the value, separate or joined: -p x, -px, --pass x, --pass=x; also /rp as in Windows
	//
	// The values:
	//
	//	SECRET       the argument is secret; with + every further argument
	//	LAST         the last argument that is neither a flag nor its value; LAST2 is the one before it
	//	USER:SECRET  what is after the first colon; also with a percent sign, a comma, and USER/SECRET@DB
	//	KEY=SECRET   what is after the first equals sign; with + in every further argument
	//	COOKIE       the argument, if it is a list of cookies and not a file
	//	JOINED       the value of a flag that is joined to it only, as in mysql -px
	//	/p:SECRET    what is after these characters, in any argument
	//	<SECRET      the standard input; <USER:SECRET each of its lines
	//	PLAIN        not secret, against the rules that hold for every program
	pattern string
	secret  string // a command with a secret between « and »; empty for PLAIN
	plain   string // a command in which the rule masks nothing
}

// program is what the table says of one program.
type program struct {
	plain     bool // it has rules against other rules only
	wrapper   bool // it starts another program, whose name is one of its arguments
	longDash  bool // it has long flags with one dash, so that no value is joined to a short one
	slashes   bool // its flags begin with a slash, as in Windows
	flags     map[string][]matcher
	prefixes  []matcher
	positions []matcher
	stdin     []matcher
}

// matcher is a compiled pattern.
type matcher struct {
	path   []step
	prefix string // what is before the secret in the argument
	value  value
	every  bool // the value is every further argument
}

// step is one word of a pattern before the value.
type step struct {
	words   []string
	cluster byte
	any     bool // one argument
	rest    bool // any number of arguments
}

// value says which part of an argument is secret.
type value byte

// The values of patterns.
const (
	wholeValue value = iota
	lastValue
	beforeLastValue
	colonValue
	percentValue
	commaValue
	oracleValue
	keyValue
	cookieValue
	joinedValue
	plainArgument
)

var values = map[string]value{
	"SECRET": wholeValue, "LAST": lastValue, "LAST2": beforeLastValue, "USER:SECRET": colonValue, "USER%SECRET": percentValue,
	"USER,SECRET": commaValue, "USER/SECRET@DB": oracleValue, "KEY=SECRET": keyValue, "COOKIE": cookieValue, "JOINED": joinedValue,
	"PLAIN": plainArgument,
}

// compileRules compiles a table and the names of programs that start others.
func compileRules(table []rule, wrappers string) (exact, families map[string]*program) {
	exact, families = map[string]*program{}, map[string]*program{}
	of := func(name string) *program {
		all := exact
		if family, ok := strings.CutSuffix(name, "*"); ok {
			name, all = family, families
		}
		if all[name] == nil {
			all[name] = &program{plain: true, flags: map[string][]matcher{}}
		}
		return all[name]
	}
	for _, rule := range table {
		for name := range strings.FieldsSeq(rule.programs) {
			of(name).add(strings.Fields(rule.pattern))
		}
	}
	for name := range strings.FieldsSeq(wrappers) {
		of(name).wrapper = true
	}
	for family, p := range families {
		for name, q := range exact {
			if strings.HasPrefix(name, family) {
				q.inherit(p)
			}
		}
	}
	return exact, families
}

// add compiles one pattern of the program.
func (p *program) add(pattern []string) {
	last := pattern[len(pattern)-1]
	m := matcher{}
	last, m.every = strings.CutSuffix(last, "+")
	last, stdin := strings.CutPrefix(last, "<")
	known, ok := values[last]
	if m.value = known; !ok {
		m.prefix = strings.TrimSuffix(last, "SECRET")
	}
	p.plain = p.plain && m.value == plainArgument
	path := pattern[:len(pattern)-1]
	var flags []string
	if n := len(path); n > 0 && !stdin && !m.value.fromEnd() && strings.IndexByte("-/+", path[n-1][0]) >= 0 {
		flags = strings.Split(path[n-1], "|")
		path = path[:n-1]
	}
	for _, word := range path {
		m.path = append(m.path, stepOf(word))
	}
	switch {
	case stdin:
		p.stdin = append(p.stdin, m)
	case m.prefix != "":
		p.slashes = p.slashes || m.prefix[0] == '/'
		p.prefixes = append(p.prefixes, m)
	case flags == nil:
		p.positions = append(p.positions, m)
	}
	for _, flag := range flags {
		p.addFlag(flag, m)
	}
}

// fromEnd reports whether the value is counted from the last argument.
func (v value) fromEnd() bool { return v == lastValue || v == beforeLastValue }

func (p *program) addFlag(flag string, m matcher) {
	p.slashes = p.slashes || flag[0] == '/'
	p.longDash = p.longDash || len(flag) > 2 && flag[0] == '-' && flag[1] != '-'
	p.flags[flag] = append(p.flags[flag], m)
}

// inherit adds the rules of the family of the program after its own.
func (p *program) inherit(family *program) {
	p.plain = p.plain && family.plain
	p.longDash = p.longDash || family.longDash
	p.prefixes = append(p.prefixes, family.prefixes...)
	p.positions = append(p.positions, family.positions...)
	p.stdin = append(p.stdin, family.stdin...)
	for flag, all := range family.flags {
		p.flags[flag] = append(p.flags[flag], all...)
	}
}

func stepOf(word string) step {
	switch {
	case word == "*":
		return step{any: true}
	case word == "...":
		return step{rest: true}
	case word[0] == '~':
		return step{cluster: word[1]}
	}
	return step{words: strings.Split(word, "|")}
}

// literal reports whether the step is a given word.
func (s step) literal() bool { return !s.any && !s.rest }

// matches reports whether an argument is the given word of the step.
func (s step) matches(arg string) bool {
	if s.cluster != 0 {
		return len(arg) > 1 && arg[0] == '-' && arg[1] != '-' && strings.IndexByte(arg, s.cluster) > 0
	}
	for _, word := range s.words {
		if strings.EqualFold(word, arg) {
			return true
		}
	}
	return false
}

// hide masks the secret part of an argument.
func (v value) hide(arg string) string {
	switch v {
	case colonValue:
		return hidePair(arg, ":")
	case percentValue:
		return hidePair(arg, "%")
	case commaValue:
		return hidePair(arg, ",")
	case keyValue:
		return hidePair(arg, "=")
	case oracleValue:
		return replaceGroup(arg, oracleLogin, 1)
	case cookieValue:
		if !strings.Contains(arg, "=") {
			return arg
		}
	case plainArgument, joinedValue:
		return arg
	default: // the complete argument
	}
	if plainValue(arg) {
		return arg
	}
	return hide(arg)
}

// hidePair masks what is after the separator. uid:gid and key=@file have no secret.
func hidePair(s, separator string) string {
	name, secret, ok := strings.Cut(s, separator)
	if !ok || secret == "" || numericPair(s) || plainValue(secret) || separator == "=" && (secret[0] == '@' || plainPairs[strings.ToLower(name)]) {
		return s
	}
	return name + separator + hide(secret)
}

// plainPairs are keys of a pair of which the value is not secret.
var plainPairs = words("user username host hostname port database dbname db name email region endpoint url mode env type ttl role role_id policies path")

// numericPair reports whether s is uid:gid.
func numericPair(s string) bool { return strings.Trim(s, "0123456789:") == "" }
