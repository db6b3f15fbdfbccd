// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"strconv"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
)

// statusText is the content of a status in a list, which is a text for people: "Up 5 seconds (healthy)", "Exited (137) About a
// minute ago", "Restarting (1) 3 seconds ago", "Up 2 hours (Paused)", "Created", "Dead". It contains the exit code, the health
// and the age of the state. The age has one or two digits, so it only limits when the state began to an interval. In successive
// lists, the intervals of one run overlap and become narrower; an interval that does not overlap the previous one is another
// run.
//
// This cannot detect a restart without an observed exit if the runs began within about a second (in the first minute of a run),
// a minute (in the first hour) or an hour of each other. The event stream and the next inspection do.
type statusText struct {
	exitCode string
	health   string        // healthy, unhealthy, starting or ""
	aged     bool          // the text contains an age
	min, max time.Duration // of the age
}

// parseStatus parses the known parts of a status and ignores the rest.
func parseStatus(s string) statusText {
	var t statusText
	rest := s
	for rest != "" {
		open := strings.IndexByte(rest, '(')
		if open < 0 {
			break
		}
		end := strings.IndexByte(rest[open:], ')')
		if end < 0 {
			break
		}
		t.parseParenthesis(rest[open+1 : open+end])
		rest = rest[open+end+1:]
	}
	t.parseAge(s)
	return t
}

// parseParenthesis parses a part of a status that is in parentheses.
func (t *statusText) parseParenthesis(s string) {
	switch s {
	case "healthy", "unhealthy":
		t.health = s
	case "health: starting", "starting":
		t.health = "starting"
	default:
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			t.exitCode = strconv.FormatInt(n, 10)
		}
	}
}

// parseAge parses the duration in a status. It is in one unit, rounded down, or to the nearest for hours and longer units.
func (t *statusText) parseAge(s string) {
	words := strings.Fields(s)
	for i, w := range words {
		unit, ok := units[strings.TrimSuffix(w, "s")]
		if !ok || i == 0 {
			continue
		}
		t.aged = true
		switch n, err := strconv.ParseInt(words[i-1], 10, 32); {
		case err == nil && n >= 0:
			n = min(n, int64(maxAge/unit))
			t.min, t.max = time.Duration(n)*unit, time.Duration(n+1)*unit
			if unit >= time.Hour {
				t.min -= unit
			}
		case i >= 2 && words[i-2] == "than": // "Less than a second"
			t.min, t.max = 0, unit
		default: // "About a minute", "About an hour"
			t.min, t.max = unit, 2*unit
			if unit >= time.Hour {
				t.min -= unit
			}
		}
		t.min = max(t.min, 0)
		return
	}
}

// maxAge bounds the number of an age, so that it fits into a time.Duration, which ends at 292 years.
const maxAge = 200 * 366 * 24 * time.Hour

var units = map[string]time.Duration{
	"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour,
	"week": 7 * 24 * time.Hour, "month": 31 * 24 * time.Hour, "year": 366 * 24 * time.Hour,
}

// state converts the engine's word for a state. Podman has some words of its own.
func state(word string) container.State {
	switch strings.ToLower(word) {
	case "created", "configured", "initialized":
		return container.StateCreated
	case "running", "stopping":
		return container.StateRunning
	case "paused":
		return container.StatePaused
	case "restarting", "removing", "exited", "dead", "stopped":
		return container.StateExited
	default:
		return container.StateUnknown
	}
}
