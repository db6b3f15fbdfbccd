// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// handleNotice applies one notice. Where it does not carry enough, the container is inspected.
func (l *loop) handleNotice(ctx context.Context, n *runtime.Notice) {
	e := l.entryFor(n)
	if e == nil {
		return
	}
	now := time.Now()
	wasForeign := e.phase == phaseForeign && e.container == nil
	e.noticed(n, now)
	if e.excluded() {
		return
	}
	e.pending.add(n)
	o := tracker.Observation{At: now, Since: l.lastObserved(e), Source: container.SourceStream, HappenedAt: n.At}
	if l.applyNotice(e, n, o, wasForeign) {
		return
	}
	e.requestBy(container.SourceStream)
	if !e.busy() {
		l.inspect(ctx, e)
	}
}

// entryFor returns the entry of a notice's container; nil if the notice is of no interest.
func (l *loop) entryFor(n *runtime.Notice) *entry {
	e := l.entries[n.ID]
	switch {
	case e != nil:
		return e
	case n.Kind == runtime.NoticeDeleted:
		return nil // of a sandbox, or of a container that was removed before its first observation
	case l.removals.recent(n.ID):
		return nil // where one id has many runs, it is not used again once it is removed
	}
	e = &entry{id: n.ID, pending: pendingNotices{replayedOnly: true}}
	l.entries[n.ID] = e
	return e
}

// applyNotice applies what a notice alone is enough for. It reports whether that is all: false if the container is to be inspected.
func (l *loop) applyNotice(e *entry, n *runtime.Notice, o tracker.Observation, wasForeign bool) bool {
	if n.Snapshot != nil && e.container != nil && !e.busy() {
		snap := *n.Snapshot
		snap.Container = e.container
		o.PauseHidden = !l.info.ShowsPause
		l.apply(e, &snap, o)
		return true
	}
	k := l.tracker.Known(n.ID)
	switch {
	case n.Kind == runtime.NoticeDeleted:
		return l.applyRemoval(e, o, wasForeign)
	case n.Kind == runtime.NoticeOOM:
		return l.applyOOM(e, n, k, o)
	case k != nil && inRun(k):
		return l.applyToRun(e, n, k, o)
	}
	return false
}

func (l *loop) applyRemoval(e *entry, o tracker.Observation, wasForeign bool) bool {
	e.seenAt = time.Time{}
	if wasForeign && e.pending.brief() {
		e.behind = earlier(l.lists.last, e.pending.runs.created)
	}
	if e.busy() {
		e.pending.removed = true
		return false
	}
	l.handleAbsence(e, o)
	return true
}

// applyToRun applies what a notice reports of the known run, which goes on as far as the tracker knows.
func (l *loop) applyToRun(e *entry, n *runtime.Notice, k *tracker.Known, o tracker.Observation) bool {
	state, health := k.State, ""
	switch n.Kind {
	case runtime.NoticeHealth:
		health = n.Health
	case runtime.NoticePaused:
		state = container.StatePaused
	case runtime.NoticeResumed, runtime.NoticeExited: // apply completes an exit by the pending end
		state = container.StateRunning
	default:
		return false
	}
	if !l.newerThanInspections(e, n) {
		return false
	}
	snap := snapshotOf(k)
	snap.State, snap.Health = state, health
	l.apply(e, snap, o)
	return true
}

// newerThanInspections reports whether a notice can be applied although an inspection may be running. An inspection can only
// contradict a notice of a pause where it shows pauses: one that is running may have been made before the notice, and one that was
// applied may have been made after it.
func (l *loop) newerThanInspections(e *entry, n *runtime.Notice) bool {
	if n.Kind == runtime.NoticePaused || n.Kind == runtime.NoticeResumed {
		return !l.info.ShowsPause || !e.busy() && !n.At.Before(e.pauseShownAt)
	}
	return !e.busy()
}

// applyOOM handles an OOM kill. Before the end, nothing shows yet whose kill it was: the container's own end follows, or it was a
// process inside and the container lives on. After the end that it brought, the runtime's verdict comes with the notice or a moment
// later, and the container may be removed as soon as it is there.
func (l *loop) applyOOM(e *entry, n *runtime.Notice, k *tracker.Known, o tracker.Observation) bool {
	if k == nil || k.State != container.StateExited {
		l.recheckAfter(e, l.opts.RecheckAfterStop)
		return true
	}
	e.pending.oomVerdict = !k.Run.OOMKilled
	if n.OOMKilled && e.pending.oomVerdict && !e.busy() {
		snap := snapshotOf(k)
		snap.Run.OOMKilled, snap.Run.Reason = true, reasonOOMKilled
		o.HappenedAt = time.Time{}
		l.apply(e, snap, o)
		return true
	}
	l.recheckAfter(e, l.opts.RecheckAfterStop)
	return !e.pending.oomVerdict
}

// snapshotOf returns what is known as a status would show it.
func snapshotOf(k *tracker.Known) *container.Snapshot {
	return &container.Snapshot{Container: k.Container, State: k.State, Run: k.Run, RestartCount: k.RestartCount}
}

// inRun reports whether the known run is not known to have ended.
func inRun(k *tracker.Known) bool {
	return !k.Run.StartedAt.IsZero() && (k.State == container.StateRunning || k.State == container.StatePaused)
}
