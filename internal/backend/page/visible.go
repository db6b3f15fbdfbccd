// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package page

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// maxHTML bounds a rendered page, in bytes. The store bounds what it shows to some MiB; escapes of HTML may be five times as long.
const maxHTML = 32 << 20

var errTooLong = errors.New("the page would have more than 32 MiB")

// visible collects HTML and replaces the characters that change how others are shown, or that are not shown at all, by visible escapes
// such as <U+202E>. Names that containers choose could otherwise look like others: a bidirectional override reverses what follows, a
// character without width makes two names look alike. All output of the templates passes here, texts and attributes; the templates
// themselves have no such characters. It expects whole characters in each Write, as html/template writes them, and replaces others.
type visible struct{ html []byte }

func (v *visible) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if hides(r) {
			v.html = fmt.Appendf(v.html, "&lt;U+%04X&gt;", r)
		} else {
			v.html = utf8.AppendRune(v.html, r)
		}
		rest = rest[n:]
		if len(v.html) > maxHTML {
			return 0, errTooLong
		}
	}
	return len(p), nil
}

// hides reports whether a character has no visible form of its own: control characters (Cc) except the white space of HTML, format
// characters (Cf: bidirectional overrides and isolates, zero width, tags), and the separators of lines and paragraphs (Zl, Zp).
func hides(r rune) bool {
	if r == '\n' || r == '\t' {
		return false
	}
	return r < ' ' || (r >= 0x7f && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp))
}
