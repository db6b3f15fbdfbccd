// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package page

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// feedItem is an event in words.
type feedItem struct {
	Key string // id and revision
	phrase
	Name, Place string
	Container   string // container id; empty for a gap
	When        time.Time
	About       string // says that the time is not exact or that runs may have been missed; empty if neither
}

// phrase says what happened, with an icon of templates/icons.html.
type phrase struct{ What, Icon, Tone string }

// phrases has the kinds whose events need no details.
var phrases = map[backendapi.Kind]phrase{
	backendapi.KindCreate:       {"created", "ring", "dim"},
	backendapi.KindStart:        {"started", "dot", "ok"},
	backendapi.KindPause:        {"paused", "pause", "warn"},
	backendapi.KindUnpause:      {"resumed", "dot", "ok"},
	backendapi.KindRemove:       {"removed", "minus", "dim"},
	backendapi.KindOOM:          {"had a process killed by the OOM killer", "oom", "oom"},
	backendapi.KindCrashLoopEnd: {"recovered from its crash loop", "check", "ok"},
}

// detailed has the other kinds.
var detailed = map[backendapi.Kind]func(*backendapi.Event) phrase{
	backendapi.KindRestart:     restarted,
	backendapi.KindStop:        stopped,
	backendapi.KindHealth:      healthChanged,
	backendapi.KindCrashLoop:   crashLooping,
	backendapi.KindObserverGap: unreachable,
}

func itemOf(e *backendapi.Event) feedItem {
	it := feedItem{
		Key: fmt.Sprintf("%s-%d", e.EventID, e.Revision), phrase: phraseOf(e), When: e.When.UTC(), Place: e.Node, About: about(&e.Observation),
	}
	if w := e.Workload; w != nil {
		it.Container, it.Name = w.ContainerID, cmp.Or(w.Container, shortID(w.ContainerID))
		it.Place = cmp.Or(joinedBy("/", w.Namespace, w.Pod), e.Node)
	}
	if e.Kind == backendapi.KindObserverGap {
		it.Name = "observer"
	}
	return it
}

func phraseOf(e *backendapi.Event) phrase {
	if p, ok := phrases[e.Kind]; ok {
		return p
	}
	if describe, ok := detailed[e.Kind]; ok {
		return describe(e)
	}
	return phrase{strings.ToLower(string(e.Kind)), "unknown", "dim"}
}

func restarted(e *backendapi.Event) phrase {
	p := phrase{"restarted", "dot", "ok"}
	if e.Run != nil && e.Run.RestartCount != nil {
		p.What = fmt.Sprintf("restarted (%d)", *e.Run.RestartCount)
	}
	return p
}

func stopped(e *backendapi.Event) phrase {
	var end store.End
	if r := e.Run; r != nil {
		end = store.End{ExitCode: r.ExitCode, Signal: r.Signal, Reason: r.Reason, OOMKilled: r.OOMKilled}
	}
	o := outcomeOf(true, &end)
	p := phrase{"stopped: " + o.Word, o.Icon, o.Tone}
	if e.Run != nil && e.Run.StartedAt != nil {
		p.What += ", ran " + span(e.When.Sub(*e.Run.StartedAt))
	}
	return p
}

func healthChanged(e *backendapi.Event) phrase {
	p := phrase{"changed health", "unknown", "warn"}
	for _, ev := range e.Evidence {
		p.What = "health: " + ev.Value
	}
	return p
}

func crashLooping(e *backendapi.Event) phrase {
	p := phrase{"keeps failing", "loop", "bad"}
	if l := e.CrashLoop; l != nil {
		p.What = fmt.Sprintf("keeps failing: %d times in %s", l.Count, span(time.Duration(l.WindowSeconds*float64(time.Second))))
	}
	return p
}

func unreachable(e *backendapi.Event) phrase {
	p := phrase{"could not observe for a while", "unknown", "warn"}
	if g := e.Gap; g != nil {
		p.What = fmt.Sprintf("could not observe %s for %s: %s", cmp.Or(g.Runtime, e.Runtime.Engine), span(g.To.Sub(g.From)), strings.ReplaceAll(g.Cause, "_", " "))
	}
	return p
}

// about says what is uncertain about an event.
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
