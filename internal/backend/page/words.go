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
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// status is a state in words, with an icon of templates/icons.html: color is never the only sign.
type status struct {
	Word, Icon, Tone string
	weight           int // trouble first
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

// plainReason leaves out reasons that only repeat the exit code.
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

// feedItem is an event in words.
type feedItem struct {
	Key               string // id and revision
	Icon, Tone        string
	Name, What, Place string
	Container         string // its id, empty for a gap
	When              time.Time
	About             string // not empty where the time is not exact or something was missed: says so
}

func itemOf(e *backendapi.Event) feedItem {
	it := feedItem{Key: fmt.Sprintf("%s-%d", e.EventID, e.Revision), When: e.When.UTC(), Place: e.Node}
	if w := e.Workload; w != nil {
		it.Container, it.Name = w.ContainerID, cmp.Or(w.Container, shortID(w.ContainerID))
		it.Place = cmp.Or(joinedBy("/", w.Namespace, w.Pod), e.Node)
	}
	var run store.End
	if r := e.Run; r != nil {
		run = store.End{ExitCode: r.ExitCode, Signal: r.Signal, Reason: r.Reason, OOMKilled: r.OOMKilled}
	}
	switch e.Kind {
	case backendapi.KindCreate:
		it.What, it.Icon, it.Tone = "created", "ring", "dim"
	case backendapi.KindStart:
		it.What, it.Icon, it.Tone = "started", "dot", "ok"
	case backendapi.KindRestart:
		it.What, it.Icon, it.Tone = "restarted", "dot", "ok"
		if e.Run != nil && e.Run.RestartCount != nil {
			it.What = fmt.Sprintf("restarted (%d)", *e.Run.RestartCount)
		}
	case backendapi.KindStop:
		o := outcomeOf(true, &run)
		it.What, it.Icon, it.Tone = "stopped: "+o.Word, o.Icon, o.Tone
		if e.Run != nil && e.Run.StartedAt != nil {
			it.What += ", ran " + span(e.When.Sub(*e.Run.StartedAt))
		}
	case backendapi.KindPause:
		it.What, it.Icon, it.Tone = "paused", "pause", "warn"
	case backendapi.KindUnpause:
		it.What, it.Icon, it.Tone = "resumed", "dot", "ok"
	case backendapi.KindRemove:
		it.What, it.Icon, it.Tone = "removed", "minus", "dim"
	case backendapi.KindOOM:
		it.What, it.Icon, it.Tone = "lost a process to the OOM killer", "oom", "oom"
	case backendapi.KindHealth:
		it.What, it.Icon, it.Tone = "changed health", "unknown", "warn"
		for _, ev := range e.Evidence {
			it.What = "health: " + ev.Value
		}
	case backendapi.KindCrashLoop:
		it.What, it.Icon, it.Tone = "keeps failing", "loop", "bad"
		if l := e.CrashLoop; l != nil {
			it.What = fmt.Sprintf("keeps failing: %d times in %s", l.Count, span(time.Duration(l.WindowSeconds*float64(time.Second))))
		}
	case backendapi.KindCrashLoopEnd:
		it.What, it.Icon, it.Tone = "recovered from its crash loop", "check", "ok"
	case backendapi.KindObserverGap:
		it.Name, it.What, it.Icon, it.Tone = "observer", "could not see for a while", "unknown", "warn"
		if g := e.Gap; g != nil {
			it.What = fmt.Sprintf("could not see %s for %s: %s", cmp.Or(g.Runtime, e.Runtime.Engine), span(g.To.Sub(g.From)), strings.ReplaceAll(g.Cause, "_", " "))
		}
	default:
		it.What, it.Icon, it.Tone = strings.ToLower(string(e.Kind)), "unknown", "dim"
	}
	it.About = about(&e.Observation)
	return it
}

func about(o *backendapi.Observation) string {
	var parts []string
	if o.Precision == "window" {
		text := "the exact time is not known"
		if o.WindowStart != nil {
			text = "happened at some time since " + o.WindowStart.UTC().Format(utcFormat)
		}
		parts = append(parts, text)
	}
	switch {
	case o.MissedUnknown:
		parts = append(parts, "runs before it may have been missed")
	case o.MissedRuns != nil && *o.MissedRuns > 0:
		parts = append(parts, fmt.Sprintf("%d runs before it were missed", *o.MissedRuns))
	}
	return strings.Join(parts, "; ")
}

func joinedBy(sep string, parts ...string) string {
	return strings.ReplaceAll(joined(parts...), ", ", sep)
}

const utcFormat = "2006-01-02 15:04:05.000 UTC"

// span writes a duration for people: the two largest units.
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

// shortID shortens the way runtimes do.
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

// shortImage leaves the registry out and shortens digests; the full reference is in a tooltip.
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
