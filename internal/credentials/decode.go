// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package credentials

import "strings"

// cell is one decoded byte and the range of the text that it stands for.
type cell struct {
	b        byte
	from, to int
}

// maxRounds is how often a text is decoded: an answer in JSON that a proxy quotes in JSON or HTML is encoded twice.
const maxRounds = 3

// decode undoes the escapes of JSON, HTML and URLs in text.
func decode(text string) []cell {
	cells := make([]cell, len(text))
	for i := range len(text) {
		cells[i] = cell{text[i], i, i + 1}
	}
	for range maxRounds {
		before := len(cells)
		if cells = decodeOnce(cells); len(cells) == before {
			break
		}
	}
	return cells
}

// decodeOnce decodes in place: the result is never longer.
func decodeOnce(in []cell) []cell {
	out := in[:0]
	for i := 0; i < len(in); {
		b, n := in[i].b, 1
		switch b {
		case '\\':
			b, n = decodeBackslash(in[i:])
		case '%':
			b, n = decodeDigits(in[i:], 1, 2, 16)
		case '&':
			b, n = decodeEntity(in[i:])
		}
		out = append(out, cell{b, in[i].from, in[i+n-1].to})
		i += n
	}
	return out
}

// decodeBackslash decodes \uXXXX, \xXX and any other escaped character, which stands for itself here.
func decodeBackslash(in []cell) (b byte, n int) {
	if len(in) < 2 {
		return in[0].b, 1
	}
	switch in[1].b {
	case 'u', 'U':
		return decodeDigits(in, 2, 4, 16)
	case 'x':
		return decodeDigits(in, 2, 2, 16)
	case 'n', 'r', 't', 'b', 'f':
		return ' ', 2
	}
	return in[1].b, 2
}

// entities are the named characters of HTML that a credential may contain.
var entities = map[string]byte{
	"&amp;": '&', "&lt;": '<', "&gt;": '>', "&quot;": '"', "&apos;": '\'', "&equals;": '=', "&plus;": '+', "&sol;": '/', "&lowbar;": '_', "&period;": '.',
}

// decodeEntity decodes &#NN;, &#xHH; and the named entities.
func decodeEntity(in []cell) (b byte, n int) {
	if len(in) > 2 && in[1].b == '#' {
		from, base := 2, 10
		if in[2].b == 'x' || in[2].b == 'X' {
			from, base = 3, 16
		}
		digits := 0
		for from+digits < len(in) && digit(in[from+digits].b) < base && digits < 8 {
			digits++
		}
		b, n = decodeDigits(in, from, digits, base)
		if n > 1 && n < len(in) && in[n].b == ';' {
			n++
		}
		return b, n
	}
	var name strings.Builder
	for _, c := range in[:min(len(in), len("&equals;"))] {
		name.WriteByte(c.b)
		if c.b == ';' {
			break
		}
	}
	if b, known := entities[name.String()]; known {
		return b, name.Len()
	}
	return in[0].b, 1
}

// decodeDigits decodes a character that is written as n digits after the first from cells. What is not ASCII becomes a NUL, which no
// credential contains. Without these digits, the first cell stands for itself.
func decodeDigits(in []cell, from, n, base int) (b byte, consumed int) {
	if n == 0 || len(in) < from+n {
		return in[0].b, 1
	}
	value := 0
	for _, c := range in[from : from+n] {
		d := digit(c.b)
		if d >= base {
			return in[0].b, 1
		}
		value = value*base + d
	}
	if value > '~' {
		return 0, from + n
	}
	return byte(value), from + n
}

// digit returns the value of a digit of base 16, and 16 for any other byte.
func digit(b byte) int {
	switch {
	case b >= '0' && b <= '9':
		return int(b - '0')
	case b >= 'a' && b <= 'f':
		return int(b-'a') + 10
	case b >= 'A' && b <= 'F':
		return int(b-'A') + 10
	}
	return 16
}
