// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"slices"
	"unicode/utf8"

	"github.com/gowebpki/jcs"
)

const hexDigits = "0123456789abcdef"

// plain are the bytes that a JSON string carries as they are: ASCII without controls, quote and backslash.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// plainPrefix is how much of s is surely plain, looking at eight bytes at a time: a byte is not when its top bit is set,
// when taking 0x20 from it borrows, or when it differs from quote or backslash by nothing. Borrows may blame the next one as
// well, which only means that the slow way has a look.
func plainPrefix(s string) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		x := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, backslash := x^ones*'"', x^ones*'\\'
		if (x|(x-ones*' ')|(quote-ones)|(backslash-ones))&tops != 0 {
			return i
		}
	}
	for i < len(s) && plain[s[i]] {
		i++
	}
	return i
}

// appendString appends s as RFC 8785 section 3.2.2.2 says: shortest escapes for what must be escaped, everything else as
// it is. What is not UTF-8 becomes U+FFFD, byte by byte, as encoding/json does it.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	i := plainPrefix(s)
	if i == len(s) { // nearly always
		dst = append(dst, s...)
		return append(dst, '"')
	}
	from := 0
	for i < len(s) {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, s[from:i]...)
				dst = append(dst, "\ufffd"...)
				from = i + 1
			}
			i += size
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		}
		i++
		from = i
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

// appendPairs appends a map with its keys in the order of RFC 8785 section 3.2.3. Keys that are the same once they are
// UTF-8 would make the JSON ambiguous; the first of them in byte order stays.
func appendPairs(dst []byte, pairs map[string]string) []byte {
	var stack [16]string
	keys := stack[:0]
	ascii := true
	for k := range pairs {
		keys = append(keys, k)
		ascii = ascii && isASCII(k)
	}
	slices.Sort(keys)
	if !ascii {
		slices.SortStableFunc(keys, func(a, b string) int { return compareUTF16(repaired(a), repaired(b)) })
		keys = slices.CompactFunc(keys, func(a, b string) bool { return repaired(a) == repaired(b) })
	}
	dst = append(dst, '{')
	for i, k := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, k)
		dst = append(dst, ':')
		dst = appendString(dst, pairs[k])
	}
	return append(dst, '}')
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// repaired is s with U+FFFD for each byte that is not UTF-8.
func repaired(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

// compareUTF16 orders by UTF-16 code units. It differs from the order of bytes only where a character beyond U+FFFF,
// whose first unit is a surrogate (D800 to DBFF), meets one of U+E000 to U+FFFF.
func compareUTF16(a, b string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] == b[i] {
			continue
		}
		// The lead byte of a character beyond U+FFFF is F0 to F4, that of U+E000 to U+FFFF is EE or EF. Within a
		// character the bytes before i are equal, so lead bytes that differ are compared only at its start.
		if a[i] >= 0xF0 && (b[i] == 0xEE || b[i] == 0xEF) {
			return -1
		}
		if b[i] >= 0xF0 && (a[i] == 0xEE || a[i] == 0xEF) {
			return 1
		}
		return int(a[i]) - int(b[i])
	}
	return len(a) - len(b)
}

// appendFloat appends f as ECMAScript writes it (RFC 8785 section 3.2.2.3), and 0 for what JSON has no number for.
func appendFloat(dst []byte, f float64) []byte {
	s, err := jcs.NumberToJSON(f)
	if err != nil {
		s = "0"
	}
	return append(dst, s...)
}
