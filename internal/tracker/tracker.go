// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package tracker turns looks at containers into transitions. It is pure: no I/O, no clock, no goroutine. Given the same
// looks it gives the same transitions, and a thing that happened gives the same transition however it was seen.
//
// What must hold:
//   - every run that is visible at any look is reported exactly once: one start (or restart) and, when it ended, one stop;
//   - a later look that knows better about a stop gives the same stop with the next revision, never a second stop;
//   - an older look than what is known (a stale notice, a clock that went back) gives nothing;
//   - nothing is invented: what no look showed is said as a window, an unknown exit or a count of missed runs.
//
// Observing does not change the tracker. It gives a Change, and Apply takes it: so a caller that cannot hand the
// transitions on just drops the change, and the next look finds what is still true.
package tracker

import (
	"time"

	"github.com/zastava-otel/zastava/internal/container"
)

// Inventory says which containers that are found at the first look, with nothing remembered, are reported.
type Inventory string

// The inventories: what runs (the default), everything that exists, nothing.
const (
	InventoryRunning Inventory = "running"
	InventoryAll     Inventory = "all"
	InventoryNone    Inventory = "none"
)

// Options of a Tracker.
type Options struct {
	Inventory Inventory // "" = InventoryRunning
	// CrashLoopThreshold is how many failed ends of one identity within CrashLoopWindow make a crash loop; 0 = never.
	CrashLoopThreshold int
	CrashLoopWindow    time.Duration
}

// Observation says when and how something was seen.
type Observation struct {
	At     time.Time        // now
	Since  time.Time        // the last moment before At at which a look at this container was taken; zero = never
	Source container.Source // SourceInventory: the first look with nothing remembered
	// HappenedAt is when what this look shows happened, where a notice told it exactly (pause, resume, OOM kill, removal);
	// zero: some time between Since and At. Starts and ends carry their own times in the run.
	HappenedAt time.Time
	// RunsReported: the stream told of every run of the container since the end of the known one; MissedRuns of them came and went
	// before the run that this look shows.
	RunsReported bool
	MissedRuns   uint32
	// PauseHidden: this look cannot tell paused from running (CRI shows both as running).
	PauseHidden bool
}

// Known is what is remembered of a container. It is not changed after it was handed out.
type Known struct {
	Container    *container.Container
	State        container.State
	Run          container.Run // the latest run; zero before the first
	RestartCount uint32
	Revision     uint32     // of the stop of Run
	Pauses       uint32     // pauses of Run that were reported
	OOMs         uint32     // OOM kills inside Run that were reported
	Health       string     // the verdict of the health check in Run, as last seen; "" = none
	Healths      uint32     // changes of Health in Run that were reported
	CrashLoop    *CrashLoop // the failed ends of the container's identity, as of the last change; nil = none
}

// Change is what one look changes: the transitions it tells and what is to be remembered once they are handed on.
type Change struct {
	ID          string
	Next        *Known // nil: forget the container
	Transitions []container.Transition

	empty bool
}

// Empty tells that the look showed nothing new: there is nothing to hand on or to remember.
func (c *Change) Empty() bool { return c.empty }

// Tracker remembers the containers of one runtime. It is not safe for concurrent use.
type Tracker struct {
	opts     Options
	known    map[string]*Known
	lineages map[string]*lineage
}

// New makes a tracker that remembers nothing.
func New(opts Options) *Tracker {
	if opts.Inventory == "" {
		opts.Inventory = InventoryRunning
	}
	return &Tracker{opts: opts, known: map[string]*Known{}, lineages: map[string]*lineage{}}
}

// Len is the number of containers remembered.
func (t *Tracker) Len() int { return len(t.known) }

// Known gives what is remembered of a container, or nil.
func (t *Tracker) Known(id string) *Known { return t.known[id] }

// All calls yield for every container remembered, in no order, until it returns false.
func (t *Tracker) All(yield func(id string, k *Known) bool) {
	for id, k := range t.known {
		if !yield(id, k) {
			return
		}
	}
}

// Restore puts back what an earlier tracker remembered. Only for a tracker that has seen nothing yet.
func (t *Tracker) Restore(id string, k *Known) {
	t.known[id] = k
	t.lineageOf(k.Container).apply(id, k)
}

// Observe compares a look at one container with what is known of it.
func (t *Tracker) Observe(s *container.Snapshot, l Observation) Change {
	k := t.known[s.Container.ID]
	st := step{t: t, look: l, snap: s}
	if k == nil {
		st.begin()
	} else {
		st.next = *k
		st.next.Container = s.Container
		st.next.CrashLoop = t.loopOf(s.Container)
		st.advance(k)
	}
	return st.change(k)
}

// Absent tells that a list does not show a container that is known.
func (t *Tracker) Absent(id string, l Observation) Change {
	k := t.known[id]
	if k == nil {
		return Change{ID: id, empty: true}
	}
	st := step{t: t, look: l, next: *k}
	if k.State == container.StateRunning || k.State == container.StatePaused {
		// Nobody saw the end; on a runtime that starts one id again, nobody can tell how many runs there were either.
		st.stop(container.Run{StartedAt: k.Run.StartedAt, PID: k.Run.PID}, missed{unknown: true})
	}
	st.happened(container.KindRemoved, container.Transition{State: container.StateUnknown})
	return Change{ID: id, Transitions: st.out}
}

// Rebooted tells that the host was booted at bootTime, after everything that is remembered was seen: whatever ran, ended.
// l.Since is when it was last seen.
func (t *Tracker) Rebooted(bootTime time.Time, l Observation) []Change {
	var changes []Change
	for _, k := range t.known {
		if k.State != container.StateRunning && k.State != container.StatePaused {
			continue
		}
		st := step{t: t, look: l, next: *k}
		run := k.Run
		run.FinishedAt, run.Reason = bootTime, ReasonHostReboot
		st.stop(run, missed{})
		changes = append(changes, st.change(k))
	}
	return changes
}

// ReasonHostReboot is the reason of a stop that a reboot of the host brought.
const ReasonHostReboot = "host_reboot"

// Apply makes the tracker remember a change. Changes of one container are applied in the order they were observed.
func (t *Tracker) Apply(c *Change) {
	if c.empty {
		return
	}
	before := t.known[c.ID]
	if c.Next == nil {
		delete(t.known, c.ID)
		if before != nil {
			t.forget(before, c)
		}
		return
	}
	t.known[c.ID] = c.Next
	ln := t.lineageOf(c.Next.Container)
	ln.apply(c.ID, c.Next)
	ln.loop = c.Next.CrashLoop // worked out from the lineage's own, whichever of its containers the news is of
}
