// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// A runtime's own bookkeeping comes a little after its events. While a status lags behind a notice, the container is inspected again.
const (
	statusLag  = time.Millisecond // before the first further inspection; it doubles
	maxLagging = 9                // inspections: half a second in all; the next list comes later anyway
)

// apply compares a status of a container with what is known, and commits what it shows.
func (l *loop) apply(e *entry, snap *container.Snapshot, o tracker.Observation) {
	e.container, e.seenAt = snap.Container, o.At
	if !l.reportEndBefore(e, snap, o) {
		l.postpone(e)
		return
	}
	if l.completeByEnd(e, snap) {
		o.Source = container.SourceStream
	}
	if l.isLaterRun(e, snap) && !l.countMissedRuns(e, snap, &o) {
		return
	}
	l.recheckUnsettled(e, snap, o.At)
	c := l.tracker.Observe(snap, o)
	if !l.commit(&c) {
		l.postpone(e)
		return
	}
	l.accept(e, snap)
	if endsFirst(&c) {
		l.recheckAfter(e, l.opts.RecheckAfterStop) // an OOM kill may be known only later
	}
}

// reportEndBefore reports the end of the known run, if it is pending, before a status of a later run of the same id is compared. It
// reports false if the outbox has no room for it.
func (l *loop) reportEndBefore(e *entry, snap *container.Snapshot, o tracker.Observation) bool {
	k := l.tracker.Known(e.id)
	if !l.info.RestartsInPlace || k == nil || !inRun(k) || !snap.Run.StartedAt.After(k.Run.StartedAt) {
		return true
	}
	o.HappenedAt = time.Time{}
	return l.reportEnd(k, e.pending.runs.end(k.Run.StartedAt, snap.Run.StartedAt), o)
}

// completeByEnd completes a status that does not show an end yet which a notice reported, or not its exit code: the runtime's own
// bookkeeping comes later than its event, and Docker's has the code of a start that failed in place of the run's. It reports whether
// it did.
func (l *loop) completeByEnd(e *entry, snap *container.Snapshot) bool {
	running := snap.State == container.StateRunning || snap.State == container.StatePaused
	codeless := l.info.RestartsInPlace && snap.State == container.StateExited && !snap.Run.ExitKnown
	if !running && !codeless || snap.Run.StartedAt.IsZero() {
		return false // created: not even its start shows yet
	}
	var after time.Time
	if l.info.RestartsInPlace {
		after = snap.Run.StartedAt // what was before is the end of an earlier run
	}
	n := e.pending.runs.end(after, time.Time{})
	if n == nil {
		return false
	}
	snap.State, snap.Run = container.StateExited, n.of(snap.Run)
	return true
}

// isLaterRun reports whether a status shows a run after the known one, which ended, and the stream may say what was between them.
func (l *loop) isLaterRun(e *entry, snap *container.Snapshot) bool {
	k := l.tracker.Known(e.id)
	return l.info.RestartsInPlace && l.stream.up && k != nil && k.State == container.StateExited && snap.Run.StartedAt.After(k.Run.StartedAt)
}

// countMissedRuns completes an observation of a later run by the number of runs before it that no status showed. It reports false
// while the notice of the run's start, and those of the runs before, are still on their way.
func (l *loop) countMissedRuns(e *entry, snap *container.Snapshot, o *tracker.Observation) bool {
	known := l.tracker.Known(e.id).Run
	complete := l.stream.completeSince
	o.MissedRuns, o.RunsReported = e.pending.runs.between(complete, e.pending.endOf(known.StartedAt), snap.Run.StartedAt)
	return o.RunsReported || known.FinishedAt.Before(complete) || !l.awaitStatus(e)
}

// recheckUnsettled has a container inspected again whose status does not show yet what a notice reported, or that is slow to start.
func (l *loop) recheckUnsettled(e *entry, snap *container.Snapshot, now time.Time) {
	if e.pending.oomVerdict {
		e.pending.oomVerdict = snap.State == container.StateExited && !snap.Run.OOMKilled && l.awaitStatus(e)
	}
	switch {
	case snap.State != container.StateCreated:
		e.pending.started = false
	case e.pending.started:
		l.awaitStatus(e)
	case l.stream.up:
		// A start that fails has no event: a container that is slow to start is inspected again with growing delays, until the lists
		// do that.
		if age := now.Sub(snap.Container.CreatedAt); age < l.opts.ResyncInterval {
			l.recheckAfter(e, max(age, l.opts.RecheckAfterStop))
		}
	}
}

// awaitStatus has a container inspected again soon. It reports false once the status has lagged for too long.
func (l *loop) awaitStatus(e *entry) bool {
	if e.lagging >= maxLagging {
		e.lagging = 0
		return false
	}
	l.recheckAfter(e, statusLag<<e.lagging)
	e.lagging++
	return true
}

// accept notes in the entry that a status was committed.
func (l *loop) accept(e *entry, snap *container.Snapshot) {
	e.accept()
	if snap.State != container.StateCreated && snap.State != container.StateUnknown {
		e.pending.drop(snap.Run.StartedAt, !l.info.RestartsInPlace || !e.due())
	}
	e.list.state, e.list.mark = snap.State, e.list.summary.Fingerprint
	if l.isPaused(e.id) && snap.State == container.StateRunning {
		e.list.state = container.StatePaused
	}
}

// endsFirst reports whether a change ends a run, by what is known so far not for lack of memory.
func endsFirst(c *tracker.Change) bool {
	for i := range c.Transitions {
		if tr := &c.Transitions[i]; tr.Kind == container.KindStopped && !tr.Run.OOMKilled && tr.Revision == 0 {
			return true
		}
	}
	return false
}

// lastObserved returns the last moment at which the container was observed. A list that did not show it is no observation.
func (l *loop) lastObserved(e *entry) time.Time {
	switch {
	case !e.behind.IsZero():
		return e.behind
	case !e.list.absentFrom.IsZero():
		return e.list.absentFrom
	default:
		return l.lists.last
	}
}

// postpone notes that an observation of the container could not be reported, so that it has to be made again.
func (l *loop) postpone(e *entry) {
	e.request()
	e.behind = l.lastObserved(e)
}

// commit puts a change in the outbox and has the tracker remember it. It reports false, and does neither, if there is no room now.
func (l *loop) commit(c *tracker.Change) bool {
	if c.Empty() {
		return true
	}
	if !l.outbox.offer(outboxItem{change: *c, seen: l.gaps.seenUntil(l.lists.last)}) {
		return false
	}
	l.tracker.Apply(c)
	l.flushGaps()
	return true
}
