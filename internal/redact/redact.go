// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package redact masks the secrets in the arguments of processes: passwords, tokens, keys and credentials in URLs. They must never
// leave the node.
//
// It promises for every input, and a fuzz test checks it: the result is never longer than the input, redacting it again changes
// nothing, and there is no panic. It takes time in proportion to the input. It recognizes secrets by the name before them, by their form, and by tables
// (ruleTable, phraseTable, keyTable), in which one line says where the commands of a program have a secret. A secret that looks like an
// ordinary word after a flag with an ordinary name is not recognized; additions and ModeNone exist for those. In doubt it masks: a masked argument is a small loss for
// a reader, and a leaked one must be rotated.
package redact

import (
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
)

// Mode selects how arguments are reported.
type Mode string

// The modes. The zero Mode is ModeRedacted.
const (
	ModeRedacted Mode = "redacted" // masked by the rules of this package
	ModeFull     Mode = "full"     // unchanged
	ModeNone     Mode = "none"     // not read
)

// Validate returns an error if m is not a mode.
func (m Mode) Validate() error {
	switch m {
	case "", ModeRedacted, ModeFull, ModeNone:
		return nil
	}
	return fmt.Errorf("arguments mode %q is not one of full, redacted, none", string(m))
}

// maxAdditions limits the additional expressions of the configuration. Each is matched against every argument.
const maxAdditions = 64

// maxInstructions limits the size of a compiled expression. Matching takes time proportional to the bytes of the argument and the
// instructions of the expression: a thousand instructions, as in .{999}x, take 0.1 to 0.5 s for 4 KiB.
const maxInstructions = 256

// compile compiles the additions. Its error contains the index of the invalid one.
func compile(additions []string) ([]*regexp.Regexp, error) {
	if len(additions) > maxAdditions {
		return nil, fmt.Errorf("%d expressions to redact are more than %d: combine some with |", len(additions), maxAdditions)
	}
	compiled := make([]*regexp.Regexp, 0, len(additions))
	for i, addition := range additions {
		expression, err := regexp.Compile(addition)
		if err != nil {
			return nil, fmt.Errorf("expression %d to redact: %w", i, err)
		}
		if n := instructions(addition); n > maxInstructions {
			return nil, fmt.Errorf("expression %d to redact, %q, needs %d steps for each byte, more than %d: use + or {n,} instead of a large repeat count",
				i, addition, n, maxInstructions)
		}
		if expression.MatchString("") {
			return nil, fmt.Errorf("expression %d to redact, %q, matches the empty text: it must match at least one character", i, addition)
		}
		compiled = append(compiled, expression)
	}
	return compiled, nil
}

// instructions returns the number of instructions of a valid expression.
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
