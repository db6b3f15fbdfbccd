// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/runtime"
)

// maxID is the maximum length of an id, in bytes. Ids of Docker and Podman have 64 hexadecimal digits.
const maxID = 128

// platformName returns s if it is a short word in lower case, as the names of operating systems and architectures are, else "".
func platformName(s string) string {
	if len(s) > 32 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return ""
	}
	return runtime.Intern(s)
}

// validID reports whether s can be the id of a container. Other ids are never requested, because an id becomes part of a URL.
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

// The range of plausible times. Docker uses 0001-01-01 for unset, and Podman also 1970.
var (
	earliest = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// parseTime parses a time from the engine. It returns the zero time if it is unset or not plausible.
func parseTime(s string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return plausible(at)
}

// plausible returns the time in UTC, or the zero time if it is not plausible.
func plausible(at time.Time) time.Time {
	if at.Before(earliest) || at.After(latest) {
		return time.Time{}
	}
	return at.UTC()
}
