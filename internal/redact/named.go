// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"regexp"
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
