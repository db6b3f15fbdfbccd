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

// truth is what the backend must have about one container.
type truth struct {
	record    privateruntime.Record
	inventory bool // it ran before the observer began
}

// differences compares the backend's events with what the driver did. It returns nil when they agree.
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
			diffs = append(diffs, fmt.Sprintf("the id of %s exists twice: %s revision %d", e.Kind, e.EventID, e.Revision))
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
		diffs = append(diffs, fmt.Sprintf("container %s was never created, and has %d events", id, len(events)))
	}
	return diffs
}

// comparison compares the events of one container with what the driver did.
type comparison struct {
	truth
	latest map[backendapi.Kind]backendapi.Event // the latest revision of each kind
	diffs  []string
}

func compareOne(tr truth, events []backendapi.Event) []string {
	c := comparison{truth: tr, latest: map[backendapi.Kind]backendapi.Event{}}
	for _, e := range events {
		if was, ok := c.latest[e.Kind]; !ok || e.Revision > was.Revision {
			c.latest[e.Kind] = e
		}
	}
	c.compareKinds()
	if stop, ok := c.latest[backendapi.KindStop]; ok && stop.Run != nil {
		c.compareStop(stop)
	}
	if removed, ok := c.latest[backendapi.KindRemove]; ok && removed.When.Before(c.record.RemovingAt) {
		c.differ("removed at %v, before the removal began (%v)", removed.When, c.record.RemovingAt)
	}
	return c.diffs
}

func (c *comparison) differ(format string, args ...any) {
	c.diffs = append(c.diffs, fmt.Sprintf("%s attempt %d (%.12s): ", c.record.Name, c.record.Attempt, c.record.ID)+fmt.Sprintf(format, args...))
}

// wanted returns the kinds of the events that must exist, with the runtime's time of each. A removal has no exact time: it is between
// RemovingAt and the list that no longer showed the container.
func (c *comparison) wanted() map[backendapi.Kind]time.Time {
	r := c.record
	want := map[backendapi.Kind]time.Time{}
	if !c.inventory {
		want[backendapi.KindCreate] = r.CreatedAt
	}
	if r.Started() {
		began := backendapi.KindStart
		if r.Attempt > 0 && !c.inventory {
			began = backendapi.KindRestart
		}
		want[began] = r.StartedAt
	}
	if _, ended := r.Ended(); ended {
		want[backendapi.KindStop] = r.FinishedAt
	}
	if !r.RemovedAt.IsZero() {
		want[backendapi.KindRemove] = time.Time{}
	}
	return want
}

// compareKinds compares which events exist, and of each the time and the workload.
func (c *comparison) compareKinds() {
	want := c.wanted()
	for kind, when := range want {
		e, ok := c.latest[kind]
		if !ok {
			c.differ("%s is missing", kind)
			continue
		}
		if !when.IsZero() && !e.When.Equal(when) && !(kind == backendapi.KindStop && endUnknown(c.record)) {
			c.differ("%s: when %v, the runtime reports %v", kind, e.When, when)
		}
		if !isOf(e.Workload, &c.record) {
			c.differ("%s: workload %+v", kind, *e.Workload)
		}
	}
	for kind := range c.latest {
		if _, ok := want[kind]; !ok && kind != backendapi.KindCrashLoop && kind != backendapi.KindCrashLoopEnd && kind != backendapi.KindOOM {
			c.differ("%s is extra", kind)
		}
	}
}

// isOf reports whether a workload is the recorded container's.
func isOf(w *backendapi.Workload, r *privateruntime.Record) bool {
	return w.Namespace == r.Namespace && w.Pod == r.Pod && w.PodUID == r.PodUID && w.Container == r.Name
}

func (c *comparison) compareStop(stop backendapi.Event) {
	r := c.record
	if endUnknown(r) {
		c.compareUnknownEnd(stop)
		return
	}
	switch {
	case stop.Run.ExitCode == nil:
		c.differ("the exit code is missing, the runtime reports %d", r.ExitCode)
	case *stop.Run.ExitCode != uint32(r.ExitCode):
		c.differ("exit code %d, the runtime reports %d", *stop.Run.ExitCode, r.ExitCode)
	case stop.Run.Reason != r.Reason:
		c.differ("reason %s, the runtime reports %s", stop.Run.Reason, r.Reason)
	case stop.Run.OOMKilled != (r.Reason == "OOMKilled"):
		c.differ("oomKilled %v with reason %s", stop.Run.OOMKilled, r.Reason)
	}
	if stop.Observation.Precision != "exact" {
		c.differ("the stop has only the precision %s", stop.Observation.Precision)
	}
}

// endUnknown reports whether the runtime itself does not know how the run ended: containerd 2 reports this for runs that ended while
// it was down, with the time of its own restart as the end.
func endUnknown(r privateruntime.Record) bool { return r.ExitCode == 255 && r.Reason == "Unknown" }

// compareUnknownEnd compares the stop of such a run, which has no exit code and a window that ends at the runtime's time. The observer
// may know better: a shim that outlived containerd reports the real end to the event stream of the next one, too late for CRI.
func (c *comparison) compareUnknownEnd(stop backendapi.Event) {
	r := c.record
	if stop.Observation.Source == "stream" && stop.Observation.Precision == "exact" {
		if stop.Run.ExitCode == nil || *stop.Run.ExitCode != 137 || stop.When.Before(r.StartedAt) || stop.When.After(r.FinishedAt) {
			c.differ("exit %v at %v; it was killed before %v", stop.Run.ExitCode, stop.When, r.FinishedAt)
		}
		return
	}
	if stop.Run.ExitCode != nil {
		c.differ("exit code %d, which cannot be known", *stop.Run.ExitCode)
	}
	if stop.Run.OOMKilled {
		c.differ("OOM-killed, which cannot be known")
	}
	switch o := stop.Observation; {
	case o.Precision != "window" || o.WindowStart == nil:
		c.differ("an unobserved end has the precision %q from %v", o.Precision, o.WindowStart)
	case !stop.When.Equal(r.FinishedAt):
		c.differ("its window ends at %v, the runtime reports %v", stop.When, r.FinishedAt)
	case o.WindowStart.Before(r.StartedAt) || o.WindowStart.After(r.FinishedAt):
		c.differ("its window begins at %v, the run lasted from %v to %v", o.WindowStart, r.StartedAt, r.FinishedAt)
	}
}

// truthsOf returns the driver's records. Those in inventory ran before the observer began.
func truthsOf(d *privateruntime.Driver, inventory ...string) []truth {
	var out []truth
	for _, r := range d.Records() {
		out = append(out, truth{record: r, inventory: slices.Contains(inventory, r.ID)})
	}
	return out
}

// agree waits until the backend's events agree with what the driver did, and still do a moment later.
func (s *stack) agree(truths []truth) {
	s.t.Helper()
	var diffs []string
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if diffs = differences(truths, s.events()); len(diffs) > 0 {
			continue
		}
		time.Sleep(2500 * time.Millisecond) // after another list and a recheck of every stop
		if diffs = differences(truths, s.events()); len(diffs) == 0 {
			return
		}
	}
	s.t.Fatalf("the backend and the driver disagree:\n%s", strings.Join(diffs, "\n"))
}

// find returns the latest revision of an event of a container, or nil.
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
