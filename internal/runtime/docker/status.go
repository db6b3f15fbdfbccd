// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"strconv"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
)

// A list gives a container's status as a text for people: "Up 5 seconds (healthy)", "Exited (137) About a minute ago",
// "Restarting (1) 3 seconds ago", "Up 2 hours (Paused)", "Created", "Dead". What is read from it: the exit code, the health,
// and how long the state has lasted. That age has one digit or two of precision, so it says of the moment at which the state
// began only between which two it lies. As lists follow each other, the intervals of one run overlap and narrow; an interval
// that does not overlap the last one is another run.
//
// What this cannot tell: a run that began less than a second or so (in the first minute), a minute (in the first hour), an
// hour after the one before, which was never seen to end. The event stream tells it, and so does the next inspect.
type statusText struct {
	exitCode string
	health   string // healthy, unhealthy, starting or ""
	aged     bool   // the text tells an age
	min, max time.Duration
}

// parseStatus reads what it knows of a status, and ignores the rest.
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
		t.note(rest[open+1 : open+end])
		rest = rest[open+end+1:]
	}
	t.age(s)
	return t
}

func (t *statusText) note(s string) {
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

// age finds the human duration. Its units are whole ones, rounded down to the minute and to the nearest hour above.
func (t *statusText) age(s string) {
	words := strings.Fields(s)
	for i, w := range words {
		unit, ok := units[strings.TrimSuffix(w, "s")]
		if !ok || i == 0 {
			continue
		}
		t.aged = true
		switch n, err := strconv.ParseInt(words[i-1], 10, 32); {
		case err == nil && n >= 0:
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

var units = map[string]time.Duration{
	"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour,
	"week": 7 * 24 * time.Hour, "month": 31 * 24 * time.Hour, "year": 366 * 24 * time.Hour,
}

// state brings the engine's word for a state into ours. Podman has some of its own.
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
