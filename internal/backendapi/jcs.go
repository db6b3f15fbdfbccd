// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"math"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const hexDigits = "0123456789abcdef"

// plain are the bytes that a JSON string carries unescaped: ASCII without controls, quote and backslash.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// isPlain reports whether a JSON string can carry s as it is. It checks eight bytes at a time: a byte is not plain when its top bit
// is set, when subtracting 0x20 borrows, or when it equals quote or backslash (their exclusive or is 0, and subtracting 1 borrows).
// A borrow changes the next byte too, but the result is false already.
func isPlain(s string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		x := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, backslash := x^ones*'"', x^ones*'\\'
		if (x|(x-ones*' ')|(quote-ones)|(backslash-ones))&tops != 0 {
			return false
		}
	}
	for ; i < len(s); i++ {
		if !plain[s[i]] {
			return false
		}
	}
	return true
}

// appendString appends s as RFC 8785 section 3.2.2.2 requires. Each byte that is not UTF-8 becomes U+FFFD, as encoding/json
// does it. Nearly every string of an event is plain, and copying it takes less than half the time of AppendQuote
// (docs/decisions/0007-canonical-json.md).
func appendString(dst []byte, s string) []byte {
	if isPlain(s) {
		dst = append(dst, '"')
		dst = append(dst, s...)
		return append(dst, '"')
	}
	dst, _ = jsontext.AppendQuote(dst, s) // its error reports invalid UTF-8, which it has replaced
	return dst
}

// appendPairs appends a map with its keys in the order of RFC 8785 section 3.2.3.
func appendPairs(dst []byte, pairs map[string]string) []byte {
	var stack [16]string
	keys := stack[:0]
	for k := range pairs {
		if !isASCII(k) {
			return appendAnyPairs(dst, pairs)
		}
		keys = append(keys, k)
	}
	slices.Sort(keys)
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

// appendAnyPairs appends a map whose keys are not all ASCII. Their order is that of UTF-16, which differs from the order of
// bytes. Keys that are equal after the repair of invalid UTF-8 would make the JSON ambiguous; the first of them in byte order
// is kept.
func appendAnyPairs(dst []byte, pairs map[string]string) []byte {
	keys := make([]string, 0, len(pairs))
	for k := range pairs {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	valid := make(map[string]string, len(pairs))
	for _, k := range keys {
		key := repaired(k)
		if _, ok := valid[key]; !ok {
			valid[key] = repaired(pairs[k])
		}
	}
	raw, err := json.Marshal(valid)
	if err == nil {
		err = (*jsontext.Value)(&raw).Canonicalize()
	}
	if err != nil {
		return append(dst, "{}"...) // not reached: a map of valid strings always encodes
	}
	return append(dst, raw...)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// repaired returns s with U+FFFD for each byte that is not UTF-8.
func repaired(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

// appendFloat appends f as ECMAScript writes it (RFC 8785 section 3.2.2.3), and 0 for values that JSON numbers cannot express.
func appendFloat(dst []byte, f float64) []byte {
	if f == 0 || math.IsNaN(f) || math.IsInf(f, 0) { // negative zero is 0 too
		return append(dst, '0')
	}
	return append(dst, jsontext.Float(f).String()...)
}
