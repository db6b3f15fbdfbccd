// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// differences compares the backend's events with what the driver did. It returns nil when they agree.
func (e *dockerDriver) differences(events []backendapi.Event) []string {
	var diffs []string
	latest := map[string]backendapi.Event{} // by id
	for _, ev := range events {
		was, known := latest[ev.EventID]
		if known && was.Revision == ev.Revision {
			diffs = append(diffs, fmt.Sprintf("revision %d of %s (%s) exists twice", ev.Revision, ev.EventID, ev.Kind))
		}
		if !known || ev.Revision > was.Revision {
			latest[ev.EventID] = ev
		}
	}
	byContainer := map[string][]backendapi.Event{}
	for _, ev := range latest {
		switch ev.Kind {
		case backendapi.KindObserverGap, backendapi.KindCrashLoop, backendapi.KindCrashLoopEnd, backendapi.KindOOM:
			continue
		default:
		}
		if scheme, id, _ := strings.Cut(ev.Workload.ContainerID, "://"); scheme == "docker" {
			byContainer[id] = append(byContainer[id], ev)
		}
	}
	for _, c := range e.containers {
		diffs = append(diffs, c.differences(byContainer[c.id])...)
		delete(byContainer, c.id)
	}
	for id, events := range byContainer {
		diffs = append(diffs, fmt.Sprintf("container %s was never created, and has %d events", id, len(events)))
	}
	return diffs
}

func (c *engineContainer) differences(events []backendapi.Event) []string {
	var diffs []string
	differ := func(format string, args ...any) {
		diffs = append(diffs, fmt.Sprintf("%s (%.12s): ", c.name, c.id)+fmt.Sprintf(format, args...))
	}
	slices.SortFunc(events, func(a, b backendapi.Event) int { return a.When.Compare(b.When) })
	var kinds []backendapi.Kind
	for _, ev := range events {
		kinds = append(kinds, ev.Kind)
	}
	want := c.kinds
	if c.inventory && len(kinds) > 0 && kinds[0] != backendapi.KindCreate { // else the engine replayed the creation
		want = want[1:]
	}
	if !slices.Equal(kinds, want) {
		differ("the events are %v, expected %v", kinds, want)
		return diffs
	}
	run := -1
	for _, ev := range events {
		if ev.Workload.Container != c.name {
			differ("%s: the container is named %s", ev.Kind, ev.Workload.Container)
		}
		switch ev.Kind {
		case backendapi.KindStart, backendapi.KindRestart:
			if run++; !ev.When.Equal(c.runs[run].started) {
				differ("%s: at %v, the engine reports %v", ev.Kind, ev.When, c.runs[run].started)
			}
		case backendapi.KindStop:
			if run >= 0 {
				diffs = append(diffs, c.endDiffers(c.runs[run], ev)...)
			}
		default:
		}
	}
	return diffs
}

// endDiffers compares the end of a run. The engine's event has a time some milliseconds after that of its status.
func (c *engineContainer) endDiffers(run engineRun, stop backendapi.Event) []string {
	var diffs []string
	differ := func(format string, args ...any) {
		diffs = append(diffs, fmt.Sprintf("%s (%.12s): ", c.name, c.id)+fmt.Sprintf(format, args...))
	}
	switch {
	case run.unknown:
	case stop.Run == nil || stop.Run.ExitCode == nil:
		differ("no exit code, the engine reports %d", run.code)
	case *stop.Run.ExitCode != run.code:
		differ("exit code %d, the engine reports %d", *stop.Run.ExitCode, run.code)
	case stop.Run.Reason != run.reason || stop.Run.OOMKilled != (run.reason == "OOMKilled"):
		differ("reason %q, OOM-killed %v, expected %s", stop.Run.Reason, stop.Run.OOMKilled, run.reason)
	}
	if off := stop.When.Sub(run.finished).Abs(); off > 2*time.Second && !run.unknown {
		differ("ended at %v, the engine reports %v", stop.When, run.finished)
	}
	return diffs
}

// agree waits until the backend's events agree with what the driver did, and still do a moment later.
func (e *dockerDriver) agree(s *stack) {
	e.t.Helper()
	var diffs []string
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if diffs = e.differences(s.events()); len(diffs) > 0 {
			continue
		}
		time.Sleep(2500 * time.Millisecond) // after another list and a recheck of every stop
		if diffs = e.differences(s.events()); len(diffs) == 0 {
			return
		}
	}
	e.t.Fatalf("the backend and the engine disagree:\n%s", strings.Join(diffs, "\n"))
}
