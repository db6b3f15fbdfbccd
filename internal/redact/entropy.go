// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import "strings"

// awsSecretLength is the length of a secret access key of AWS: 30 random bytes in base64. It has no prefix.
const awsSecretLength = 40

// leastChanges is how often a random text of 40 characters of base64 changes at least between capitals, small letters, and digits or signs.
// Of 100,000 made ones, 435 were not recognized; they change 25 times on average. A path or a name in camel case of this length changes
// some ten times, and a SHA-1 in hexadecimal has no capitals.
const leastChanges = 16

// maskRandom masks every run of characters of base64 that has the length of a secret access key and is as irregular.
func maskRandom(s string) string {
	var b strings.Builder
	at := 0
	for from := 0; from < len(s); from++ {
		if class(s[from]) == 0 {
			continue
		}
		to := from
		for to < len(s) && class(s[to]) != 0 {
			to++
		}
		if to-from == awsSecretLength && random(s[from:to]) && !partOfName(s, from, to) {
			b.WriteString(s[at:from])
			b.WriteString(hide(s[from:to]))
			at = to
		}
		from = to
	}
	if at == 0 {
		return s
	}
	b.WriteString(s[at:])
	return b.String()
}

// partOfName reports whether the run is a part of a longer word, such as a token of another form or a hash with its padding.
func partOfName(s string, from, to int) bool {
	return from > 0 && strings.IndexByte("-_.~%", s[from-1]) >= 0 || to < len(s) && strings.IndexByte("-_.~%=", s[to]) >= 0
}

// random reports whether a text has capitals, small letters and digits in irregular order.
func random(s string) bool {
	var seen [4]int
	changes := 0
	for i := range len(s) {
		c := class(s[i])
		seen[c]++
		if i > 0 && c != class(s[i-1]) {
			changes++
		}
	}
	return changes >= leastChanges && seen[1] > 1 && seen[2] > 1 && seen[3] > 1
}

// class returns 1 for a capital, 2 for a small letter, 3 for a digit and the signs of base64, 0 for anything else.
func class(c byte) int {
	switch {
	case c >= 'A' && c <= 'Z':
		return 1
	case c >= 'a' && c <= 'z':
		return 2
	case c >= '0' && c <= '9', c == '+', c == '/':
		return 3
	}
	return 0
}
