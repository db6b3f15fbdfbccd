// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"strconv"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/container"
)

const shortIDLen = 12 // as in the output of the runtimes' own command lines

// bodies are the texts that follow the container's name, for the kinds whose text depends on nothing else.
var bodies = map[container.Kind]string{
	container.KindCreated:        " created",
	container.KindPaused:         " paused",
	container.KindUnpaused:       " unpaused",
	container.KindRemoved:        " removed",
	container.KindOOM:            " ran out of memory: a process inside was killed, the container lives on",
	container.KindCrashLoopEnded: " recovered from its crash loop",
}

// body returns one line for a person to read.
func body(t *container.Transition) string {
	b := make([]byte, 0, 160)
	b = append(b, "container "...)
	b = appendPlace(b, t.Container)
	if text, ok := bodies[t.Kind]; ok {
		return string(append(b, text...))
	}
	switch t.Kind {
	case container.KindStarted:
		b = appendStarted(b, t)
	case container.KindRestarted:
		b = appendRestarted(b, t)
	case container.KindStopped:
		b = appendStopped(b, &t.Run)
	case container.KindHealthChanged:
		b = append(b, " changed its health"...)
		if t.Health != "" {
			b = append(b, " to "...)
			b = append(b, t.Health...)
		}
	case container.KindCrashLoop:
		b = appendCrashLoop(b, t.CrashLoop)
	default:
		b = append(b, ' ')
		b = append(b, t.Kind.String()...)
	}
	return string(b)
}

func appendStarted(b []byte, t *container.Transition) []byte {
	if t.Provenance.Source != container.SourceInventory {
		return append(b, " started"...)
	}
	b = append(b, " was already running when observation began"...)
	if !t.Run.StartedAt.IsZero() {
		b = append(b, ", started "...)
		b = t.Run.StartedAt.UTC().AppendFormat(b, time.RFC3339)
	}
	return b
}

func appendRestarted(b []byte, t *container.Transition) []byte {
	b = append(b, " restarted"...)
	if p := t.Previous; p != nil {
		b = append(b, ", previous run: "...)
		b = appendExit(b, p.ExitCode, p.ExitKnown, p.Reason, false)
	}
	if n := t.Provenance.MissedRuns; n > 0 {
		b = append(b, ", "...)
		b = strconv.AppendUint(b, uint64(n), 10)
		b = append(b, " runs in between not seen"...)
	}
	return b
}

func appendStopped(b []byte, r *container.Run) []byte {
	if r.StartedAt.IsZero() {
		b = append(b, " did not start: "...)
	} else {
		b = append(b, " stopped: "...)
	}
	b = appendExit(b, r.ExitCode, r.ExitKnown, r.Reason, r.OOMKilled)
	return appendRan(b, r)
}

func appendCrashLoop(b []byte, c *container.CrashLoop) []byte {
	b = append(b, " keeps failing"...)
	if c == nil {
		return b
	}
	b = append(b, ": "...)
	b = strconv.AppendUint(b, uint64(c.Count), 10)
	b = append(b, " times within "...)
	b = append(b, c.Window.String()...)
	b = append(b, ", mostly "...)
	return appendExit(b, c.ExitCode, true, c.Reason, false)
}

// appendPlace appends what identifies a container to a person: its name and pod, or its name, or its shortened id.
func appendPlace(b []byte, c *container.Container) []byte {
	if c.Name == "" {
		return append(b, c.ID[:min(len(c.ID), shortIDLen)]...)
	}
	b = append(b, c.Name...)
	if c.Owner != 0 {
		b = append(b, " of user "...)
		return strconv.AppendUint(b, uint64(c.Owner), 10)
	}
	if c.Pod.Name == "" {
		return b
	}
	b = append(b, " in "...)
	if c.Pod.Namespace != "" {
		b = append(b, c.Pod.Namespace...)
		b = append(b, '/')
	}
	return append(b, c.Pod.Name...)
}

func appendExit(b []byte, code uint32, known bool, reason string, oomKilled bool) []byte {
	if known {
		b = append(b, "exit "...)
		b = strconv.AppendUint(b, uint64(code), 10)
	} else {
		b = append(b, "exit unknown"...)
	}
	if reason != "" {
		b = append(b, ", "...)
		b = append(b, reason...)
	}
	if oomKilled && reason != "OOMKilled" {
		b = append(b, ", OOM-killed"...)
	}
	return b
}

func appendRan(b []byte, r *container.Run) []byte {
	if r.StartedAt.IsZero() || r.FinishedAt.IsZero() || r.FinishedAt.Before(r.StartedAt) {
		return b
	}
	ran := r.FinishedAt.Sub(r.StartedAt)
	if ran >= time.Second {
		ran = ran.Round(time.Second)
	} else {
		ran = ran.Round(time.Millisecond)
	}
	b = append(b, ", ran "...)
	return append(b, ran.String()...)
}

func gapBody(g *container.Gap) string {
	b := make([]byte, 0, 160)
	b = append(b, "observer could not see "...)
	b = append(b, g.Engine...)
	if g.Runtime != "" && g.Runtime != g.Engine {
		b = append(b, " ("...)
		b = append(b, g.Runtime...)
		b = append(b, ')')
	}
	if !g.From.IsZero() && g.To.After(g.From) {
		b = append(b, " for "...)
		b = append(b, g.To.Sub(g.From).Round(time.Millisecond).String()...)
	}
	b = append(b, ": "...)
	b = append(b, g.Cause...)
	if g.Coalesced > 0 {
		b = append(b, ", "...)
		b = strconv.AppendUint(b, g.Coalesced, 10)
		b = append(b, " transitions folded into later ones"...)
	}
	return string(b)
}

// severity returns ERROR for memory exhaustion and crash loops, WARN for other failed runs, and INFO for everything else.
func severity(t *container.Transition) plog.SeverityNumber {
	stopped := t.Kind == container.KindStopped
	switch {
	case t.Kind == container.KindOOM, t.Kind == container.KindCrashLoop, stopped && t.Run.OOMKilled:
		return plog.SeverityNumberError
	case stopped && t.Run.Failed():
		return plog.SeverityNumberWarn
	default:
		return plog.SeverityNumberInfo
	}
}

func sampledBody(s *Sampled) string {
	b := make([]byte, 0, 160)
	b = append(b, "container "...)
	b = appendPlace(b, s.Container)
	b = append(b, " sampled: "...)
	b = strconv.AppendInt(b, int64(s.Sample.Coverage.Processes.Seen), 10)
	b = append(b, " processes, "...)
	b = strconv.AppendInt(b, int64(s.Sample.Coverage.Files.Seen), 10)
	b = append(b, " files, "...)
	b = strconv.AppendInt(b, int64(s.Sample.Coverage.Files.Read), 10)
	b = append(b, " hashed; "...)
	b = strconv.AppendInt(b, int64(len(s.Sample.Files)), 10)
	return string(append(b, " told"...))
}
