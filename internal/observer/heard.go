// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// maxHeard bounds the starts, and the ends, that are kept of one container.
const maxHeard = 16

// heard is what notices told of one container and no look that was taken has shown yet. A runtime's own bookkeeping comes a
// little after its events; where one id has many runs, a look may come too late for some of them; and a container that
// removes itself when it ends is gone before it can be looked at.
type heard struct {
	ends    []ending    // oldest first
	starts  []time.Time // oldest first
	from    time.Time   // starts is complete from here on; zero: for as long as the stream was followed
	created time.Time
	deleted time.Time
	told    *container.Container
	began   time.Time // the runtime's own time of the newest start, where a notice carries a status
}

// ending is the end of a run as a notice told it.
type ending struct {
	at     time.Time
	code   uint32
	signal string
	oom    bool
}

// of completes a run by its end.
func (n *ending) of(run container.Run) container.Run {
	run.FinishedAt, run.ExitCode, run.ExitKnown, run.Reason, run.StopSignal = n.at, n.code, true, exitReason(n.code), n.signal
	if n.oom {
		run.OOMKilled, run.Reason = true, reasonOOMKilled
	}
	return run
}

// hear takes what a notice tells of runs.
func (e *seat) hear(n *runtime.Notice) {
	switch n.Kind {
	case runtime.NoticeCreated, runtime.NoticeDeleted, runtime.NoticeStarted, runtime.NoticeExited:
	default:
		return
	}
	if e.heard == nil {
		e.heard = &heard{}
	}
	h := e.heard
	if n.Described != nil {
		h.told = n.Described
	}
	if n.Snapshot != nil && !n.Snapshot.Run.StartedAt.IsZero() {
		h.began = n.Snapshot.Run.StartedAt
	}
	switch n.Kind {
	case runtime.NoticeCreated:
		h.created = n.At
	case runtime.NoticeDeleted:
		h.deleted = n.At
	case runtime.NoticeStarted:
		if len(h.starts) == maxHeard {
			h.from = h.starts[0].Add(1)
			h.starts = append(h.starts[:0], h.starts[1:]...)
		}
		h.starts = append(h.starts, n.At)
	default:
		if len(h.ends) == maxHeard {
			h.ends = append(h.ends[:0], h.ends[1:]...)
		}
		h.ends = append(h.ends, ending{at: n.At, code: n.ExitCode, signal: n.StopSignal, oom: n.OOMKilled})
	}
}

// end gives the first end after started and not after next; zero: there is no such bound. Nil: none was heard.
func (h *heard) end(started, next time.Time) *ending {
	if h == nil {
		return nil
	}
	for i := range h.ends {
		n := &h.ends[i]
		if n.at.After(started) && (next.IsZero() || !n.at.After(next)) {
			return n
		}
	}
	return nil
}

// between tells how many runs began after ended and before started, if the stream told of every run since from.
func (h *heard) between(from, ended, started time.Time) (missed uint32, all bool) {
	if h == nil || from.IsZero() || ended.IsZero() || ended.Before(from) || ended.Before(h.from) {
		return 0, false
	}
	for _, at := range h.starts {
		switch {
		case !at.Before(started): // the notice of a start comes after the start
			return missed, true
		case at.After(ended):
			missed++
		}
	}
	return 0, false
}

// endHeard gives when the end of the run that began at started was told; zero: it was not. A runtime's own time of an end may be
// before that of the start (a process that ends at once), and before the notice of the start: only notices are compared with
// notices.
func (e *seat) endHeard(started time.Time) time.Time {
	if e.lastEnd.After(started) {
		return e.lastEnd
	}
	if n := e.heard.end(started, time.Time{}); n != nil {
		return n.at
	}
	return time.Time{}
}

// forget drops what was before the run that began at started, or everything but a removal, which no look shows.
func (e *seat) forget(started time.Time, all bool) {
	h := e.heard
	if h == nil {
		return
	}
	for len(h.ends) > 0 && (all || !h.ends[0].at.After(started)) {
		e.lastEnd = h.ends[0].at
		h.ends = h.ends[1:]
	}
	for len(h.starts) > 0 && h.starts[0].Before(started) {
		h.starts = h.starts[1:]
	}
	switch {
	case all && h.deleted.IsZero():
		e.heard = nil
	case all:
		e.heard = &heard{deleted: h.deleted, told: h.told}
	}
}

// newest gives the newest run after a moment that was heard of, and how far it got. Its start is the notice's, for lack of the
// runtime's own.
func (h *heard) newest(after time.Time) (run container.Run, state container.State) {
	state = container.StateCreated
	if h == nil {
		return run, state
	}
	if n := len(h.ends); n > 0 && h.ends[n-1].at.After(after) {
		state, run = container.StateExited, h.ends[n-1].of(run)
	}
	for _, at := range h.starts {
		switch {
		case !at.After(after): // of a run that is known
		case !at.After(run.FinishedAt), state == container.StateCreated:
			run.StartedAt = at
		default: // began after the newest end that was heard
			state, run = container.StateRunning, container.Run{StartedAt: at}
		}
	}
	if state == container.StateCreated && !run.StartedAt.IsZero() {
		state = container.StateRunning
	}
	return run, state
}

// overlayExit completes a status that does not show an end yet which a notice has told, or not its exit code: the runtime's own
// bookkeeping comes later than its event, and Docker's has the code of a start that failed in its place. It tells that it did.
func (l *loop) overlayExit(e *seat, snap *container.Snapshot) bool {
	running := snap.State == container.StateRunning || snap.State == container.StatePaused
	codeless := l.info.RestartsInPlace && snap.State == container.StateExited && !snap.Run.ExitKnown
	if !running && !codeless || snap.Run.StartedAt.IsZero() {
		return false // created: not even its start shows yet
	}
	var after time.Time
	if l.info.RestartsInPlace {
		after = snap.Run.StartedAt // what was before is the end of an earlier run
	}
	n := e.heard.end(after, time.Time{})
	if n == nil {
		return false
	}
	snap.State, snap.Run = container.StateExited, n.of(snap.Run)
	return true
}

// endBefore reports the end of the known run, if it was heard, before a look at a later run of the same id is compared.
// False: there was no room for it.
func (l *loop) endBefore(e *seat, snap *container.Snapshot, look tracker.Observation) bool {
	k := l.tracker.Known(e.id)
	if !l.info.RestartsInPlace || k == nil || !goesOn(k) || !snap.Run.StartedAt.After(k.Run.StartedAt) {
		return true
	}
	look.HappenedAt = time.Time{}
	return l.endKnown(k, e.heard.end(k.Run.StartedAt, snap.Run.StartedAt), look)
}

// lastWords reports what notices told of a container that cannot be looked at any more. False: there was no room for it.
func (l *loop) lastWords(e *seat, look tracker.Observation) bool {
	k := l.tracker.Known(e.id)
	if k != nil && goesOn(k) {
		if !l.endKnown(k, e.heard.end(k.Run.StartedAt, time.Time{}), look) {
			return false
		}
		if k = l.tracker.Known(e.id); goesOn(k) {
			return true // its end was not heard
		}
	}
	var known time.Time
	if k != nil && !k.Run.StartedAt.IsZero() {
		if known = e.endHeard(k.Run.StartedAt); known.IsZero() {
			return true // all that was heard is of the known run
		}
	}
	run, state := e.heard.newest(known)
	if state == container.StateCreated || (k != nil && k.State == container.StateExited && run.StartedAt.IsZero()) {
		return true
	}
	snap := &container.Snapshot{Container: e.container, State: state, Run: run}
	if k != nil {
		snap.Container, snap.RestartCount = k.Container, k.RestartCount
	}
	look.Source = container.SourceStream
	c := l.tracker.Observe(snap, look)
	return l.take(&c)
}

// endKnown reports the end of the known run as a notice told it; nil: none did. False: there was no room for it.
func (l *loop) endKnown(k *tracker.Known, n *ending, look tracker.Observation) bool {
	if n == nil {
		return true
	}
	look.Source = container.SourceStream
	end := &container.Snapshot{Container: k.Container, State: container.StateExited, Run: n.of(k.Run), RestartCount: k.RestartCount}
	c := l.tracker.Observe(end, look)
	return l.take(&c)
}

// heardOf makes a container of what notices told of it, or nil when they described none: it may have been a sandbox.
func (l *loop) heardOf(e *seat) *container.Container {
	if e.heard == nil || e.heard.told == nil {
		return nil
	}
	c := *e.heard.told
	c.Engine, c.Runtime, c.Version, c.Platform = l.info.Engine, l.opts.Name, l.info.Version, l.info.Platform
	c.ID, c.CreatedAt = e.id, e.heard.created
	if !l.opts.Filter.Allows(&c) {
		e.excluded = true
	}
	return &c
}

// goesOn tells that the known run is not known to have ended.
func goesOn(k *tracker.Known) bool {
	return !k.Run.StartedAt.IsZero() && (k.State == container.StateRunning || k.State == container.StatePaused)
}
