// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"regexp"
	"slices"
	"strings"
)

// mask stands for what was taken out. A shorter secret gets as much of it as it had bytes, so that nothing grows.
const mask = "***"

// passes bounds how often the rules are applied to their own result. Two are enough for every text seen; what has not settled
// after that many is masked whole.
const passes = 8

// Redactor masks by the rules of this package and some additions. It may be used by several goroutines at once.
type Redactor struct {
	additions []*regexp.Regexp
}

// New makes a Redactor. Of an addition (an RE2 expression) that matches, everything is masked, or what its first group matched
// where it has one. An error names the expression that does not compile or that matches the empty text.
func New(additions []string) (*Redactor, error) {
	compiled, err := compile(additions)
	if err != nil {
		return nil, err
	}
	return &Redactor{additions: compiled}, nil
}

// String masks what is secret in one text: an argument, or a whole command line.
func (r *Redactor) String(s string) string {
	for range passes {
		next := r.pass(s)
		if next == s {
			return s
		}
		s = next
	}
	return hide(s)
}

// Arguments masks what is secret in the arguments of a process, the program first. Unlike String it knows where an argument ends,
// and what the one before says of it. The result is a new slice of the same length.
func (r *Redactor) Arguments(args []string) []string {
	args = slices.Clone(args)
	for range passes {
		before := slices.Clone(args)
		list(args)
		for i := range args {
			args[i] = r.String(args[i])
		}
		if slices.Equal(args, before) {
			return args
		}
	}
	for i := range args {
		args[i] = hide(args[i])
	}
	return args
}

// pass applies every rule once. The shapes come first: they are the surest, and what they leave is short.
func (r *Redactor) pass(s string) string {
	if strings.Contains(s, "-----BEGIN ") {
		s = replaceGroup(s, pemBlock, 0)
	}
	for _, shape := range keyShapes {
		if shape.possible(s) {
			s = replaceGroup(s, shape.expression, 0)
		}
	}
	if strings.Contains(s, "://") {
		s = maskURLs(s)
	}
	if strings.ContainsAny(s, " \t") {
		s = replaceGroup(s, authScheme, 1)
	}
	if strings.ContainsAny(s, " \t\r\n\f\"'") {
		s = maskCommands(maskFlagsWithin(s))
	}
	if strings.Contains(s, "@") {
		s = maskConnectionStrings(s)
	}
	if strings.ContainsAny(s, "=:,") {
		s = maskNamed(s)
	}
	for _, addition := range r.additions {
		s = replaceGroup(s, addition, min(1, addition.NumSubexp()))
	}
	return s
}

// hide gives the mask for a secret, never longer than it.
func hide(secret string) string { return mask[:min(len(mask), len(secret))] }

// hideKeeping masks a value but leaves the quotes around it, with the backslashes that are before them in a text within another.
func hideKeeping(value string) string {
	slashes := len(value) - len(strings.TrimLeft(value, `\`))
	if slashes < len(value) && (value[slashes] == '"' || value[slashes] == '\'') {
		quote := value[:slashes+1]
		if inner, ok := strings.CutSuffix(value[len(quote):], quote); ok {
			return quote + hide(inner) + quote
		}
	}
	return hide(value)
}

// replaceGroup masks what a group of the expression matched (0: all of it) wherever the expression matches.
func replaceGroup(s string, expression *regexp.Regexp, group int) string {
	found := expression.FindAllStringSubmatchIndex(s, -1)
	if found == nil {
		return s
	}
	var b strings.Builder
	at := 0
	for _, match := range found {
		from, to := match[2*group], match[2*group+1]
		if from < 0 { // the group took no part in this match
			from, to = match[0], match[1]
		}
		b.WriteString(s[at:from])
		b.WriteString(hide(s[from:to]))
		at = to
	}
	b.WriteString(s[at:])
	return b.String()
}
