// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// listCycle is when the runtime is listed, and what its lists are of. At most one list runs at a time; any number of requests during
// it make one more follow at once.
type listCycle struct {
	timer      *time.Timer // of the next list
	running    bool
	again      bool                // a list was requested while one was running
	soon       bool                // the next list follows after PollInterval although a stream is up
	generation uint32              // the number of the newest good list
	buffer     []runtime.Summary   // for the next list
	last       time.Time           // when the last good list began; after a restart, when the checkpoint was last written; zero if unknown
	first      bool                // no good list yet
	source     container.Source    // of what the next good list shows
	removed    map[string]struct{} // containers removed since the running list began, which it may still show
}

// listed is the result of a list.
type listed struct {
	began     time.Time
	took      time.Duration
	summaries []runtime.Summary
	err       error
}

// begin begins a list and returns the buffer for it, or notes that one more is to follow the one that runs.
func (c *listCycle) begin() (buffer []runtime.Summary, ok bool) {
	if c.running {
		c.again = true
		return nil, false
	}
	c.running = true
	return c.buffer[:0], true
}

// succeed notes that a good list was compared.
func (c *listCycle) succeed(began time.Time, summaries []runtime.Summary) {
	c.last, c.first, c.source = began, false, container.SourceList
	clear(c.removed)
	clear(summaries) // the items are large and not needed any more
	c.buffer = summaries
}

// fail notes a list that failed. What was requested meanwhile waits for the next one.
func (c *listCycle) fail() {
	c.again = false
	clear(c.removed)
}

// expedite has the next list follow soon although a stream is up.
func (c *listCycle) expedite() { c.soon = true }

// period returns the time until the next list: resync while the stream covers everything, unless that list is to come soon.
func (c *listCycle) period(covered bool, poll, resync time.Duration) time.Duration {
	if covered && !c.soon {
		return resync
	}
	c.soon = false
	return poll
}

// requested reports whether a list was requested while one was running, and forgets the request.
func (c *listCycle) requested() bool {
	again := c.again
	c.again = false
	return again
}

// startList begins a list, or requests one more after the one that runs.
func (l *loop) startList(ctx context.Context) {
	buffer, ok := l.lists.begin()
	if !ok {
		return
	}
	l.results.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, l.opts.Timeout)
		defer cancel()
		r := listed{began: time.Now()}
		r.summaries, r.err = l.rt.List(ctx, buffer)
		r.took = time.Since(r.began)
		l.results.lists <- r
	})
}

// handleList compares a list with what is known, and has inspected what it shows changed.
func (l *loop) handleList(ctx context.Context, r listed) {
	if ctx.Err() != nil {
		return
	}
	l.tel.Listed(r.took, r.err)
	l.handleNotices(ctx) // they may say how a container ended that the list does not show
	l.lists.running = false
	if r.err != nil {
		l.handleListError(r)
		return
	}
	l.restoreContact(ctx, r)
	l.lists.generation++
	changed := l.compare(r)
	l.inspect(ctx, append(changed, l.compareAbsent(r)...)...)
	for _, c := range l.tracker.Tick(tracker.Observation{At: time.Now(), Since: r.began, Source: container.SourceList}) {
		l.commit(&c)
	}
	l.contact.last = r.began
	l.lists.succeed(r.began, r.summaries)
	l.removals.expire(r.began)
	l.saveContact()
	l.lastGood.Store(time.Now().UnixNano())
	l.flushGaps()
	l.scheduleList(ctx)
}

// scheduleList sets the time of the next list, which is now if one was requested meanwhile.
func (l *loop) scheduleList(ctx context.Context) {
	covered := l.stream.up && !l.gaps.interrupted() // the next list closes an interruption, or the one after it
	wait := l.lists.period(covered, l.opts.PollInterval, l.opts.ResyncInterval)
	if l.lists.requested() {
		l.startList(ctx)
		return
	}
	l.lists.timer.Reset(wait)
}

// compare returns the containers that the list shows changed, oldest first, so that a restart follows what it restarts.
func (l *loop) compare(r listed) []*entry {
	var changed []*entry
	now := time.Now()
	for i := range r.summaries {
		s := &r.summaries[i]
		if e := l.entryOf(s); e != nil && l.needsInspection(e, s, now) {
			changed = append(changed, e)
		}
	}
	slices.SortFunc(changed, func(a, b *entry) int {
		if byTime := cmp.Compare(a.list.summary.CreatedAt, b.list.summary.CreatedAt); byTime != 0 {
			return byTime
		}
		return int(a.list.summary.Attempt) - int(b.list.summary.Attempt)
	})
	return changed
}

// entryOf returns the entry of a listed container, new if need be; nil if the item is not to be compared.
func (l *loop) entryOf(s *runtime.Summary) *entry {
	if s.ID == "" {
		return nil
	}
	e := l.entries[s.ID]
	if e == nil {
		if _, removed := l.lists.removed[s.ID]; removed {
			return nil
		}
		e = &entry{id: s.ID, work: workDue}
		if l.lists.first && l.lists.source == container.SourceInventory {
			e.phase = phaseInventory
		}
		l.entries[s.ID] = e
	}
	if e.list.generation == l.lists.generation {
		return nil // the runtime lists it twice
	}
	return e
}

// needsInspection compares a list item with the entry of its container. It reports whether an inspection is to begin now.
func (l *loop) needsInspection(e *entry, s *runtime.Summary, now time.Time) bool {
	e.list.generation, e.list.absentFrom = l.lists.generation, time.Time{}
	if e.identify() {
		e.request() // it is a container after all
	}
	wanted := e.due() || e.recheckDue(now)
	switch {
	case e.excluded():
		return false
	case !wanted && l.sameState(e.list.state, s.State) && e.list.mark == s.Fingerprint:
		return false
	case e.busy() && !wanted && e.list.sameChange(s):
		return false
	}
	e.list.summary = *s
	e.requestBy(container.SourceList)
	if l.lists.first && l.lists.source == container.SourceCheckpoint {
		e.source = container.SourceCheckpoint
	}
	return !e.busy() && !now.Before(e.failures.retryAt)
}

// sameState reports whether a list shows what is known, as far as it can show it.
func (l *loop) sameState(known, listed container.State) bool {
	return known == listed || (!l.info.ShowsPause && known == container.StatePaused && listed == container.StateRunning)
}

// compareAbsent concludes from a list what it does not show. It returns the containers to be inspected nevertheless: Docker's list
// can omit a container while its state changes, and a notice of its removal may be on its way.
func (l *loop) compareAbsent(r listed) (doubtful []*entry) {
	if len(l.entries) == l.shown() {
		return nil
	}
	for _, e := range l.entries {
		switch {
		case e.list.generation == l.lists.generation:
		case e.busy() || !e.seenAt.Before(r.began): // inspected right now, or seen by something newer than the list
			if e.list.absentFrom.IsZero() {
				e.list.absentFrom = l.lists.last
			}
		case e.container == nil && e.lagging > 0: // a sandbox, or a container that the runtime's own bookkeeping does not know yet
		case e.container != nil && (l.info.RestartsInPlace || l.expectsRemovalNotice(e)):
			e.requestBy(l.lists.source)
			doubtful = append(doubtful, e)
		default:
			l.handleAbsence(e, tracker.Observation{At: time.Now(), Since: l.lastObserved(e), Source: l.lists.source})
		}
	}
	return doubtful
}

// shown counts the entries that the newest list showed.
func (l *loop) shown() int {
	n := 0
	for _, e := range l.entries {
		if e.list.generation == l.lists.generation {
			n++
		}
	}
	return n
}
