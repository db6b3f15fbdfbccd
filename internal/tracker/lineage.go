// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"slices"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
)

// maxEnds bounds the failed ends remembered of one identity. More are counted, not kept.
const maxEnds = 8

// CrashLoop is how often a restarting identity failed lately. It is not changed after it was handed out.
type CrashLoop struct {
	Ends   []FailedEnd // the latest failed ends within the window, oldest first, at most maxEnds or the threshold
	Count  uint32      // failed ends since the crash loop began; 0 = there is none
	Active bool        // a crash loop was reported and has not ended
}

// FailedEnd is one failed end.
type FailedEnd struct {
	At       time.Time
	ExitCode uint32
	Reason   string
}

// lineage follows one restarting identity over its containers: a restart under CRI is a new container.
type lineage struct {
	containers map[string]struct{}
	newest     string              // the container of the highest attempt, or of equal ones (Compose) the one that was created last
	order      order               // its place
	ran        bool                // some run of the identity is known, even if its start failed
	lastRun    order               // the place of the last container of which a run is known
	lastID     string              // that container
	previous   *container.Previous // how the latest run that is known to have ended did; nil while none has
	loop       *CrashLoop
	idle       time.Time // the first Tick at which it had no container; zero: it has one
}

// order is the place of a container among those of its identity.
type order struct {
	attempt uint32
	created time.Time
}

func orderOf(c *container.Container) order { return order{c.Attempt, c.CreatedAt} }

func (o order) before(p order) bool {
	return o.attempt < p.attempt || (o.attempt == p.attempt && o.created.Before(p.created))
}

func (t *Tracker) lineage(c *container.Container) *lineage {
	return t.lineages[c.Identity()] // nil when the identity is new; the methods that read take a nil receiver
}

func (t *Tracker) lineageOf(c *container.Container) *lineage {
	id := c.Identity()
	ln := t.lineages[id]
	if ln == nil {
		ln = &lineage{containers: map[string]struct{}{}}
		t.lineages[id] = ln
	}
	return ln
}

func (t *Tracker) loopOf(c *container.Container) *CrashLoop {
	if ln := t.lineage(c); ln != nil {
		return ln.loop
	}
	return nil
}

// forget drops a removed container from its lineage. The lineage stays for Tick to drop: the next container of the identity
// may be there already and be looked at a moment later, and one that failed lately may fail again.
func (t *Tracker) forget(k *Known, c *Change) {
	ln := t.lineage(k.Container)
	if ln == nil {
		return
	}
	for i := range c.Transitions {
		if tr := &c.Transitions[i]; tr.Kind == container.KindStopped && ln.lastID == c.ID {
			ln.previous = previousOf(c.ID, tr.Run)
		}
	}
	delete(ln.containers, c.ID)
}

// before tells how the run before the first run of a container ended, and how many runs in between were never seen.
func (t *Tracker) before(s *container.Snapshot) (*container.Previous, missed) {
	ln := t.lineage(s.Container)
	attempt := s.Container.Attempt
	if attempt == 0 && s.RestartCount > 0 { // one id has many runs, and a counter tells how many there were
		return nil, missed{runs: s.RestartCount}
	}
	if ln == nil || !ln.ran {
		return nil, missed{unknown: true}
	}
	last, prev := ln.lastRun, ln.latest()
	if place := orderOf(s.Container); !last.before(place) { // a later one was looked at first
		if last, prev = t.ranBefore(ln, place); prev == nil {
			return nil, missed{unknown: true}
		}
	}
	if attempt > last.attempt+1 {
		return prev, missed{runs: attempt - last.attempt - 1}
	}
	return prev, missed{} // at attempt 0 it took the place of another one
}

// ranBefore gives the last container before a place that is remembered and ran, and how its run ended; nil: there is none.
func (t *Tracker) ranBefore(ln *lineage, place order) (last order, prev *container.Previous) {
	for id := range ln.containers {
		k := t.known[id]
		if k == nil || k.State == container.StateCreated || k.State == container.StateUnknown {
			continue
		}
		if o := orderOf(k.Container); o.before(place) && (prev == nil || last.before(o)) {
			last, prev = o, &container.Previous{ContainerID: id}
			if k.State == container.StateExited {
				if ended := previousOf(id, k.Run); ended != nil {
					prev = ended
				}
			}
		}
	}
	return last, prev
}

// replaces tells that a container took the place of one that ran: Compose makes a new container where it changes something.
func (ln *lineage) replaces(c *container.Container) bool {
	return ln != nil && ln.ran && c.Compose.Identity() != "" && ln.lastID != c.ID && ln.lastRun.before(orderOf(c))
}

// latest tells how the latest run ended, as far as that is known: where its end was not seen yet, only whose it was.
func (ln *lineage) latest() *container.Previous {
	if ln.previous == nil || ln.previous.ContainerID != ln.lastID {
		return &container.Previous{ContainerID: ln.lastID}
	}
	return ln.previous
}

func (ln *lineage) apply(id string, k *Known) {
	ln.containers[id], ln.idle = struct{}{}, time.Time{}
	place := orderOf(k.Container)
	if k.State != container.StateCreated && k.State != container.StateUnknown {
		if !ln.ran || ln.lastID == id || !place.before(ln.lastRun) {
			ln.lastRun, ln.lastID = place, id
		}
		ln.ran = true
	}
	if k.State == container.StateExited && ln.lastID == id {
		ln.previous = previousOf(id, k.Run)
	}
	if ln.newest != "" && ln.newest != id && place.before(ln.order) {
		return // news of an older attempt says nothing of what follows it
	}
	ln.newest, ln.order = id, place
	ln.loop = k.CrashLoop
}

// crashLoop counts a failed end and reports the loop that it makes.
func (st *step) crashLoop() {
	o := st.t.opts
	run := &st.next.Run
	loop := st.next.CrashLoop
	if o.CrashLoopThreshold <= 0 || !run.Failed() {
		return
	}
	at := run.FinishedAt
	if at.IsZero() {
		at = st.look.At
	}
	if st.look.At.Sub(at) > o.CrashLoopWindow {
		return // history, not a loop that goes on
	}
	next := loop.add(FailedEnd{At: at, ExitCode: run.ExitCode, Reason: run.Reason}, o)
	if !next.Active && len(next.Ends) >= o.CrashLoopThreshold {
		next.Active, next.Count = true, uint32(len(next.Ends))
		st.emit(container.KindCrashLoop, container.Transition{When: at, State: container.StateExited, CrashLoop: next.summary(o)}, st.exactAt(at))
	}
	st.next.CrashLoop = next
}

// idleLimit is how long an identity without a container is remembered: its next one may be there already and be looked at later.
const idleLimit = time.Minute

// Tick reports the crash loops that ended: their latest run has outlived the window. It also forgets the identities that
// have had no container for a while and did not fail lately.
func (t *Tracker) Tick(l Observation) []Change {
	var changes []Change
	for identity, ln := range t.lineages {
		if len(ln.containers) == 0 {
			if ln.idle.IsZero() {
				ln.idle = l.At
			}
			if l.At.Sub(ln.idle) >= idleLimit && (ln.loop == nil || l.At.Sub(ln.loop.latest()) > t.opts.CrashLoopWindow) {
				delete(t.lineages, identity)
			}
			continue
		}
		if ln.loop == nil || !ln.loop.Active {
			continue
		}
		k := t.known[ln.newest]
		if k == nil || k.State != container.StateRunning || k.Run.StartedAt.IsZero() {
			continue
		}
		end := k.Run.StartedAt.Add(t.opts.CrashLoopWindow)
		if l.At.Before(end) {
			continue
		}
		st := step{t: t, look: l, next: *k}
		st.next.CrashLoop = nil
		st.emit(container.KindCrashLoopEnded, container.Transition{When: end, State: k.State, CrashLoop: ln.loop.summary(t.opts)}, st.exactAt(end))
		changes = append(changes, st.change(k))
	}
	return changes
}

func (lp *CrashLoop) latest() time.Time {
	if len(lp.Ends) == 0 {
		return time.Time{}
	}
	return lp.Ends[len(lp.Ends)-1].At
}

// add gives the loop with one more failed end.
func (lp *CrashLoop) add(e FailedEnd, o Options) *CrashLoop {
	next := &CrashLoop{}
	if lp != nil {
		next.Active, next.Count = lp.Active, lp.Count
		for _, was := range lp.Ends {
			if e.At.Sub(was.At) <= o.CrashLoopWindow {
				next.Ends = append(next.Ends, was)
			}
		}
	}
	next.Ends = append(next.Ends, e)
	if most := max(maxEnds, o.CrashLoopThreshold); len(next.Ends) > most {
		next.Ends = next.Ends[len(next.Ends)-most:]
	}
	if next.Active {
		next.Count++
	}
	return next
}

// corrected gives the loop with a better account of one of its ends.
func (lp *CrashLoop) corrected(was, now container.Run) *CrashLoop {
	if lp == nil {
		return nil
	}
	for i, end := range slices.Backward(lp.Ends) {
		if end.At.Equal(was.FinishedAt) && end.ExitCode == was.ExitCode && end.Reason == was.Reason {
			next := *lp
			next.Ends = slices.Clone(lp.Ends)
			next.Ends[i].ExitCode, next.Ends[i].Reason = now.ExitCode, now.Reason
			return &next
		}
	}
	return lp
}

// Dominant gives the most frequent way to end among those remembered, at the time of the latest end; of equally frequent ones,
// the latest.
func (lp *CrashLoop) Dominant() FailedEnd {
	type way struct {
		code   uint32
		reason string
	}
	count := map[way]int{}
	var top way
	for i, end := range slices.Backward(lp.Ends) {
		w := way{end.ExitCode, end.Reason}
		count[w]++
		if count[w] > count[top] || i == len(lp.Ends)-1 {
			top = w
		}
	}
	return FailedEnd{At: lp.latest(), ExitCode: top.code, Reason: top.reason}
}

// summary names the dominant end.
func (lp *CrashLoop) summary(o Options) *container.CrashLoop {
	top := lp.Dominant()
	return &container.CrashLoop{Count: lp.Count, Window: o.CrashLoopWindow, ExitCode: top.ExitCode, Reason: top.Reason}
}
