// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"strings"
	"time"
	"unicode/utf8"
	"unique"
)

const (
	// maxText bounds every string that is kept, in bytes.
	maxText = 4096
	// maxID is longer than any id of an engine, in bytes; Docker's and Podman's have 64 hexadecimal digits.
	maxID = 128
)

// intern makes equal strings share memory: image references and label values repeat over a host's containers.
func intern(s string) string {
	if s == "" {
		return ""
	}
	return unique.Make(clip(s, maxText)).Value()
}

// word gives s when it is a short word in lower case, as the names of operating systems and architectures are; else "".
func word(s string) string {
	if len(s) > 32 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return ""
	}
	return intern(s)
}

// clip cuts s to at most n bytes, at the border of a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.ToValidUTF8(s[:n], "\uFFFD")
}

// validID tells whether s can be the id of a container. What cannot is not asked for: it would become part of a URL.
func validID(s string) bool {
	if s == "" || len(s) > maxID {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// The times that a runtime can tell: Docker says 0001-01-01 for unset, Podman also 1970.
var (
	earliest = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// moment reads a time of the engine; zero when it is unset or is none.
func moment(s string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return sane(at)
}

func sane(at time.Time) time.Time {
	if at.Before(earliest) || at.After(latest) {
		return time.Time{}
	}
	return at.UTC()
}

// digest gives s as sha256:<64 hex>, or "" when it is no such digest.
func digest(s string) string {
	hex := strings.TrimPrefix(s, "sha256:")
	if len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return ""
	}
	return intern("sha256:" + hex)
}
