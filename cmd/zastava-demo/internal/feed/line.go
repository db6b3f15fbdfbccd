// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// color is an SGR code of ECMA-48.
type color string

const (
	green  color = "32"
	yellow color = "33"
	red    color = "31"
	cyan   color = "36"
	grey   color = "90"
)

// words are the kinds as the terminal shows them; the column is 10 characters wide.
var words = map[backendapi.Kind]string{
	backendapi.KindCreate:       "created",
	backendapi.KindStart:        "started",
	backendapi.KindRestart:      "restarted",
	backendapi.KindStop:         "stopped",
	backendapi.KindPause:        "paused",
	backendapi.KindUnpause:      "unpaused",
	backendapi.KindRemove:       "removed",
	backendapi.KindOOM:          "oom",
	backendapi.KindHealth:       "health",
	backendapi.KindCrashLoop:    "crash loop",
	backendapi.KindCrashLoopEnd: "recovered",
	backendapi.KindObserverGap:  "gap",
}

// Line renders an event as one line: local time, kind, container, details. It replaces characters that do not print, so that no
// event can move the terminal's cursor or change its state.
func Line(e *backendapi.Event, colored bool) string {
	word, known := words[e.Kind]
	if !known {
		word = string(e.Kind)
	}
	what := fmt.Sprintf("%-10s", printable(word))
	if colored {
		what = "\x1b[" + string(tint(e)) + "m" + what + "\x1b[0m"
	}
	line := e.When.Local().Format("15:04:05.000") + "  " + what + "  " + printable(place(e.Workload))
	if more := details(e); more != "" {
		line = fmt.Sprintf("%s  %s", pad(line, colored), printable(more))
	}
	return line
}

// pad makes the details of all lines begin in one column, unless the container's name is too long.
func pad(line string, colored bool) string {
	width := 60
	if colored {
		width += len("\x1b[32m") + len("\x1b[0m")
	}
	return fmt.Sprintf("%-*s", width, line)
}

func tint(e *backendapi.Event) color {
	switch e.Kind { //nolint:exhaustive // the others are grey
	case backendapi.KindStart, backendapi.KindCrashLoopEnd:
		return green
	case backendapi.KindRestart, backendapi.KindPause, backendapi.KindUnpause, backendapi.KindHealth:
		return cyan
	case backendapi.KindOOM, backendapi.KindCrashLoop:
		return red
	case backendapi.KindObserverGap:
		return yellow
	case backendapi.KindStop:
		switch {
		case e.Run == nil || e.Run.ExitCode == nil:
			return yellow
		case e.Run.OOMKilled || e.Run.Reason == "OOMKilled":
			return red
		case *e.Run.ExitCode != 0:
			return yellow
		}
	}
	return grey
}

// place returns namespace/pod/container, or as much of it as is known: at least the start of the id.
func place(w *backendapi.Workload) string {
	if w == nil {
		return ""
	}
	var parts []string
	for _, part := range []string{w.Namespace, w.Pod, w.Container} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) > 0 {
		return strings.Join(parts, "/")
	}
	_, id, _ := strings.Cut(w.ContainerID, "://")
	return id[:min(len(id), 12)]
}

// details returns what the kind of an event does not say by itself, without empty parts.
func details(e *backendapi.Event) string {
	var parts []string
	switch e.Kind { //nolint:exhaustive // the others have no details
	case backendapi.KindCreate, backendapi.KindStart:
		parts = startDetails(e)
	case backendapi.KindRestart:
		parts = restartDetails(e)
	case backendapi.KindStop:
		parts = stopDetails(e.Run)
	case backendapi.KindCrashLoop:
		if c := e.CrashLoop; c != nil {
			parts = []string{fmt.Sprintf("%d failures", c.Count), c.Reason}
		}
	case backendapi.KindObserverGap:
		if g := e.Gap; g != nil {
			parts = []string{fmt.Sprintf("could not see for %s", g.To.Sub(g.From).Round(time.Millisecond)), g.Cause}
		}
	}
	if e.Revision > 0 {
		parts = append(parts, "now known better")
	}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ", ")
}

func startDetails(e *backendapi.Event) (parts []string) {
	if e.Workload != nil {
		parts = append(parts, e.Workload.ImageRef)
	}
	if e.Kind == backendapi.KindStart && e.Observation.Source == "inventory" {
		parts = append(parts, "was running already")
	}
	return parts
}

func restartDetails(e *backendapi.Event) (parts []string) {
	if e.Run != nil && e.Run.RestartCount != nil {
		parts = append(parts, fmt.Sprintf("restart %d", *e.Run.RestartCount))
	}
	if p := e.Previous; p != nil && p.ExitCode != nil {
		parts = append(parts, strings.TrimSuffix(fmt.Sprintf("after exit %d %s", *p.ExitCode, p.Reason), " "))
	}
	return parts
}

func stopDetails(r *backendapi.Run) []string {
	if r == nil {
		return []string{"exit unknown"}
	}
	exit := "exit unknown"
	if r.ExitCode != nil {
		exit = fmt.Sprintf("exit %d", *r.ExitCode)
	}
	parts := []string{exit, r.Reason}
	if r.OOMKilled && r.Reason != "OOMKilled" {
		parts = append(parts, "out of memory")
	}
	switch {
	case r.StartedAt == nil:
		parts = append(parts, "never started")
	case r.FinishedAt != nil && !r.FinishedAt.Before(*r.StartedAt):
		parts = append(parts, "ran "+span(r.FinishedAt.Sub(*r.StartedAt)))
	}
	return parts
}

// span rounds a duration to what a reader needs: milliseconds below 1 s, tenths below 1 min, else seconds.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return '?'
	}, s)
}
