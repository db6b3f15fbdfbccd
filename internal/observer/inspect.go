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
	describeTime  = 100 * time.Millisecond // after which the next container is described beside one that is not done
	maxRetryDelay = time.Minute            // between attempts to inspect a container that does not answer
)

var errExcluded = errors.New("excluded")

// described is the result of the description of a new container.
type described struct {
	entry     *entry
	container *container.Container // nil if err is set
	err       error
}

// inspected is the result of an inspection.
type inspected struct {
	entry    *entry
	lane     string
	began    time.Time
	snap     container.Snapshot
	askedPID bool
	err      error
}

// inspect has containers described where they are new, and then inspected.
func (l *loop) inspect(ctx context.Context, entries ...*entry) {
	var fresh []*entry
	now := time.Now()
	for _, e := range entries {
		e.begin()
		if e.recheckDue(now) {
			e.recheckAt = time.Time{}
		}
		e.behind = l.lastObserved(e)
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
		summaries[i] = e.list.summary
	}
	l.results.Go(func() { l.describeAll(ctx, fresh, summaries) })
}

// describeAll describes containers in their order. One that takes long is reported later than those after it.
func (l *loop) describeAll(ctx context.Context, entries []*entry, summaries []runtime.Summary) {
	var all []described
	for i, e := range entries {
		one := make(chan described, 1)
		l.results.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, l.opts.Timeout)
			defer cancel()
			c, err := l.describe(ctx, summaries[i], e.id)
			one <- described{e, c, err}
		})
		select {
		case r := <-one:
			all = append(all, r)
		case <-time.After(describeTime):
			l.results.Go(func() { l.results.described <- []described{<-one} })
		}
	}
	l.results.described <- all
}

// describe describes a container from its list item, or looks it up where only a notice named its id.
func (l *loop) describe(ctx context.Context, s runtime.Summary, id string) (*container.Container, error) {
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

func (l *loop) handleDescribed(ctx context.Context, all []described) {
	for _, d := range all {
		e, c, err := d.entry, d.container, d.err
		if l.entries[e.id] != e {
			continue // it was removed meanwhile
		}
		if err == nil {
			l.identifyRuntime(c)
			if l.opts.Filter.Allows(c) {
				e.container = c
				l.enqueue(ctx, e)
				continue
			}
			err = errExcluded
		}
		e.finish()
		e.list.summary.Item = nil
		l.handleUndescribed(e, err)
	}
}

// handleUndescribed handles a container that was not described, because it is excluded, unknown to the runtime or does not answer.
func (l *loop) handleUndescribed(e *entry, err error) {
	switch {
	case errors.Is(err, errExcluded):
		e.exclude()
	case !errors.Is(err, runtime.ErrNotFound) || e.list.summary.ID != "":
		l.handleInspectionError(e, err)
	case e.pending.removed: // it existed, and nothing can say any more what it was
		l.handleAbsence(e, tracker.Observation{At: time.Now(), Since: e.behind, Source: container.SourceStream})
	case !l.awaitStatus(e):
		e.setForeign()
	}
}

// identifyRuntime completes a container by what is true of all of its runtime.
func (l *loop) identifyRuntime(c *container.Container) {
	c.Engine, c.Runtime, c.Version = l.info.Engine, l.opts.Name, l.info.Version
	c.Platform, c.Owner = l.info.Platform, l.info.Owner
}

// enqueue has a container inspected when it is its turn.
func (l *loop) enqueue(ctx context.Context, e *entry) {
	l.inspections.add(e.container.Identity(), e)
	l.dispatch(ctx)
}

// dispatch begins the inspections that may run now.
func (l *loop) dispatch(ctx context.Context) {
	for e := l.inspections.next(); e != nil; e = l.inspections.next() {
		c, pid := e.container, e.process.pid
		reader, ok := l.rt.(runtime.PIDReader)
		ask := ok && pid == 0 && !e.process.asked && e.phase != phaseInventory
		l.results.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, l.opts.Timeout)
			defer cancel()
			r := inspected{entry: e, lane: c.Identity(), began: time.Now()}
			r.snap, r.err = l.rt.Inspect(ctx, c)
			if r.err == nil && r.snap.State == container.StateRunning && r.snap.Run.PID == 0 {
				if r.askedPID = ask; ask {
					pid, _ = reader.PID(ctx, c.ID) // a start without a pid is still a start
				}
				r.snap.Run.PID = pid
			}
			l.results.inspected <- r
		})
	}
}

func (l *loop) handleInspected(ctx context.Context, r inspected) {
	l.inspections.done(r.lane)
	l.dispatch(ctx)
	if ctx.Err() != nil {
		return
	}
	e := r.entry
	notFound := errors.Is(r.err, runtime.ErrNotFound)
	if notFound {
		l.handleNotices(ctx) // they may say how it ended
	}
	e.finish()
	if l.entries[e.id] != e {
		return // it was removed meanwhile
	}
	switch {
	case notFound:
		l.handleNotFound(e)
	case r.err != nil:
		l.handleInspectionError(e, r.err)
	default:
		l.applyInspection(e, &r)
	}
	e.list.summary.Item = nil
	if e.work == workDue && e.failures.retryAt.IsZero() && e.behind.IsZero() {
		l.inspect(ctx, e)
	}
}

func (l *loop) applyInspection(e *entry, r *inspected) {
	e.failures = failures{}
	if r.askedPID {
		e.process = mainProcess{pid: r.snap.Run.PID, asked: true}
	}
	wasPaused := l.isPaused(e.id)
	l.apply(e, &r.snap, tracker.Observation{At: time.Now(), Since: e.behind, Source: e.observationSource(), PauseHidden: !l.info.ShowsPause})
	if l.isPaused(e.id) != wasPaused {
		e.pauseShownAt = r.began
	}
}

// handleNotFound handles a container that the runtime does not know any more, or not yet.
func (l *loop) handleNotFound(e *entry) {
	switch {
	case l.expectsRemovalNotice(e) && l.awaitStatus(e):
		// The notices of its end and of its removal are on their way.
	case l.info.RestartsInPlace && l.notRegisteredYet(e):
		l.postpone(e)
	default:
		l.handleAbsence(e, tracker.Observation{At: time.Now(), Since: e.behind, Source: e.observationSource()})
	}
}

// expectsRemovalNotice reports whether the stream may still say when a container that is gone was removed. Where the stream of a
// CRI runtime was interrupted, it may never.
func (l *loop) expectsRemovalNotice(e *entry) bool {
	return l.stream.up && (l.info.RestartsInPlace || !l.gaps.interrupted()) && e.pending.removedAt().IsZero()
}

// notRegisteredYet reports whether a container may be listed already although the runtime does not know it by its id: Docker does so
// with one that it is creating, which takes as long as the image's files are copied to its volumes. The next list shows whether it
// exists.
func (l *loop) notRegisteredYet(e *entry) bool {
	return l.tracker.Known(e.id) == nil && e.list.generation == l.lists.generation && e.list.summary.State == container.StateCreated &&
		e.pending.removedAt().IsZero()
}

func (l *loop) isPaused(id string) bool {
	k := l.tracker.Known(id)
	return k != nil && k.State == container.StatePaused
}

// handleInspectionError has an inspection that failed repeated, with growing delays while the container does not answer.
func (l *loop) handleInspectionError(e *entry, err error) {
	l.tel.InspectFailed()
	l.postpone(e)
	delay := e.failures.add(time.Now(), l.opts.PollInterval)
	if e.failures.count == 1 {
		l.log.Warn("inspecting a container failed; trying again", "runtime", l.opts.Name, "container", e.id, "error", err)
	}
	l.recheckAfter(e, delay)
}

// recheckAfter has a container inspected again after d. Where the queue has no room, the next list after that does, whatever it shows.
func (l *loop) recheckAfter(e *entry, d time.Duration) {
	now := time.Now()
	if !l.rechecks.add(e.id, now, d) {
		e.recheckAt = now.Add(d)
	}
}

// handleRechecks inspects the containers whose recheck is due.
func (l *loop) handleRechecks(ctx context.Context) {
	now := time.Now()
	var due []*entry
	for id, ok := l.rechecks.next(now); ok; id, ok = l.rechecks.next(now) {
		e := l.entries[id]
		if e == nil || e.excluded() || e.phase == phaseForeign {
			continue
		}
		e.request()
		e.failures.retryAt = time.Time{}
		if !e.busy() {
			e.begin() // once, however many rechecks of it are due
			due = append(due, e)
		}
	}
	l.inspect(ctx, due...)
}
