// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"strings"
	"unicode"
	"unicode/utf8"
	"unique"
)

// MaxText is the size limit of every string that is kept, in bytes. Kubernetes names have at most 253 characters; image
// references and label values of other tools have no limit of their own.
const MaxText = 4096

const (
	// MaxID is the size limit of a container's id, in bytes. containerd allows 76; ids of Docker, Podman and CRI-O have 64 digits.
	MaxID = 256
	// MaxEngine is the size limit of an engine's name, in bytes.
	MaxEngine = 64
	// MaxVersion is the size limit of an engine's version, in bytes.
	MaxVersion = 128
	// MaxError is the size limit of what an error quotes of a runtime's answer, in bytes.
	MaxError = 1024
)

// ValidID reports whether s can be the id of a container: 1 to MaxID bytes from ! to ~, without a slash. So an id is one word of a log
// line, and no id contains the scheme of another runtime's.
func ValidID(s string) bool {
	for _, c := range []byte(s) {
		if c < '!' || c > '~' || c == '/' {
			return false
		}
	}
	return s != "" && len(s) <= MaxID
}

// Printable returns s for a log line: cut to at most n bytes, and with U+FFFD for what is not printable, such as control characters
// and marks that change the direction of the text. It may be longer than n bytes by twice the number of those.
func Printable(s string, n int) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return unicode.ReplacementChar
	}, Clip(s, n))
}

// Bound returns err with a text of at most MaxError bytes, all of them printable, because runtimes put whatever they were sent into
// their errors. errors.Is and errors.As find what they found before.
func Bound(err error) error {
	if text := err.Error(); len(text) > MaxError || Printable(text, MaxError) != text {
		return &boundError{err, Printable(text, MaxError)}
	}
	return err
}

type boundError struct {
	error
	text string
}

func (e *boundError) Error() string { return e.text }

func (e *boundError) Unwrap() error { return e.error }

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
