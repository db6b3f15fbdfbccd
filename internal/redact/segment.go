// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"strings"
)

// maskList masks secrets that only the order of the arguments shows, such as the argument after a flag. The first argument is the program,
// or in a text possibly not.
func maskList(args []string) {
	if len(args) == 0 {
		return
	}
	p := lookup(args[0])
	start := 0
	for i := 1; i < len(args); i++ {
		next := lookup(args[i])
		switch { // mysql is the program in: timeout 5 mysql
		case next == nil, p == nil && next.plain, p != nil && !p.wrapper && args[i-1] != "--":
			continue
		}
		maskSegment(p, args[start:i])
		p, start = next, i
	}
	maskSegment(p, args[start:])
}

// segment is one program and its arguments.
type segment struct {
	*program
	args  []string // masked
	given []string // as given; an argument = has the flag before it instead
	taken []bool   // is a flag or its value
}

func maskSegment(p *program, args []string) {
	if p == nil {
		p = &unknown
	}
	s := segment{program: p, args: args, given: append([]string(nil), args...), taken: make([]bool, len(args))}
	s.maskFlags()
	for _, m := range p.positions {
		s.maskPositions(m)
	}
	s.maskWords()
	for _, m := range p.prefixes {
		for i, arg := range s.given {
			if len(arg) > len(m.prefix) && strings.EqualFold(arg[:len(m.prefix)], m.prefix) {
				args[i] = arg[:len(m.prefix)] + hide(arg[len(m.prefix):])
			}
		}
	}
}

// isFlag reports whether an argument has the form of a flag of the program.
func (s *segment) isFlag(arg string) bool {
	return len(arg) > 1 && (arg[0] == '-' || s.slashes && arg[0] == '/')
}

// maskFlags masks the values of flags.
func (s *segment) maskFlags() {
	for i, arg := range s.given {
		if i == 0 && !s.isFlag(arg) {
			continue
		}
		before := ""
		if i > 0 {
			before = s.given[i-1]
		}
		if arg == "=" && s.isFlag(before) {
			s.given[i] = before // the next argument is the value
			s.taken[i] = true
			continue
		}
		s.taken[i] = s.isFlag(arg) || s.known(arg) || arg == "-"
		s.maskFlag(i, before)
	}
}

// maskFlag masks an argument that is the value of the flag before it or has a value joined to it.
func (s *segment) maskFlag(i int, before string) {
	arg := s.given[i]
	m, ok := s.flagAt(before, i-1)
	if ok && !strings.HasPrefix(arg, "--") && m.value != joinedValue && !(s.taken[i] && s.known(arg)) {
		s.args[i] = m.value.hide(arg)
		s.taken[i] = true
		return
	}
	if s.taken[i] && s.maskJoined(i) {
		s.given[i] = "" // -px-password has no value after it
		return
	}
	if ok {
		return
	}
	masked, taken := maskGeneral(s.program, before, arg)
	s.args[i] = masked
	s.taken[i] = s.taken[i] || taken
}

// known reports whether arg is a flag of the table.
func (s *segment) known(arg string) bool { return s.flags[arg] != nil }

// flagAt returns the rule of a flag at the given position.
func (s *segment) flagAt(flag string, at int) (matcher, bool) {
	for _, m := range s.flags[flag] {
		if s.after(m.path, at) {
			return m, true
		}
	}
	return matcher{}, false
}

// pathWindow is how many arguments are searched for the subcommand of a flag. It keeps the time linear.
const pathWindow = 64

// after reports whether the steps are, in this order, among the arguments before the position.
func (s *segment) after(path []step, at int) bool {
	for i := 1; i < min(at, pathWindow) && len(path) > 0; i++ {
		if !path[0].literal() || path[0].matches(s.given[i]) {
			path = path[1:]
		}
	}
	return len(path) == 0
}

// maskJoined masks the value that is part of a flag of the table: -px, --user=a:x. It reports whether there is a rule for the flag.
func (s *segment) maskJoined(i int) bool {
	arg := s.given[i]
	if name, joined, ok := strings.Cut(arg, "="); ok && len(name) > 2 {
		if m, ok := s.flagAt(name, i); ok {
			s.args[i] = name + "=" + m.value.hide(joined)
			return true
		}
	}
	if len(arg) < 3 || arg[0] != '-' || arg[1] == '-' || s.longDash || longPassword(arg) {
		return false
	}
	m, ok := s.flagAt(arg[:2], i)
	switch {
	case !ok:
		return false
	case m.value == joinedValue:
		s.args[i] = arg[:2] + hide(arg[2:])
	default:
		s.args[i] = arg[:2] + m.value.hide(arg[2:])
	}
	return true
}

// maskWords masks what follows the name of a secret without dashes.
func (s *segment) maskWords() {
	for i := 2; i < len(s.given); i++ {
		if arg := s.given[i]; !s.taken[i] && secretWord(s.given[i-1]) && !plainWord(arg) {
			s.args[i] = hide(arg)
		}
	}
}

// maskPositions masks arguments by their position after the words of the pattern.
func (s *segment) maskPositions(m matcher) {
	at, rest := 0, false
	var last [2]int // positions of the last arguments after the path
	for i := 1; i < len(s.given); i++ {
		arg := s.given[i]
		for at < len(m.path) && m.path[at].rest {
			at, rest = at+1, true
		}
		switch {
		case at < len(m.path) && m.path[at].literal():
			at = s.literalStep(m, at, i, rest)
		case s.taken[i]:
		case at < len(m.path): // any argument
			s.taken[i] = !m.value.fromEnd()
			at++
		case m.value.fromEnd():
			last[0], last[1] = last[1], i
		default:
			s.args[i] = m.value.hide(arg)
			s.taken[i] = true
			if !m.every {
				at, rest = 0, false
			}
		}
	}
	secret := last[1]
	if m.value == beforeLastValue {
		secret = last[0]
	}
	if secret > 0 {
		s.args[secret] = hide(s.given[secret])
	}
}

// literalStep returns the step after one that is a given word: the next one if the argument is the word; the first one if another argument
// is where the word must be.
func (s *segment) literalStep(m matcher, at, i int, rest bool) int {
	switch {
	case m.path[at].matches(s.given[i]):
		return at + 1
	case rest || s.taken[i]:
		return at
	}
	return 0
}

// readsSecret reports whether a command reads a secret from its standard input, and which part of each line it is.
func readsSecret(args []string) (value, bool) {
	for start := range args {
		p := lookup(args[start])
		if p == nil {
			continue
		}
		s := segment{program: p, given: args[start:]}
		for _, m := range p.stdin {
			if s.after(m.path, len(s.given)) {
				return m.value, true
			}
		}
		if !p.wrapper {
			break
		}
	}
	for _, arg := range args {
		if name, ok := strings.CutSuffix(arg, "-stdin"); ok && secretFlag(name) {
			return wholeValue, true
		}
	}
	return 0, false
}
