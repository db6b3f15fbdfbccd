// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"regexp"
	"slices"
	"strings"
)

// mask replaces a secret. A shorter secret is replaced by as many characters of it as the secret has bytes, so that the text does not grow.
const mask = "***"

// passes limits how often the rules are applied to their own result. Two passes were enough for every known text. A text that still
// changes after the last pass is masked completely.
const passes = 8

// Redactor masks by the rules of this package and additional expressions. It is safe for concurrent use.
type Redactor struct {
	additions []*regexp.Regexp
}

// New returns a Redactor. An addition is an RE2 expression: its first group is masked, or the complete match if it has no group. New returns
// an error if an addition is invalid, too large, or matches the empty text.
func New(additions []string) (*Redactor, error) {
	compiled, err := compile(additions)
	if err != nil {
		return nil, err
	}
	return &Redactor{additions: compiled}, nil
}

// String masks the secrets in one text: an argument or a command line.
func (r *Redactor) String(s string) string { return r.text(s, false) }

// text masks the secrets in one text. A script has commands; another text is one argument.
func (r *Redactor) text(s string, script bool) string {
	for range passes {
		next := r.pass(s, script)
		if next == s {
			return s
		}
		s = next
	}
	return hide(s)
}

// Arguments masks the secrets in the arguments of a process, including the program. Unlike String it knows the end of each argument and the
// argument before it. It returns a new slice of the same length.
func (r *Redactor) Arguments(args []string) []string {
	args = slices.Clone(args)
	script := scriptOf(args)
	for range passes {
		before := slices.Clone(args)
		maskList(args)
		for i := range args {
			args[i] = r.text(args[i], i == script)
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

// scriptOf returns the position of the argument that is a script of a shell: sh -c "…"; -1 if there is none.
func scriptOf(args []string) int {
	for i := 0; i+2 < min(len(args), pathWindow); i++ {
		if !shells[base(args[i])] {
			continue
		}
		for j := i + 1; j+1 < len(args) && strings.HasPrefix(args[j], "-"); j++ {
			if !strings.HasPrefix(args[j], "--") && strings.HasSuffix(args[j], "c") {
				return j + 1
			}
		}
	}
	return -1
}

// pass applies every rule once. The shapes are first because they are the most reliable and leave short texts.
func (r *Redactor) pass(s string, script bool) string {
	if strings.Contains(s, "-----BEGIN ") {
		s = replaceGroup(s, pemBlock, 0)
	}
	if mayHaveKey(s) {
		for _, shape := range keyShapes {
			if shape.possible(s) {
				s = replaceGroup(s, shape.expression, shape.group)
			}
		}
	}
	if len(s) >= awsSecretLength {
		s = maskRandom(s)
	}
	if strings.Contains(s, "://") {
		s = maskURLs(s)
	}
	if strings.ContainsAny(s, " \t\r\n\f\"'") {
		s = maskPhrases(maskSchemes(s))
		s = maskCommands(s, 0)
	}
	if strings.Contains(s, "@") {
		s = maskConnectionStrings(s)
	}
	if strings.ContainsAny(s, "=:,") {
		s = maskNamed(s, script)
	}
	for _, addition := range r.additions {
		s = replaceGroup(s, addition, min(1, addition.NumSubexp()))
	}
	return s
}

// hide returns the mask for a secret. It is never longer than the secret.
func hide(secret string) string { return mask[:min(len(mask), len(secret))] }

// hideKeeping masks a value and keeps its quotes, including the backslashes before them in a nested text.
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

// replaceGroup masks a group of the expression, or with 0 the complete match, in all matches.
func replaceGroup(s string, expression *regexp.Regexp, group int) string {
	found := expression.FindAllStringSubmatchIndex(s, -1)
	if found == nil {
		return s
	}
	var b strings.Builder
	at := 0
	for _, match := range found {
		from, to := match[2*group], match[2*group+1]
		if from < 0 { // the group is not part of this match
			from, to = match[0], match[1]
		}
		b.WriteString(s[at:from])
		b.WriteString(hide(s[from:to]))
		at = to
	}
	b.WriteString(s[at:])
	return b.String()
}
