// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import "strings"

// nameBytes are the bytes of a name.
var nameBytes = func() (all [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-" {
		all[c] = true
	}
	return all
}()

// nextName returns the next name from a position and its separator from the value: --password=, "token": , Authorization: , :secret => ,
// ('TOKEN', . The value begins at the end of the separator.
func nextName(s string, at int) (start, end, value int) {
	for at < len(s) {
		if !nameBytes[s[at]] {
			at++
			continue
		}
		start = at
		for at < len(s) && nameBytes[s[at]] {
			at++
		}
		if value = separatorEnd(s, at); value > 0 {
			return start, at, value
		}
	}
	return -1, 0, 0
}

// separatorEnd returns the end of the separator and of the blanks after it, or 0 if none is at the position.
func separatorEnd(s string, end int) int {
	at := skip(s, skip(s, end, `\"']`), " \t")
	switch rest := s[at:]; {
	case strings.HasPrefix(rest, "=>"), strings.HasPrefix(rest, ":="), strings.HasPrefix(rest, "+="):
		return skip(s, at+2, " \t")
	case rest != "" && (rest[0] == '=' || rest[0] == ':'):
		return skip(s, at+1, " \t")
	}
	at = skip(s, end, `\`)
	if at == len(s) || s[at] != '"' && s[at] != '\'' {
		return 0
	}
	if at = skip(s, at+1, " \t"); at == len(s) || s[at] != ',' {
		return 0
	}
	return skip(s, at+1, " \t")
}

// skip returns the position of the first byte from at that is not one of the set.
func skip(s string, at int, set string) int {
	for at < len(s) && strings.IndexByte(set, s[at]) >= 0 {
		at++
	}
	return at
}

// maskNamed masks the values of secret names. The value of a name at the start of the text is the rest of the text, which is one argument or
// one header, unless the text is a script. The value of any other name ends as in a shell, a URL or JSON.
func maskNamed(s string, script bool) string {
	var b strings.Builder
	at := 0
	for {
		start, end, from := nextName(s, at)
		if start < 0 {
			break
		}
		name := s[start:end]
		scheme := s[from-1] == ':' && strings.HasPrefix(s[from:], "//") // token://
		to := from
		if !scheme && secretName(name) && !closesQuote(s, start, end, from) {
			to += valueLength(s[from:], name, start == 0 && !script)
		}
		b.WriteString(s[at:from])
		if value := s[from:to]; plainNamed(name, value) {
			b.WriteString(value)
		} else {
			b.WriteString(hideKeeping(value))
		}
		at = to
	}
	if at == 0 {
		return s
	}
	b.WriteString(s[at:])
	return b.String()
}

// maxPath limits the length of a path in a list of settings.
const maxPath = 256

// closesQuote reports whether the quote at the start of the value ends the text that the name is in, so that there is no value:
// echo "Enter password:"; read x, grep "password=" file.
func closesQuote(s string, start, end, from int) bool {
	if from == len(s) || s[from] != '"' && s[from] != '\'' || s[end] == '"' || s[end] == '\'' || s[end] == '\\' {
		return false
	}
	if from+1 < len(s) && strings.IndexByte(" ;)|&\n\t", s[from+1]) < 0 {
		return false
	}
	return s[from-1] == ':' || start > 0 && s[start-1] == s[from] || s[from-1] == ' ' && s[end] == ':'
}

// plainNamed reports whether a value with its quotes and scheme is not secret.
func plainNamed(name, s string) bool {
	s = strings.Trim(s, `"'\,;)}`)
	if header(name) {
		if scheme, credential, ok := strings.Cut(s, " "); ok && len(scheme) < 10 {
			s = credential
		}
	}
	return plainFor(name, s)
}

// valueLength returns the length of the value at the start of s.
func valueLength(s, name string, toEnd bool) int {
	if comma := strings.IndexByte(s[:min(len(s), maxPath)], ','); comma > 0 && isFile(s[:comma]) {
		return comma // credentials=/root/.smb,uid=0
	}
	if toEnd {
		return len(s)
	}
	if strings.HasPrefix(s, "$(") || strings.HasPrefix(s, "`") {
		return 0 // a command, whose secrets are masked on their own
	}
	if n := shellQuoted(s); n > 0 {
		return n
	}
	return enclosedLength(s, name)
}

// enclosedLength returns the length of a value that is in quotes or brackets, or that ends at a blank.
func enclosedLength(s, name string) int {
	bare := strings.TrimLeft(s, `\`)
	quoted := bare != "" && (bare[0] == '"' || bare[0] == '\'')
	switch {
	case quoted:
		return quotedLength(s, s[:len(s)-len(bare)+1])
	case len(s) > 2 && (s[0] == 'N' || s[0] == 'E') && s[1] == '\'': // strings of SQL
		return 1 + quotedLength(s[1:], "'")
	case s != "" && strings.IndexByte("([{", s[0]) >= 0 && !strings.HasPrefix(s, "{{"):
		return bracketLength(s)
	case len(s) > len(mask) && strings.HasPrefix(s, mask) && strings.IndexByte(",)]}", s[len(mask)]) >= 0:
		return len(mask) // a masked list or object
	case header(name): // its value has spaces: a scheme and a credential, or several cookies
		return lengthUntil(s, "\r\n\"'`")
	}
	return lengthUntil(s, " \t\r\n&\"'`")
}

// shellQuoted returns the length of a value between two single quotes of a text that is itself in single quotes: '\”x'\” or '"'"'x'"'"'.
func shellQuoted(s string) int {
	for _, quote := range []string{`'\''`, `'"'"'`} {
		if rest, ok := strings.CutPrefix(s, quote); ok {
			if end := strings.Index(rest, quote); end >= 0 {
				return end + 2*len(quote)
			}
		}
	}
	return 0
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
	return strings.HasSuffix(name, "authorization") || strings.HasSuffix(name, "cookie") || strings.HasSuffix(name, "extraheader")
}
