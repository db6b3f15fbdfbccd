// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package page

import (
	"cmp"
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/store"
)

// status is a state in words, with an icon of templates/icons.html: color is never the only sign.
type status struct {
	Word, Icon, Tone string
	weight           int // orders the list, problems first
}

func statusOf(c *store.Container) status {
	switch {
	case c.CrashLoop != nil:
		return status{"crash-looping", "loop", "bad", 0}
	case c.State == "exited" && c.OOMKilled:
		return status{"OOM-killed", "oom", "oom", 1}
	case c.State == "exited" && c.Failed():
		return status{"failed", "cross", "bad", 1}
	case c.State == "running":
		return status{"running", "dot", "ok", 2}
	case c.State == "paused":
		return status{"paused", "pause", "warn", 2}
	case c.State == "created":
		return status{"created", "ring", "dim", 3}
	case c.State == "exited" && c.ExitCode == nil:
		return status{"ended", "unknown", "dim", 4}
	case c.State == "exited":
		return status{"completed", "check", "dim", 4}
	case c.State == "removed":
		return status{"removed", "minus", "dim", 5}
	}
	return status{"unknown", "unknown", "dim", 6}
}

// outcome is how a run ended, in words.
type outcome struct {
	Word, Icon, Tone string
	At               *time.Time
}

func outcomeOf(ended bool, e *store.End) outcome {
	switch {
	case !ended:
		return outcome{"running", "dot", "ok", nil}
	case e.OOMKilled:
		return outcome{joined("OOM-killed", code(e.ExitCode)), "oom", "oom", e.FinishedAt}
	case e.ExitCode == nil:
		return outcome{joined("exit unknown", plainReason(e.Reason)), "unknown", "dim", e.FinishedAt}
	case *e.ExitCode == 0:
		return outcome{"exit 0", "check", "dim", e.FinishedAt}
	}
	return outcome{joined(code(e.ExitCode), cmp.Or(e.Signal, plainReason(e.Reason))), "cross", "bad", e.FinishedAt}
}

func lastExit(c *store.Container) *outcome {
	if c.LastExit == nil {
		return nil
	}
	o := outcomeOf(true, c.LastExit)
	return &o
}

func code(c *uint32) string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf("exit %d", *c)
}

// plainReason returns the reason, or nothing if it only repeats the exit code.
func plainReason(reason string) string {
	if reason == "Error" || reason == "Completed" {
		return ""
	}
	return reason
}

func joined(parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, ", ")
}

func nameOf(c *store.Container) string { return cmp.Or(c.Name, shortID(c.ContainerID)) }

const utcFormat = "2006-01-02 15:04:05.000 UTC"

// span formats a duration in its two largest units.
func span(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return units(int(d.Minutes()), "m", int(d.Seconds())%60, "s")
	case d < 24*time.Hour:
		return units(int(d.Hours()), "h", int(d.Minutes())%60, "m")
	}
	return units(int(d.Hours())/24, "d", int(d.Hours())%24, "h")
}

func units(large int, largeUnit string, small int, smallUnit string) string {
	if small == 0 {
		return fmt.Sprintf("%d %s", large, largeUnit)
	}
	return fmt.Sprintf("%d %s %d %s", large, largeUnit, small, smallUnit)
}

func durationOf(r *store.Run, now time.Time) string {
	switch {
	case r.StartedAt == nil:
		return "never started"
	case !r.Ended:
		return span(now.Sub(*r.StartedAt))
	case r.FinishedAt == nil:
		return "unknown"
	}
	return span(r.FinishedAt.Sub(*r.StartedAt))
}

// shortID returns the first 12 characters of the bare id, as runtimes print it.
func shortID(id string) string {
	_, bare, _ := strings.Cut(id, "://")
	return first(cmp.Or(bare, id), 12)
}

func first(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}

// shortImage returns the reference without its registry and with a short digest; the full one is in a tooltip.
func shortImage(ref string) string {
	if name, digest, ok := strings.Cut(ref, "@"); ok {
		_, hex, _ := strings.Cut(digest, ":")
		ref = name + "@" + first(hex, 12)
	}
	if host, rest, ok := strings.Cut(ref, "/"); ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		ref = rest
	}
	return strings.TrimPrefix(ref, "library/")
}

var functions = template.FuncMap{
	"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"utc":   func(t time.Time) string { return t.UTC().Format(utcFormat) },
	"clock": func(t time.Time) string { return t.UTC().Format("15:04:05 UTC") },
	"short": shortImage, "shortID": shortID, "first": first,
	"name": func(c store.Container) string { return nameOf(&c) },
}
