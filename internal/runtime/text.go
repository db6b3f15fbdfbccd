// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"strings"
	"unicode/utf8"
	"unique"
)

// MaxText is the size limit of every string that is kept, in bytes. Kubernetes names have at most 253 characters; image
// references and label values of other tools have no limit of their own.
const MaxText = 4096

// Intern returns s, at most MaxText bytes of it. Equal strings share memory, because namespaces, image references and label
// values repeat over the containers of a node.
func Intern(s string) string {
	if s == "" {
		return ""
	}
	return unique.Make(Clip(s, MaxText)).Value()
}

// Clip returns s as valid UTF-8, cut to at most n bytes at a character boundary.
func Clip(s string, n int) string {
	if len(s) <= n {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.ToValidUTF8(s[:n], "\uFFFD")
}

// Digest returns s as sha256:<64 hex digits>, or "" if it is no such digest. The algorithm may be missing in s.
func Digest(s string) string {
	hex := strings.TrimPrefix(s, "sha256:")
	if len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return ""
	}
	return Intern("sha256:" + hex)
}
