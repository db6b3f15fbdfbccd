// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"sync"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// loop owns all state of one observed runtime. Only the goroutine of run touches it; the calls to the runtime are made in goroutines
// of their own, which send their results over channels.
type loop struct {
	*Observer
	rt      runtime.Runtime
	info    runtime.Info
	tracker *tracker.Tracker

	entries     map[string]*entry // by container id
	lists       listCycle
	stream      streamState
	mailbox     *mailbox
	inspections schedule
	rechecks    rechecks
	removals    removals
	gaps        gaps
	contact     contact
	results     results
}

// results is where the loop's goroutines send what they got from the runtime. The WaitGroup counts them.
type results struct {
	sync.WaitGroup
	lists     chan listed
	described chan []described
	inspected chan inspected
	streams   chan streamChange
	infos     chan runtime.Info
}

// run observes until ctx ends and all goroutines of the loop have ended.
//
// A list is compared with what is known; a container that changed is described, inspected, and its status applied. A notice is applied
// where it carries enough, and has its container inspected otherwise. What follows goes to the outbox (commit, reportGap). Where the
// outbox refuses it, the next list finds what is still true.
func (l *loop) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer l.saveContactAtExit()
	defer l.drain(cancel)
	defer l.lists.timer.Stop()
	defer l.rechecks.timer.Stop()
	clock := newClockWatch()
	defer clock.Stop()

	l.subscribe(ctx)
	for {
		select {
		case <-ctx.Done():
			return

		case <-l.lists.timer.C:
			l.startList(ctx)
		case <-l.outbox.room:
			l.startList(ctx)
		case now := <-clock.C:
			if clock.jumpedAt(now) {
				l.log.Warn("the clock jumped; listing", "runtime", l.opts.Name)
				l.startList(ctx)
			}
		case r := <-l.results.lists:
			l.handleList(ctx, r)

		case s := <-l.results.streams:
			l.handleStream(ctx, s)
		case <-l.mailbox.wake:
			l.handleNotices(ctx)

		case <-l.rechecks.timer.C:
			l.handleRechecks(ctx)
		case d := <-l.results.described:
			l.handleDescribed(ctx, d)
		case r := <-l.results.inspected:
			l.handleInspected(ctx, r)

		case l.info = <-l.results.infos:
		}
		l.tracked.Store(int64(l.tracker.Len()))
	}
}

// drain waits for the loop's goroutines and drops their results.
func (l *loop) drain(cancel context.CancelFunc) {
	cancel()
	done := make(chan struct{})
	go func() {
		l.results.Wait()
		close(done)
	}()
	for {
		select {
		case <-done:
			return
		case <-l.results.lists:
		case <-l.results.described:
		case <-l.results.inspected:
		case <-l.results.streams:
		case <-l.results.infos:
		}
	}
}

// newLoop returns a loop that continues where the checkpoint ended. seen is when that was written; zero if there is none.
func newLoop(o *Observer, rt runtime.Runtime, info runtime.Info, tr *tracker.Tracker, seen time.Time) *loop {
	l := &loop{
		Observer: o, rt: rt, info: info, tracker: tr,
		entries: map[string]*entry{},
		lists: listCycle{
			timer: time.NewTimer(0), last: seen, first: true, source: container.SourceInventory, removed: map[string]struct{}{},
		},
		stream:      streamState{resubscribe: make(chan struct{}, 1)},
		mailbox:     newMailbox(o.opts.MailboxCapacity, o.tel.MailboxOverflowed),
		inspections: newSchedule(o.opts.InspectsAtOnce),
		rechecks:    newRechecks(o.opts.OutboxCapacity),
		removals:    newRemovals(o.opts.MailboxCapacity),
		contact:     contact{last: seen, backoff: retry.NewBackOff(o.opts.Backoff)},
		results: results{
			lists: make(chan listed), described: make(chan []described), inspected: make(chan inspected),
			streams: make(chan streamChange), infos: make(chan runtime.Info),
		},
	}
	if !seen.IsZero() {
		l.lists.source = container.SourceCheckpoint
	}
	if seen.After(time.Now()) {
		// The clock was set back: when the runtime was last seen is not known by it, but that it was since the host was booted.
		l.lists.last = time.Time{}
		seen = o.host.BootTime
		l.contact.last = seen
	}
	for id, k := range tr.All {
		l.entries[id] = l.restore(id, k, seen)
	}
	if _, ok := rt.(runtime.Watcher); ok {
		l.gaps.interrupt(seen, container.CauseObserverDown)
	}
	return l
}

// restore returns the entry of a container that the checkpoint remembers. It is described anew when it is next inspected, because
// labels may be wanted that were not before.
func (l *loop) restore(id string, k *tracker.Known, seen time.Time) *entry {
	e := &entry{id: id, list: listItem{state: k.State}}
	// The filter may have changed. Where the checkpoint had no room for what it goes by, the next description decides.
	c := k.Container
	if c.Image.Reference != "" && (c.Pod.UID == "" || c.Pod.Name != "") && !l.opts.Filter.Allows(c) {
		e.exclude()
	}
	// Its recheck may not have come before the end of the observer: whether memory was the reason is known a little later.
	if k.State == container.StateExited && !k.Run.OOMKilled && k.Run.FinishedAt.After(seen.Add(-10*l.opts.RecheckAfterStop)) {
		e.request()
	}
	return e
}
