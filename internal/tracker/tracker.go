// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package tracker compares observations of containers and returns transitions. It is pure: no I/O, no clock, no goroutine.
// The same observations always yield the same transitions, and one real event yields the same transition however it was observed.
//
// Invariants:
//   - every run that some observation shows is reported exactly once: one start (or restart) and, when it ended, one stop;
//   - a later observation with more detail about a stop yields the same stop with the next revision, never a second stop;
//   - an observation older than the known state (a stale notice, a clock that was set back) yields nothing;
//   - nothing is invented: what no observation shows is reported as a window, an unknown exit or a count of missed runs.
//
// Observe does not change the tracker. It returns a Change, and Apply stores it. A caller that cannot deliver the transitions
// drops the change, and the next observation yields what is still true.
package tracker

import (
	"time"

	"github.com/zastava-otel/zastava/internal/container"
)

// Inventory selects which containers are reported when the first list finds them and no checkpoint exists.
type Inventory string

// The inventories: running containers (the default), all containers, none.
const (
	InventoryRunning Inventory = "running"
	InventoryAll     Inventory = "all"
	InventoryNone    Inventory = "none"
)

// Options of a Tracker.
type Options struct {
	Inventory Inventory // "" = InventoryRunning
	// CrashLoopThreshold is the number of failed ends of one identity within CrashLoopWindow that make a crash loop; 0 = never.
	CrashLoopThreshold int
	CrashLoopWindow    time.Duration
}

// Observation is the time and the provenance of one snapshot.
type Observation struct {
	At     time.Time        // time of the observation
	Since  time.Time        // time of the previous observation of this container that was applied; zero if none
	Source container.Source // SourceInventory: the first list, without a checkpoint
	// HappenedAt is the exact time of the change if a notice reported it (pause, resume, OOM kill, removal); zero: some time
	// between Since and At. Starts and ends have their times in the run.
	HappenedAt time.Time
	// RunsReported means that the stream reported every run of the container since the end of the known run; MissedRuns of
	// them began and ended before the run of this snapshot.
	RunsReported bool
	MissedRuns   uint32
	// PauseHidden means that this observation does not distinguish paused from running (CRI shows both as running).
	PauseHidden bool
}

// Known is the state that the tracker keeps of a container. It must not be changed after it was returned.
type Known struct {
	Container    *container.Container
	State        container.State
	Run          container.Run // the latest run; zero before the first
	RestartCount uint32
	Revision     uint32     // of the stop of Run
	Pauses       uint32     // reported pauses of Run
	OOMs         uint32     // reported OOM kills inside Run
	Health       string     // the latest result of the health check in Run; empty if unknown
	Healths      uint32     // reported changes of Health in Run
	CrashLoop    *CrashLoop // the failed ends of the container's identity as of the last change; nil if none
}

// Change is the result of one observation: the transitions, and the state to store once they were accepted.
type Change struct {
	ID          string
	Next        *Known // nil removes the container from the tracker
	Transitions []container.Transition

	empty bool
}

// Empty reports whether the observation showed nothing new, so that there is nothing to deliver or to store.
func (c *Change) Empty() bool { return c.empty }

// Tracker keeps the state of the containers of one runtime. It is not safe for concurrent use.
type Tracker struct {
	opts     Options
	known    map[string]*Known
	lineages map[string]*lineage
}

// New returns an empty tracker.
func New(opts Options) *Tracker {
	if opts.Inventory == "" {
		opts.Inventory = InventoryRunning
	}
	return &Tracker{opts: opts, known: map[string]*Known{}, lineages: map[string]*lineage{}}
}

// Len returns the number of tracked containers.
func (t *Tracker) Len() int { return len(t.known) }

// Known returns the state of a container, or nil if it is not tracked.
func (t *Tracker) Known(id string) *Known { return t.known[id] }

// All calls yield for every tracked container, in no particular order, until it returns false.
func (t *Tracker) All(yield func(id string, k *Known) bool) {
	for id, k := range t.known {
		if !yield(id, k) {
			return
		}
	}
}

// Restore adds the state that an earlier tracker kept. It must not be called after the first Observe.
func (t *Tracker) Restore(id string, k *Known) {
	t.known[id] = k
	t.lineageOf(k.Container).apply(id, k)
}

// Observe compares the snapshot of one container with its known state.
func (t *Tracker) Observe(s *container.Snapshot, o Observation) Change {
	k := t.known[s.Container.ID]
	st := step{t: t, obs: o, snap: s}
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

// Absent returns the change for a known container that a list no longer shows.
func (t *Tracker) Absent(id string, o Observation) Change {
	k := t.known[id]
	if k == nil {
		return Change{ID: id, empty: true}
	}
	st := step{t: t, obs: o, next: *k}
	if isRunning(k.State) {
		// The end was not observed. On a runtime that restarts one id in place, more runs may have followed.
		st.stop(container.Run{StartedAt: k.Run.StartedAt, PID: k.Run.PID}, missed{unknown: true})
	}
	st.emitNoticed(container.KindRemoved, container.Transition{State: container.StateUnknown})
	return Change{ID: id, Transitions: st.out}
}

// Rebooted ends all running containers because the host was booted at bootTime, after the state was stored. o.Since is the
// time of the last observation before the reboot.
func (t *Tracker) Rebooted(bootTime time.Time, o Observation) []Change {
	var changes []Change
	for _, k := range t.known {
		if !isRunning(k.State) {
			continue
		}
		st := step{t: t, obs: o, next: *k}
		run := k.Run
		run.FinishedAt, run.Reason = bootTime, ReasonHostReboot
		st.stop(run, missed{})
		changes = append(changes, st.change(k))
	}
	return changes
}

// ReasonHostReboot is the reason of a stop that was caused by a reboot of the host.
const ReasonHostReboot = "host_reboot"

// Apply stores a change. Changes of one container must be applied in the order in which they were observed.
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
	ln.loop = c.Next.CrashLoop // computed from the lineage's own loop, even if the change is of an older container
}
