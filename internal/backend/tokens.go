// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// Limits of a token file.
const (
	MaxTokenFile = 1 << 20 // bytes
	MaxToken     = 4096    // bytes of a token
)

// Token is a bearer token.
type Token struct {
	Value   string
	Tenants []string // whose data it gives access to; empty for all
}

// ParseTokens parses a token file: each line has a token and, separated by white space, the tenants that it is bound to. A token
// without tenants gives access to all. A line that begins with # is a comment. A file without a token, and a token that occurs
// twice, are errors. Errors name the line and never quote it.
func ParseTokens(raw []byte) ([]Token, error) {
	var tokens []Token
	lineOf := map[string]int{}
	n := 0
	for line := range bytes.Lines(raw) {
		n++
		words := strings.Fields(string(line))
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		t := Token{Value: words[0], Tenants: words[1:]}
		switch first, known := lineOf[t.Value]; {
		case known:
			return nil, fmt.Errorf("line %d repeats the token of line %d: name all its tenants on one line", n, first)
		case len(t.Value) > MaxToken || strings.ContainsFunc(t.Value, func(c rune) bool { return c < '!' || c > '~' }):
			return nil, fmt.Errorf("line %d: a token has at most %d characters of printable ASCII", n, MaxToken)
		}
		for i, tenant := range t.Tenants {
			if !backendapi.ValidTenant(tenant) {
				return nil, fmt.Errorf("line %d: its tenant %d is not valid: a tenant has at most %d characters of printable ASCII", n, i+1, backendapi.MaxTenant)
			}
		}
		lineOf[t.Value] = n
		slices.Sort(t.Tenants)
		t.Tenants = slices.Compact(t.Tenants)
		tokens = append(tokens, t)
	}
	if len(tokens) == 0 {
		return nil, errors.New("holds no token; write one on a line of its own")
	}
	return tokens, nil
}

// ReadTokens reads a token file and parses it as ParseTokens does.
func ReadTokens(name string) ([]Token, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the token file: %w", err)
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, MaxTokenFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the token file %s: %w", name, err)
	}
	if len(raw) > MaxTokenFile {
		return nil, fmt.Errorf("read the token file %s: it has more than %d bytes", name, MaxTokenFile)
	}
	tokens, err := ParseTokens(raw)
	if err != nil {
		return nil, fmt.Errorf("read the token file %s: %w", name, err)
	}
	return tokens, nil
}
