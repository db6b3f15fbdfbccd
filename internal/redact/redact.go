// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package redact takes out of text what must never leave the node: passwords, tokens, keys and credentials in URLs, as they
// appear in the arguments of processes.
//
// It promises three things for every input, and a fuzz test holds it to each: what it gives is never longer than what it was
// given, doing it again changes nothing more, and it never panics. It works by shape, so it cannot know a secret that looks
// like an ordinary word after a flag of an ordinary name; for those there are additions, and ModeNone. Where a shape is in
// doubt it masks: a lost argument costs a reader a glance, a leaked one costs a rotation.
package redact

import (
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
)

// Mode says what becomes of arguments.
type Mode string

// The modes. The zero Mode is ModeRedacted.
const (
	ModeRedacted Mode = "redacted" // masked by the rules of this package
	ModeFull     Mode = "full"     // as they are
	ModeNone     Mode = "none"     // not read at all
)

// Validate refuses what is not a mode.
func (m Mode) Validate() error {
	switch m {
	case "", ModeRedacted, ModeFull, ModeNone:
		return nil
	}
	return fmt.Errorf("arguments mode %q is not one of full, redacted, none", string(m))
}

// maxAdditions bounds what configuration may add; each costs a pass over every argument.
const maxAdditions = 64

// maxInstructions bounds an expression as it is compiled. A pass over an argument takes time by the bytes of the one times the
// instructions of the other: one of a thousand, such as .{999}x, takes a tenth to half a second for 4 KiB.
const maxInstructions = 256

// compile checks the additions one by one, so that the error names the bad one.
func compile(additions []string) ([]*regexp.Regexp, error) {
	if len(additions) > maxAdditions {
		return nil, fmt.Errorf("%d expressions to redact are more than %d: join some with |", len(additions), maxAdditions)
	}
	compiled := make([]*regexp.Regexp, 0, len(additions))
	for i, addition := range additions {
		expression, err := regexp.Compile(addition)
		if err != nil {
			return nil, fmt.Errorf("expression %d to redact: %w", i, err)
		}
		if n := instructions(addition); n > maxInstructions {
			return nil, fmt.Errorf("expression %d to redact, %q, takes %d steps a byte, more than %d: repeat with + or {n,} instead of counting high",
				i, addition, n, maxInstructions)
		}
		if expression.MatchString("") {
			return nil, fmt.Errorf("expression %d to redact, %q, matches the empty text: make it match at least one character", i, addition)
		}
		compiled = append(compiled, expression)
	}
	return compiled, nil
}

// instructions says how large an expression is that compiles.
func instructions(expression string) int {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return math.MaxInt
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return math.MaxInt
	}
	return len(program.Inst)
}
