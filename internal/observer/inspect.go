// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"errors"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

const (
	statusLag     = time.Millisecond       // first pause before asking again for a status that lags behind a notice; it doubles
	statusLooks   = 9                      // looks at a lagging status: half a second in all; the next list is later anyway
	describeTime  = 100 * time.Millisecond // after which the next container is described beside one that is not done
	maxRetryDelay = time.Minute            // between tries to inspect a container that does not answer
)

// described is what the description of a new container gave.
type described struct {
	seat      *seat
	container *container.Container // nil where err is not
	err       error
}

// inspected is what an inspect gave.
type inspected struct {
	seat  *seat
	lane  string
	began time.Time
	snap  container.Snapshot
	asked bool // for the pid, too
	err   error
}

// look has containers described where they are new, and then inspected.
func (l *loop) look(ctx context.Context, seats []*seat) {
	var fresh []*seat
	now := time.Now()
	for _, e := range seats {
		e.busy, e.dirty = true, false
		if e.due(now) {
			e.dueAt = time.Time{}
		}
		e.behind = l.since(e)
		if e.container == nil {
			fresh = append(fresh, e)
		} else {
			l.enqueue(ctx, e)
		}
	}
	if len(fresh) == 0 {
		return
	}
	summaries := make([]runtime.Summary, len(fresh))
	for i, e := range fresh {
		summaries[i] = e.summary
	}
	l.work.Go(func() { l.describeAll(ctx, fresh, summaries) })
}

// describeAll describes containers in their order, of which the one that takes long is left to come later.
func (l *loop) describeAll(ctx context.Context, seats []*seat, summaries []runtime.Summary) {
	var all []described
	for i, e := range seats {
		one := make(chan described, 1)
		l.work.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, l.opts.Timeout)
			defer cancel()
			c, err := l.describeOne(ctx, summaries[i], e.id)
			one <- described{e, c, err}
		})
		select {
		case r := <-one:
			all = append(all, r)
		case <-time.After(describeTime):
			l.work.Go(func() { l.describe <- []described{<-one} })
		}
	}
	l.describe <- all
}

// describeOne describes a container from its list item, or looks it up where only a notice told its id.
func (l *loop) describeOne(ctx context.Context, s runtime.Summary, id string) (*container.Container, error) {
	if f, ok := l.rt.(runtime.Finder); ok && s.Item == nil {
		var err error
		if s, err = f.Find(ctx, id); err != nil {
			return nil, err
		}
	} else if s.ID == "" {
		return nil, errors.New("the runtime can only list")
	}
	return l.rt.Describe(ctx, s)
}

func (l *loop) takeDescribed(ctx context.Context, all []described) {
	for _, d := range all {
		e, c, err := d.seat, d.container, d.err
		if l.entries[e.id] != e {
			continue // it was removed meanwhile
		}
		if err == nil {
			c.Engine, c.Runtime, c.Version = l.info.Engine, l.opts.Name, l.info.Version
			c.Platform = l.info.Platform
			if l.opts.Filter.Allows(c) {
				e.container = c
				l.enqueue(ctx, e)
				continue
			}
			err = errExcluded
		}
		e.busy = false
		e.summary.Item = nil
		switch {
		case errors.Is(err, errExcluded):
			e.excluded, e.behind = true, time.Time{}
		case errors.Is(err, runtime.ErrNotFound) && e.summary.ID == "":
			switch {
			case e.deleted: // it was there, and nobody can say any more what it was
				l.gone(e, tracker.Observation{At: time.Now(), Since: e.behind, Source: container.SourceStream})
			case !l.await(e):
				e.foreign, e.behind = true, time.Time{}
			}
		default:
			l.failed(e, err)
		}
	}
}

// enqueue puts an inspect into the lane of the container's identity. Lanes go on side by side, InspectsAtOnce of them.
func (l *loop) enqueue(ctx context.Context, e *seat) {
	lane := e.container.Identity()
	l.lanes[lane] = append(l.lanes[lane], e)
	if len(l.lanes[lane]) == 1 {
		l.ready = append(l.ready, e)
		l.dispatch(ctx)
	}
}

func (l *loop) dispatch(ctx context.Context) {
	for l.inFlight < l.opts.InspectsAtOnce && len(l.ready) > 0 {
		e := l.ready[0]
		l.ready = l.ready[1:]
		l.inFlight++
		c, pid := e.container, e.pid
		reader, ok := l.rt.(runtime.PIDReader)
		ask := ok && pid == 0 && !e.askedPID && !e.inventory
		l.work.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, l.opts.Timeout)
			defer cancel()
			r := inspected{seat: e, lane: c.Identity(), began: time.Now()}
			r.snap, r.err = l.rt.Inspect(ctx, c)
			if r.err == nil && r.snap.State == container.StateRunning && r.snap.Run.PID == 0 {
				if r.asked = ask; ask {
					pid, _ = reader.PID(ctx, c.ID) // a start without a pid is still a start
				}
				r.snap.Run.PID = pid
			}
			l.inspects <- r
		})
	}
}

func (l *loop) takeInspected(ctx context.Context, r inspected) {
	l.inFlight--
	if lane := l.lanes[r.lane][1:]; len(lane) > 0 {
		l.lanes[r.lane] = lane
		l.ready = append(l.ready, lane[0])
	} else {
		delete(l.lanes, r.lane)
	}
	l.dispatch(ctx)
	if ctx.Err() != nil {
		return
	}
	e := r.seat
	if errors.Is(r.err, runtime.ErrNotFound) {
		l.takeNotices(ctx) // how it ended may have been told already
	}
	e.busy = false
	if l.entries[e.id] != e {
		return // it was removed meanwhile
	}
	switch {
	case errors.Is(r.err, runtime.ErrNotFound) && l.mayBeTold(e) && l.await(e):
		// The notices of its end and of its removal are on their way.
	case errors.Is(r.err, runtime.ErrNotFound) && l.info.RestartsInPlace && l.unregistered(e):
		l.owe(e)
	case errors.Is(r.err, runtime.ErrNotFound):
		l.gone(e, tracker.Observation{At: time.Now(), Since: e.behind, Source: l.sourceOf(e)})
	case r.err != nil:
		l.failed(e, r.err)
	default:
		e.failures, e.retryAt = 0, time.Time{}
		if r.asked {
			e.askedPID, e.pid = true, r.snap.Run.PID
		}
		was := l.isPaused(e.id)
		l.apply(e, &r.snap, tracker.Observation{At: time.Now(), Since: e.behind, Source: l.sourceOf(e), PauseHidden: !l.info.ShowsPause})
		if l.isPaused(e.id) != was {
			e.turned = r.began
		}
	}
	e.summary.Item = nil
	if e.dirty && !e.busy && e.retryAt.IsZero() && e.behind.IsZero() {
		l.look(ctx, []*seat{e})
	}
}

// mayBeTold tells that a container is gone, and that the stream may still tell when. Where it was interrupted, it may never.
func (l *loop) mayBeTold(e *seat) bool {
	return l.streaming && (l.info.RestartsInPlace || l.missing.from.IsZero()) && (e.heard == nil || e.heard.deleted.IsZero())
}

// unregistered tells that a container may be listed already and not be known to the runtime by its id yet: Docker does so with one
// that it is creating, which takes as long as the image's files are copied to its volumes. The next list tells whether it is there.
func (l *loop) unregistered(e *seat) bool {
	return l.tracker.Known(e.id) == nil && e.generation == l.generation && e.summary.State == container.StateCreated &&
		(e.heard == nil || e.heard.deleted.IsZero())
}

func (l *loop) isPaused(id string) bool {
	k := l.tracker.Known(id)
	return k != nil && k.State == container.StatePaused
}

func (l *loop) sourceOf(e *seat) container.Source {
	if e.inventory {
		return container.SourceInventory
	}
	return e.source
}

// apply compares a look at a container and takes what it shows.
func (l *loop) apply(e *seat, snap *container.Snapshot, look tracker.Observation) {
	if snap.Container != e.container {
		e.container = snap.Container
	}
	e.seenAt = look.At
	if !l.endBefore(e, snap, look) {
		l.owe(e)
		return
	}
	if l.overlayExit(e, snap) {
		look.Source = container.SourceStream
	}
	if k := l.tracker.Known(e.id); l.info.RestartsInPlace && l.streaming && k != nil && k.State == container.StateExited && snap.Run.StartedAt.After(k.Run.StartedAt) {
		look.MissedRuns, look.RunsReported = e.heard.between(l.heardFrom, e.endHeard(k.Run.StartedAt), snap.Run.StartedAt)
		if !look.RunsReported && !k.Run.FinishedAt.Before(l.heardFrom) && l.await(e) {
			return // the notice of its start is on its way, and those of the runs before
		}
	}
	if e.verdictDue {
		e.verdictDue = snap.State == container.StateExited && !snap.Run.OOMKilled && l.await(e)
	}
	switch {
	case snap.State != container.StateCreated:
		e.started = false
	case e.started:
		l.await(e)
	case l.streaming:
		// A start that fails has no event: a container that is slow to start is looked at again, ever more seldom, until the
		// lists do that.
		if age := look.At.Sub(snap.Container.CreatedAt); age < l.opts.ResyncInterval {
			l.recheckAfter(e.id, max(age, l.opts.RecheckAfterStop))
		}
	}
	c := l.tracker.Observe(snap, look)
	if !l.take(&c) {
		l.owe(e)
		return
	}
	e.inventory, e.behind = false, time.Time{}
	if snap.State != container.StateCreated && snap.State != container.StateUnknown {
		e.forget(snap.Run.StartedAt, !l.info.RestartsInPlace || !e.dirty)
	}
	e.state, e.mark = snap.State, e.summary.Fingerprint
	if k := l.tracker.Known(e.id); k != nil && k.State == container.StatePaused && snap.State == container.StateRunning {
		e.state = container.StatePaused
	}
	for i := range c.Transitions {
		if tr := &c.Transitions[i]; tr.Kind == container.KindStopped && !tr.Run.OOMKilled && tr.Revision == 0 {
			l.recheckAfter(e.id, l.opts.RecheckAfterStop) // an OOM kill may be known only later
			break
		}
	}
}

// await has a container looked at again soon, because the runtime's own bookkeeping comes a little after its events. It
// tells whether there is still hope.
func (l *loop) await(e *seat) bool {
	if e.awaiting >= statusLooks {
		e.awaiting = 0
		return false
	}
	l.recheckAfter(e.id, statusLag<<e.awaiting)
	e.awaiting++
	return true
}

// failed is a container that could not be looked at. The next list tries again, ever more seldom while it does not answer.
func (l *loop) failed(e *seat, err error) {
	l.tel.InspectFailed()
	l.owe(e)
	e.failures++
	delay := min(l.opts.PollInterval<<min(e.failures-1, 10), maxRetryDelay)
	e.retryAt = time.Now().Add(delay)
	if e.failures == 1 {
		l.log.Warn("a container could not be looked at; trying again", "runtime", l.opts.Name, "container", e.id, "error", err)
	}
	l.recheckAfter(e.id, delay)
}
