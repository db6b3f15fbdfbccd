// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"maps"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// lateNotice is how long notices of a container are expected after its removal.
const lateNotice = time.Minute

// removals is what is kept of containers that are gone.
//
// What holds: at holds at most capacity ids, and unreported is the number of entries whose unreportedRemoval is set.
type removals struct {
	at         map[string]time.Time // when they were removed of which a late notice may still arrive
	capacity   int
	unreported int // for which the outbox had no room yet
}

func newRemovals(capacity int) removals {
	return removals{at: map[string]time.Time{}, capacity: capacity}
}

// add remembers that a container was removed, if there is room.
func (r *removals) add(id string, now time.Time) {
	if len(r.at) < r.capacity {
		r.at[id] = now
	}
}

// recent reports whether a notice of this container is a late one.
func (r *removals) recent(id string) bool {
	_, ok := r.at[id]
	return ok
}

// expire forgets the containers of which no notice is expected at now any more.
func (r *removals) expire(now time.Time) {
	maps.DeleteFunc(r.at, func(_ string, at time.Time) bool { return now.Sub(at) > lateNotice })
}

// handleAbsence handles that a container does not exist any more: it reports what notices said of it, then the removal. Where the
// outbox has no room, the entry is kept, and the next list brings it here again.
func (l *loop) handleAbsence(e *entry, o tracker.Observation) {
	if e.container == nil && l.tracker.Known(e.id) == nil {
		e.container = l.containerFromNotices(e)
	}
	if !l.reportPending(e, o) {
		l.keepUnreported(e)
		return
	}
	if o.HappenedAt.IsZero() {
		o.HappenedAt = e.pending.removedAt()
	}
	known := l.tracker.Known(e.id)
	switch {
	case known != nil && e.excluded(): // since the filter changed: what became of it was not observed
		if l.commit(&tracker.Change{ID: e.id}) {
			l.forget(e)
		}
	case known != nil:
		l.reportRemoval(e, known, o)
	default:
		if e.phase == phaseObserved && !e.pending.replayedOnly && !e.behind.IsZero() {
			l.coalesce(e.behind, container.CauseRemovedUnseen) // it came and went, and nothing but its id is known
		}
		l.forget(e)
	}
}

// keepUnreported keeps the entry of a container that is gone until the outbox has room. One that came and went meanwhile is only
// counted if too many like it are kept already.
func (l *loop) keepUnreported(e *entry) {
	l.postpone(e)
	switch {
	case e.unreportedRemoval:
	case l.removals.unreported >= l.opts.OutboxCapacity && l.tracker.Known(e.id) == nil:
		l.coalesce(e.behind, container.CauseOutboxFull)
		l.forget(e)
	default:
		e.unreportedRemoval = true
		l.removals.unreported++
	}
}

// reportRemoval reports the removal of a known container, and a gap if nothing showed how it ended.
func (l *loop) reportRemoval(e *entry, known *tracker.Known, o tracker.Observation) {
	endUnseen := known.State == container.StateRunning || known.State == container.StatePaused ||
		(known.State == container.StateCreated && e.list.summary.State == container.StateExited) // the list showed an end, and no inspection can find it any more
	c := l.tracker.Absent(e.id, o)
	if !l.commit(&c) {
		l.postpone(e)
		return
	}
	l.forget(e)
	if !endUnseen {
		return
	}
	from := o.Since
	for i := range c.Transitions {
		if tr := &c.Transitions[i]; tr.Kind == container.KindStopped && !tr.Provenance.WindowStart.IsZero() {
			from = tr.Provenance.WindowStart
		}
	}
	l.reportGap(container.CauseRemovedUnseen, from, o.At, 0)
}

// forget drops the entry of a container. A list that is running may still show it, and notices of it may still arrive.
func (l *loop) forget(e *entry) {
	delete(l.entries, e.id)
	if e.unreportedRemoval {
		l.removals.unreported--
	}
	if l.lists.running {
		l.lists.removed[e.id] = struct{}{}
	}
	if l.info.RestartsInPlace && l.stream.up {
		l.removals.add(e.id, time.Now())
	}
}

// reportPending reports what a list item and notices showed of a container whose status cannot be read any more: that it existed,
// that it ran, how it ended. When it began to run is known only where a notice carried a status, because the time of a notice is not
// quite that of the start. It reports false if the outbox has no room for it.
func (l *loop) reportPending(e *entry, o tracker.Observation) bool {
	if e.container == nil || e.excluded() || e.phase == phaseInventory {
		return true
	}
	o.HappenedAt = time.Time{}
	if l.info.RestartsInPlace {
		if !l.reportPendingRuns(e, o) {
			return false
		}
		if l.tracker.Known(e.id) != nil {
			return true
		}
	}
	k := l.tracker.Known(e.id)
	if k == nil || e.ran() && (k.State == container.StateCreated || k.State == container.StateUnknown) {
		if c := l.tracker.Observe(e.lastSeen(), o); !l.commit(&c) {
			return false
		}
		k = l.tracker.Known(e.id)
	}
	if k == nil || k.State == container.StateExited {
		return true
	}
	return l.reportEnd(k, e.pending.runs.end(time.Time{}, time.Time{}), o)
}

// reportPendingRuns reports, where one id has many runs, the end of the known run and the newest run after it. It reports false if
// the outbox has no room for them.
func (l *loop) reportPendingRuns(e *entry, o tracker.Observation) bool {
	k := l.tracker.Known(e.id)
	if k != nil && inRun(k) {
		if !l.reportEnd(k, e.pending.runs.end(k.Run.StartedAt, time.Time{}), o) {
			return false
		}
		if k = l.tracker.Known(e.id); inRun(k) {
			return true // no notice reported its end
		}
	}
	var known time.Time
	if k != nil && !k.Run.StartedAt.IsZero() {
		if known = e.pending.endOf(k.Run.StartedAt); known.IsZero() {
			return true // all that is pending is of the known run
		}
	}
	run, state := e.pending.runs.newest(known)
	if state == container.StateCreated || (k != nil && k.State == container.StateExited && run.StartedAt.IsZero()) {
		return true
	}
	snap := &container.Snapshot{Container: e.container, State: state, Run: run}
	if k != nil {
		snap.Container, snap.RestartCount = k.Container, k.RestartCount
	}
	o.Source = container.SourceStream
	c := l.tracker.Observe(snap, o)
	return l.commit(&c)
}

// reportEnd reports the end of the known run as a notice reported it; nil if none did. It reports false if the outbox has no room.
func (l *loop) reportEnd(k *tracker.Known, n *runEnd, o tracker.Observation) bool {
	if n == nil {
		return true
	}
	o.Source = container.SourceStream
	end := snapshotOf(k)
	end.State, end.Run = container.StateExited, n.of(k.Run)
	c := l.tracker.Observe(end, o)
	return l.commit(&c)
}

// containerFromNotices returns a container as notices described it; nil if none did, because then it may have been a sandbox.
func (l *loop) containerFromNotices(e *entry) *container.Container {
	if e.pending.runs == nil || e.pending.runs.described == nil {
		return nil
	}
	c := *e.pending.runs.described
	l.identifyRuntime(&c)
	c.ID, c.CreatedAt = e.id, e.pending.runs.created
	if !l.opts.Filter.Allows(&c) {
		e.exclude()
	}
	return &c
}
