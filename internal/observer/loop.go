// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

const (
	streamRetry    = 10 * time.Minute // how long a runtime without a stream is left alone
	clockCheck     = 5 * time.Second  // between two looks at whether the clock jumped
	clockTolerance = 2 * time.Second  // a wall clock that moved more than this against the monotonic one has jumped
	lateNotice     = time.Minute      // how long notices of a container that is gone are expected
	unseenPeriods  = 3                // lists that may fail in a row before something may have been missed
)

// loop owns all state of one observed runtime. Only run's goroutine touches it; the others talk to it over channels.
type loop struct {
	*Observer
	rt      runtime.Runtime
	info    runtime.Info
	tracker *tracker.Tracker
	entries map[string]*seat
	lanes   map[string][]*seat // inspects that wait or run, by identity: attempts of one container in order
	mailbox *mailbox

	lists    chan listed
	describe chan []described
	inspects chan inspected
	streams  chan streamState
	work     sync.WaitGroup

	listing    bool
	departed   map[string]struct{} // removed since the list under way began, which may still show them
	soon       int                 // lists that follow after PollInterval although a stream is up
	again      bool                // a list was asked for while one was under way
	generation uint32
	spare      []runtime.Summary // the buffer that the next list fills
	lastList   time.Time         // when the last good list began; after a restart, when the checkpoint was last alive
	first      bool              // no good list yet
	source     container.Source  // of what the first good list shows
	lastSight  time.Time         // when a list or a healthy stream last showed the runtime
	lastBeat   time.Time         // when the checkpoint was last told of a sight
	blind      bool              // neither list nor stream shows the runtime
	pace       pace
	inFlight   int
	ready      []*seat // inspects that wait for one of InspectsAtOnce
	streaming  bool
	streamUp   time.Time            // when the stream that stands came up
	heardFrom  time.Time            // since when the stream told of everything
	left       map[string]time.Time // when a container was forgotten of which a late notice may still come
	missing    interruption         // what may have been missed and is not told yet
	lost       int                  // seats of containers that are gone and could not be handed on yet
	folded     int
	foldedFrom time.Time
	foldedFor  string         // the cause
	untold     *container.Gap // what was refused by the outbox, all in one

	tick     *time.Timer
	recheck  *time.Timer
	rechecks recheckQueue
}

// seat is what the loop keeps of one container besides what the tracker remembers.
type seat struct {
	id         string
	container  *container.Container // nil until described
	generation uint32               // of the newest list that showed it
	state      container.State      // as the newest taken look showed it
	mark       uint64               // as the newest inspected list item had it
	excluded   bool                 // by the filter
	foreign    bool                 // told by a notice and unknown to CRI: a sandbox, or not a container yet
	started    bool                 // a notice told a start that the runtime's status did not show yet
	verdictDue bool                 // an OOM kill was told after the end, and no look shows it yet
	awaiting   int                  // looks that showed a status which still lags behind a notice
	inventory  bool                 // found by the first list and not taken yet
	lost       bool                 // gone, and not handed on yet
	busy       bool                 // described or inspected right now
	dirty      bool                 // to be looked at (again)
	deleted    bool                 // a notice told that it is gone, while it was looked at
	replayed   bool                 // all that notices told of it was before the stream was followed; an interruption is a gap anyway
	dueAt      time.Time            // when it is to be looked at with the next list, whatever that shows; zero: it is not
	source     container.Source     // of what made it dirty
	seenAt     time.Time            // when something last showed that it exists
	behind     time.Time            // the last look that was taken, when a later one was not; zero: none is owed
	unseen     time.Time            // the last list before the first that did not show it although it is kept; zero: the newest did
	heard      *heard               // what notices told and no look that was taken has shown yet; nil: nothing
	lastEnd    time.Time            // the newest end that was heard and is not kept any more
	turned     time.Time            // when the newest look began that told a pause or its end
	pid        uint32               // of the run that goes on; 0 = nobody told it
	askedPID   bool                 // the runtime was asked for it in this run
	failures   int                  // inspects in a row that failed
	retryAt    time.Time
	summary    runtime.Summary // of the newest list that showed a change; its item is dropped when taken
}

type listed struct {
	began     time.Time
	took      time.Duration
	summaries []runtime.Summary
	err       error
}

func newLoop(o *Observer, rt runtime.Runtime, info runtime.Info, tr *tracker.Tracker, seen time.Time) *loop {
	l := &loop{
		Observer: o, rt: rt, info: info, tracker: tr,
		entries: map[string]*seat{}, departed: map[string]struct{}{}, lanes: map[string][]*seat{},
		lists: make(chan listed), describe: make(chan []described), inspects: make(chan inspected), streams: make(chan streamState), left: map[string]time.Time{},
		first: true, source: container.SourceInventory, lastList: seen, lastSight: seen, pace: newBackoff(o.opts.Backoff),
		tick: time.NewTimer(0), recheck: time.NewTimer(time.Hour),
	}
	l.mailbox = newMailbox(o.opts.MailboxCapacity, o.tel.MailboxOverflowed)
	if !seen.IsZero() {
		l.source = container.SourceCheckpoint
	}
	if seen.After(time.Now()) {
		// The clock was set back: when the runtime was last seen is not known by it, but that it was since the host was booted.
		l.lastList = time.Time{}
		seen = o.host.BootTime
		l.lastSight = seen
	}
	for id, k := range tr.All {
		e := &seat{id: id, state: k.State} // described anew when next looked at: labels may be asked for that were not
		// The filter may be another one than before. A checkpoint may have had no room for what it goes by: then a look tells.
		c := k.Container
		e.excluded = c.Image.Reference != "" && (c.Pod.UID == "" || c.Pod.Name != "") && !o.opts.Filter.Allows(c)
		// Its second look may not have come before the end: whether memory was the reason is known a little later.
		e.dirty = k.State == container.StateExited && !k.Run.OOMKilled && k.Run.FinishedAt.After(seen.Add(-10*l.opts.RecheckAfterStop))
		l.entries[id] = e
	}
	if _, ok := rt.(runtime.Watcher); ok {
		l.interrupted(seen, container.CauseObserverDown)
	}
	return l
}

// run observes until ctx ends and all its goroutines have.
func (l *loop) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer l.part()
	defer l.drain(cancel)
	defer l.tick.Stop()
	defer l.recheck.Stop()

	if w, ok := l.rt.(runtime.Watcher); ok {
		l.tick.Reset(l.opts.Timeout) // subscribe before listing, but list even if the subscription hangs
		l.work.Go(func() { l.watch(ctx, w) })
	}
	clock := time.NewTicker(clockCheck)
	defer clock.Stop()
	read := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.tick.C:
			l.list(ctx)
		case now := <-clock.C:
			if jumped(elapsed(read, now)) {
				l.log.Warn("the clock jumped; listing", "runtime", l.opts.Name)
				l.list(ctx)
			}
			read = now
		case r := <-l.lists:
			l.takeList(ctx, r)
		case d := <-l.describe:
			l.takeDescribed(ctx, d)
		case r := <-l.inspects:
			l.takeInspected(ctx, r)
		case s := <-l.streams:
			l.takeStream(ctx, s)
		case <-l.mailbox.wake:
			l.takeNotices(ctx)
		case <-l.recheck.C:
			l.takeRechecks(ctx)
		case <-l.outbox.room:
			l.list(ctx)
		}
		l.Observer.tracked.Store(int64(l.tracker.Len()))
	}
}

// drain waits for the goroutines, taking and dropping what they still have to say.
func (l *loop) drain(cancel context.CancelFunc) {
	cancel()
	done := make(chan struct{})
	go func() {
		l.work.Wait()
		close(done)
	}()
	for {
		select {
		case <-done:
			return
		case <-l.lists:
		case <-l.describe:
		case <-l.inspects:
		case <-l.streams:
		}
	}
}

// elapsed gives the time between two readings of the clock, by the wall clock and by the monotonic one.
func elapsed(was, now time.Time) (wall, monotonic time.Duration) {
	return now.Round(0).Sub(was.Round(0)), now.Sub(was)
}

// jumped tells that the wall clock was set, or the machine slept, in a time that the two clocks measure so differently.
func jumped(wall, monotonic time.Duration) bool {
	return (wall - monotonic).Abs() > clockTolerance
}

func (l *loop) period() time.Duration {
	if l.streaming && l.soon == 0 {
		return l.opts.ResyncInterval
	}
	l.soon = max(l.soon-1, 0)
	return l.opts.PollInterval
}

// list begins a list, or asks for one more after the one under way.
func (l *loop) list(ctx context.Context) {
	if l.listing {
		l.again = true
		return
	}
	l.listing = true
	buffer := l.spare[:0]
	l.work.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, l.opts.Timeout)
		defer cancel()
		r := listed{began: time.Now()}
		r.summaries, r.err = l.rt.List(ctx, buffer)
		r.took = time.Since(r.began)
		l.lists <- r
	})
}

// takeList compares a list with what is known.
func (l *loop) takeList(ctx context.Context, r listed) {
	if ctx.Err() != nil {
		return
	}
	l.tel.Listed(r.took, r.err)
	l.takeNotices(ctx) // how that ended which the list does not show may have been told already
	l.listing = false
	if r.err != nil {
		l.lostSight(r)
		return
	}
	l.regainedSight(ctx, r)
	l.generation++
	changed := l.compare(r)
	l.look(ctx, append(changed, l.absent(r)...))
	for _, c := range l.tracker.Tick(tracker.Observation{At: time.Now(), Since: r.began, Source: container.SourceList}) {
		l.take(&c)
	}
	l.lastList, l.lastSight = r.began, r.began
	l.beat(l.seenUntil())
	l.lastGood.Store(time.Now().UnixNano())
	l.first = false
	l.source = container.SourceList
	l.unfold()
	clear(l.departed)
	maps.DeleteFunc(l.left, func(_ string, at time.Time) bool { return r.began.Sub(at) > lateNotice })
	clear(r.summaries) // the items are large and not needed any more
	l.spare = r.summaries
	l.schedule(ctx, l.period())
}

// schedule sets the next list, which is at once when one was asked for meanwhile.
func (l *loop) schedule(ctx context.Context, wait time.Duration) {
	if l.again {
		l.again = false
		l.list(ctx)
		return
	}
	l.tick.Reset(wait)
}

// beat tells the checkpoint that the runtime is seen, although nothing changed: once a ResyncInterval.
func (l *loop) beat(at time.Time) {
	if l.checkpoint != nil && at.Sub(l.lastBeat) >= l.opts.ResyncInterval && l.outbox.offer(entry{seen: at}) {
		l.lastBeat = at
	}
}

// part tells the checkpoint at the end when the runtime was last seen, so that an orderly restart is no longer than it was. Of a
// container of which a look is owed, it was seen when that was taken.
func (l *loop) part() {
	seen := l.seenUntil()
	for _, e := range l.entries {
		if !e.behind.IsZero() {
			seen = earlier(seen, e.behind)
		}
	}
	if l.checkpoint != nil && seen.After(l.lastBeat) {
		l.outbox.offer(entry{seen: seen})
	}
}

func (l *loop) lostSight(r listed) {
	l.blind = true
	if l.missing.cause == container.CauseStreamLost {
		l.missing.cause = container.CauseListFailed
	}
	if l.streaming {
		l.lastSight = time.Now()
	}
	clear(l.departed)
	l.report(fmt.Errorf("list the containers of runtime %q: %w", l.opts.Name, r.err))
	l.again = false
	l.tick.Reset(l.pace.next())
}

// regainedSight is a good list. After a while without one, who the runtime is is asked again, since it may have been
// upgraded, and a gap is told when it was long enough to miss something.
func (l *loop) regainedSight(ctx context.Context, r listed) {
	l.report(nil)
	away := r.began.Sub(l.lastSight)
	long := !l.lastSight.IsZero() && away > unseenPeriods*l.opts.PollInterval && l.missing.from.IsZero()
	l.whole(r)
	if l.first && long {
		l.gap(container.CauseObserverDown, l.lastSight, r.began, 0)
	}
	if !l.blind {
		return
	}
	l.blind = false
	l.pace.Reset()
	if l.first {
		l.log.Info("the runtime answers now", "runtime", l.opts.Name)
		return
	}
	l.tel.Reconnected()
	l.log.Info("the runtime answers again", "runtime", l.opts.Name, "after", away.Round(time.Millisecond))
	l.work.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, l.opts.Timeout)
		defer cancel()
		if info, err := l.rt.Info(ctx); err == nil {
			l.streams <- streamState{info: &info}
		}
	})
	if long {
		l.gap(container.CauseListFailed, l.lastSight, r.began, 0)
	}
}

// compare gives the containers that the list shows changed, oldest first, so that a restart follows what it restarts.
func (l *loop) compare(r listed) []*seat {
	var changed []*seat
	now := time.Now()
	for i := range r.summaries {
		s := &r.summaries[i]
		if s.ID == "" {
			continue
		}
		e := l.entries[s.ID]
		if _, gone := l.departed[s.ID]; gone && e == nil {
			continue
		}
		if e == nil {
			e = &seat{id: s.ID, inventory: l.first && l.source == container.SourceInventory, dirty: true}
			l.entries[s.ID] = e
		}
		if e.generation == l.generation {
			continue // the runtime lists it twice
		}
		e.generation, e.unseen = l.generation, time.Time{}
		if e.foreign {
			e.foreign, e.dirty = false, true // it is a container after all
		}
		if e.excluded || (!e.dirty && !e.due(now) && l.sameState(e.state, s.State) && e.mark == s.Fingerprint) {
			continue
		}
		if e.busy && !e.dirty && !e.due(now) && e.summary.ID != "" && e.summary.State == s.State && e.summary.Fingerprint == s.Fingerprint {
			continue // it is looked at for this very change
		}
		e.dirty, e.source, e.summary = true, container.SourceList, *s
		if l.first && l.source == container.SourceCheckpoint {
			e.source = container.SourceCheckpoint
		}
		if e.busy || now.Before(e.retryAt) {
			continue
		}
		changed = append(changed, e)
	}
	slices.SortFunc(changed, func(a, b *seat) int {
		switch {
		case a.summary.CreatedAt != b.summary.CreatedAt:
			if a.summary.CreatedAt < b.summary.CreatedAt {
				return -1
			}
			return 1
		default:
			return int(a.summary.Attempt) - int(b.summary.Attempt)
		}
	})
	return changed
}

// due tells that a second look, for which there was no room, is to be taken.
func (e *seat) due(now time.Time) bool { return !e.dueAt.IsZero() && !now.Before(e.dueAt) }

// sameState tells that a list shows what is known, as far as it can show it.
func (l *loop) sameState(known, listed container.State) bool {
	return known == listed || (!l.info.ShowsPause && known == container.StatePaused && listed == container.StateRunning)
}

// absent concludes from a list what it does not show.
//
// It gives those to be asked for by id: Docker's list can leave a container out while its state changes, and a notice may be on
// its way.
func (l *loop) absent(r listed) (doubtful []*seat) {
	if len(l.entries) == l.shown() {
		return nil
	}
	for _, e := range l.entries {
		if e.generation == l.generation {
			continue
		}
		if e.busy || !e.seenAt.Before(r.began) { // being looked at, or seen by something newer than the list
			if e.unseen.IsZero() {
				e.unseen = l.lastList
			}
			continue
		}
		if e.container == nil && e.awaiting > 0 {
			continue // a sandbox, or a container that the runtime's own bookkeeping does not know yet
		}
		if e.container != nil && (l.info.RestartsInPlace || l.mayBeTold(e)) {
			e.dirty, e.source = true, l.source
			doubtful = append(doubtful, e)
			continue
		}
		l.gone(e, tracker.Observation{At: time.Now(), Since: l.since(e), Source: l.source})
	}
	return doubtful
}

// shown counts the entries that the newest list showed.
func (l *loop) shown() int {
	n := 0
	for _, e := range l.entries {
		if e.generation == l.generation {
			n++
		}
	}
	return n
}

// gone takes the absence of a container.
func (l *loop) gone(e *seat, look tracker.Observation) {
	if e.container == nil && l.tracker.Known(e.id) == nil {
		e.container = l.heardOf(e)
	}
	if !l.settle(e, look) {
		l.owe(e)
		if !e.lost && l.lost >= l.opts.OutboxCapacity && l.tracker.Known(e.id) == nil {
			l.fold(e.behind, container.CauseOutboxFull) // it came and went while nothing could be handed on, and too many like it are kept already
			l.leave(e)
		} else if !e.lost {
			e.lost = true
			l.lost++
		}
		return
	}
	if look.HappenedAt.IsZero() && e.heard != nil {
		look.HappenedAt = e.heard.deleted
	}
	known := l.tracker.Known(e.id)
	if known == nil {
		if !e.excluded && !e.foreign && !e.inventory && !e.replayed && !e.behind.IsZero() {
			l.fold(e.behind, container.CauseRemovedUnseen) // it came and went, and nothing but its id is known
		}
		l.leave(e)
		return
	}
	if e.excluded { // since the filter changed: what became of it was not looked at
		if l.take(&tracker.Change{ID: e.id}) {
			l.leave(e)
		}
		return
	}
	unseen := known.State == container.StateRunning || known.State == container.StatePaused ||
		(known.State == container.StateCreated && e.summary.State == container.StateExited) // the list showed an end that nobody can tell now
	c := l.tracker.Absent(e.id, look)
	if !l.take(&c) {
		l.owe(e)
		return
	}
	l.leave(e)
	if unseen {
		from := look.Since
		for i := range c.Transitions {
			if tr := &c.Transitions[i]; tr.Kind == container.KindStopped && !tr.Provenance.WindowStart.IsZero() {
				from = tr.Provenance.WindowStart
			}
		}
		l.gap(container.CauseRemovedUnseen, from, look.At, 0)
	}
}

// leave forgets a container. A list that is under way may still show it.
func (l *loop) leave(e *seat) {
	delete(l.entries, e.id)
	if e.lost {
		l.lost--
	}
	if l.listing {
		l.departed[e.id] = struct{}{}
	}
	if l.info.RestartsInPlace && l.streaming && len(l.left) < l.opts.MailboxCapacity {
		l.left[e.id] = time.Now()
	}
}

// settle takes what is known from a list item and from notices of a container whose status cannot be asked any more: that
// it was there, that it ran, how it ended. When it began to run is known only where a notice carried a
// status: the time of a notice is not quite that of the start.
func (l *loop) settle(e *seat, look tracker.Observation) bool {
	if e.container == nil || e.excluded || e.inventory {
		return true
	}
	look.HappenedAt = time.Time{}
	if l.info.RestartsInPlace {
		if !l.lastWords(e, look) {
			return false
		}
		if l.tracker.Known(e.id) != nil {
			return true
		}
	}
	ran := e.started || e.heard.end(time.Time{}, time.Time{}) != nil || e.summary.State == container.StateRunning || e.summary.State == container.StatePaused
	k := l.tracker.Known(e.id)
	if k == nil || ran && (k.State == container.StateCreated || k.State == container.StateUnknown) {
		snap := container.Snapshot{Container: e.container, State: container.StateCreated}
		if ran {
			snap.State = container.StateRunning
			if e.heard != nil {
				snap.Run.StartedAt = e.heard.began
			}
		}
		if c := l.tracker.Observe(&snap, look); !l.take(&c) {
			return false
		}
		k = l.tracker.Known(e.id)
	}
	if k == nil || k.State == container.StateExited {
		return true
	}
	return l.endKnown(k, e.heard.end(time.Time{}, time.Time{}), look)
}

// since is the last moment at which a look at the container was taken. A list that did not show it was none.
func (l *loop) since(e *seat) time.Time {
	switch {
	case !e.behind.IsZero():
		return e.behind
	case !e.unseen.IsZero():
		return e.unseen
	default:
		return l.lastList
	}
}

// owe remembers that a look at the container was not taken.
func (l *loop) owe(e *seat) {
	e.dirty = true
	e.behind = l.since(e)
}

// take hands a change on, or tells that there is no room for it now.
func (l *loop) take(c *tracker.Change) bool {
	if c.Empty() {
		return true
	}
	if !l.outbox.offer(entry{change: *c, seen: l.seenUntil()}) {
		return false
	}
	l.tracker.Apply(c)
	l.unfold()
	return true
}

var errExcluded = errors.New("excluded")
