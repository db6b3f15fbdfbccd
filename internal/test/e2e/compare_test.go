//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// truth is what the backend must hold of one container.
type truth struct {
	record    privateruntime.Record
	inventory bool // it ran before the observer began
}

// differences compares what the backend holds with what the driver did. Empty: they are equal.
func differences(truths []truth, events []backendapi.Event) []string {
	var diffs []string
	byContainer := map[string][]backendapi.Event{}
	ids := map[string]bool{}
	for _, e := range events {
		if e.Kind == backendapi.KindObserverGap {
			continue
		}
		key := fmt.Sprint(e.EventID, e.Revision)
		if ids[key] {
			diffs = append(diffs, fmt.Sprintf("the id of %s comes twice: %s revision %d", e.Kind, e.EventID, e.Revision))
		}
		ids[key] = true
		_, id, _ := strings.Cut(e.Workload.ContainerID, "://")
		byContainer[id] = append(byContainer[id], e)
	}
	for _, tr := range truths {
		diffs = append(diffs, compareOne(tr, byContainer[tr.record.ID])...)
		delete(byContainer, tr.record.ID)
	}
	for id, events := range byContainer {
		diffs = append(diffs, fmt.Sprintf("container %s was never made, and has %d events", id, len(events)))
	}
	return diffs
}

func compareOne(tr truth, events []backendapi.Event) []string {
	r := tr.record
	var diffs []string
	differ := func(format string, args ...any) {
		diffs = append(diffs, fmt.Sprintf("%s attempt %d (%.12s): ", r.Name, r.Attempt, r.ID)+fmt.Sprintf(format, args...))
	}
	latest := map[backendapi.Kind]backendapi.Event{}
	for _, e := range events {
		if was, ok := latest[e.Kind]; !ok || e.Revision > was.Revision {
			latest[e.Kind] = e
		}
	}
	want := map[backendapi.Kind]time.Time{}
	began := backendapi.KindStart
	if r.Attempt > 0 && !tr.inventory {
		began = backendapi.KindRestart
	}
	if !tr.inventory {
		want[backendapi.KindCreate] = r.CreatedAt
	}
	if r.Started() {
		want[began] = r.StartedAt
	}
	if _, ended := r.Ended(); ended {
		want[backendapi.KindStop] = r.FinishedAt
	}
	if !r.RemovedAt.IsZero() {
		want[backendapi.KindRemove] = time.Time{} // between RemovingAt and the look that did not show it
	}
	for kind, when := range want {
		e, ok := latest[kind]
		if !ok {
			differ("%s is missing", kind)
			continue
		}
		if !when.IsZero() && !e.When.Equal(when) && !(kind == backendapi.KindStop && endUnknown(r)) {
			differ("%s: when %v, the runtime says %v", kind, e.When, when)
		}
		if e.Workload.Namespace != r.Namespace || e.Workload.Pod != r.Pod || e.Workload.PodUID != r.PodUID || e.Workload.Container != r.Name {
			differ("%s: workload %+v", kind, *e.Workload)
		}
	}
	for kind := range latest {
		if _, ok := want[kind]; !ok && kind != backendapi.KindCrashLoop && kind != backendapi.KindCrashLoopEnd && kind != backendapi.KindOOM {
			differ("%s is extra", kind)
		}
	}
	if stop, ok := latest[backendapi.KindStop]; ok && stop.Run != nil {
		switch {
		case endUnknown(r):
			diffs = append(diffs, compareUnknownEnd(r, stop)...)
		case stop.Run.ExitCode == nil:
			differ("the exit code is missing, the runtime says %d", r.ExitCode)
		case *stop.Run.ExitCode != uint32(r.ExitCode):
			differ("exit code %d, the runtime says %d", *stop.Run.ExitCode, r.ExitCode)
		case stop.Run.Reason != r.Reason:
			differ("reason %s, the runtime says %s", stop.Run.Reason, r.Reason)
		case stop.Run.OOMKilled != (r.Reason == "OOMKilled"):
			differ("oomKilled %v with reason %s", stop.Run.OOMKilled, r.Reason)
		}
		if stop.Observation.Precision != "exact" && !endUnknown(r) {
			differ("the stop is known as a %s only", stop.Observation.Precision)
		}
	}
	if removed, ok := latest[backendapi.KindRemove]; ok && removed.When.Before(r.RemovingAt) {
		differ("removed at %v, before it was (%v)", removed.When, r.RemovingAt)
	}
	return diffs
}

// endUnknown tells that the runtime itself does not know how the run ended: containerd 2 says so of what ended while it was
// down, and calls the time of its own restart the end.
func endUnknown(r privateruntime.Record) bool { return r.ExitCode == 255 && r.Reason == "Unknown" }

// compareUnknownEnd compares the stop of such a run: no code, and a window that ends with what the runtime says. The observer may
// know better, though: a shim that outlived containerd tells the end as it was to the next one's event stream, too late for CRI.
func compareUnknownEnd(r privateruntime.Record, stop backendapi.Event) []string {
	var diffs []string
	differ := func(format string, args ...any) {
		diffs = append(diffs, fmt.Sprintf("%s attempt %d (%.12s): ", r.Name, r.Attempt, r.ID)+fmt.Sprintf(format, args...))
	}
	if stop.Observation.Source == "stream" && stop.Observation.Precision == "exact" {
		if stop.Run.ExitCode == nil || *stop.Run.ExitCode != 137 || stop.When.Before(r.StartedAt) || stop.When.After(r.FinishedAt) {
			differ("exit %v at %v; it was killed before %v", stop.Run.ExitCode, stop.When, r.FinishedAt)
		}
		return diffs
	}
	if stop.Run.ExitCode != nil {
		differ("exit code %d, which nobody can know", *stop.Run.ExitCode)
	}
	if stop.Run.OOMKilled {
		differ("OOM-killed, which nobody can know")
	}
	switch o := stop.Observation; {
	case o.Precision != "window" || o.WindowStart == nil:
		differ("an end that nobody saw is known as %q from %v", o.Precision, o.WindowStart)
	case !stop.When.Equal(r.FinishedAt):
		differ("its window ends at %v, the runtime says %v", stop.When, r.FinishedAt)
	case o.WindowStart.Before(r.StartedAt) || o.WindowStart.After(r.FinishedAt):
		differ("its window begins at %v, the run lasted from %v to %v", o.WindowStart, r.StartedAt, r.FinishedAt)
	}
	return diffs
}

// truthsOf are the driver's records, of which those in inventory ran before the observer began.
func truthsOf(d *privateruntime.Driver, inventory ...string) []truth {
	var out []truth
	for _, r := range d.Records() {
		out = append(out, truth{record: r, inventory: slices.Contains(inventory, r.ID)})
	}
	return out
}

// agree waits until the backend holds exactly what the driver did, and stays so for a moment.
func (s *stack) agree(truths []truth) {
	s.t.Helper()
	var diffs []string
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if diffs = differences(truths, s.events()); len(diffs) > 0 {
			continue
		}
		time.Sleep(2500 * time.Millisecond) // a list and a second look at every stop later, nothing was added
		if diffs = differences(truths, s.events()); len(diffs) == 0 {
			return
		}
	}
	s.t.Fatalf("the backend and the driver disagree:\n%s", strings.Join(diffs, "\n"))
}

// find gives the latest revision of an event of a container, or nil.
func find(events []backendapi.Event, container string, kind backendapi.Kind) *backendapi.Event {
	var found *backendapi.Event
	for i := range events {
		e := &events[i]
		if e.Kind == kind && e.Workload != nil && strings.HasSuffix(e.Workload.ContainerID, container) && (found == nil || e.Revision > found.Revision) {
			found = e
		}
	}
	return found
}
