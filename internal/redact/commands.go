// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import "strings"

// word is the position of a word of a command line in a text, without its quotes.
type word struct{ from, to int }

// maskCommands masks secrets that only the order of words shows, in each command of a shell line or of a process title:
// sh -c "curl -u me:hunter2 db && docker login -p hunter2".
func maskCommands(s string) string {
	var b strings.Builder
	at := 0
	command := func(words []word) {
		if len(words) < 2 {
			return
		}
		args := make([]string, len(words))
		for i, w := range words {
			args[i] = s[w.from:w.to]
		}
		maskList(args)
		for i, w := range words {
			if args[i] != s[w.from:w.to] {
				b.WriteString(s[at:w.from])
				b.WriteString(args[i])
				at = w.to
			}
		}
	}
	var words []word
	for from := 0; from < len(s); {
		switch {
		case strings.IndexByte(" \t\r", s[from]) >= 0:
			from++
		case strings.HasPrefix(s[from:], "\\\n"): // a continued line
			from += 2
		case strings.IndexByte(";|&\n()", s[from]) >= 0:
			command(words)
			words = words[:0]
			from++
		default:
			end := wordEnd(s, from)
			words = append(words, unquoted(s, from, end))
			from = end
		}
	}
	command(words)
	b.WriteString(s[at:])
	return b.String()
}

// wordEnd returns the end of the word that begins at from. An unpaired quote is an ordinary character.
func wordEnd(s string, from int) int {
	for i := from; i < len(s); i++ {
		switch s[i] {
		case ' ', '\t', '\r', '\n', ';', '|', '&', '(', ')':
			return max(i, from+1)
		case '"', '\'':
			if end := strings.IndexByte(s[i+1:], s[i]); end >= 0 {
				i += end + 1
			}
		}
	}
	return len(s)
}

// unquoted returns a word without the quotes that enclose it.
func unquoted(s string, from, to int) word {
	if q := s[from]; to-from >= 2 && (q == '"' || q == '\'') && strings.IndexByte(s[from+1:to], q) == to-from-2 {
		return word{from + 1, to - 1}
	}
	return word{from, to}
}
