// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// entry is what the loop keeps of one container besides what the tracker remembers: what the container is to the observer (phase),
// whether an inspection of it is due or under way (work), and what lists and notices have shown that is not reported yet.
type entry struct {
	id                string
	container         *container.Container // nil until described
	phase             phase
	work              work
	source            container.Source // of what made an inspection due
	list              listItem
	pending           pendingNotices
	process           mainProcess
	failures          failures
	lagging           int       // inspections in a row whose status lagged behind a notice
	recheckAt         time.Time // when it is due with the next list, whatever that shows; zero if it is not
	seenAt            time.Time // when something last showed that it exists
	behind            time.Time // when it was last observed, while a later observation waits to be reported; zero if none waits
	pauseShownAt      time.Time // when the newest inspection began that showed a pause or its end
	unreportedRemoval bool      // it is gone, and the outbox had no room for that yet
}

// phase says what a container is to the observer.
//
//	inventory ──accept──► observed ◄──identify── foreign
//	                          └───────setForeign───►┘
//
// Every phase can end in excluded, which is permanent.
type phase uint8

const (
	phaseObserved  phase = iota
	phaseInventory       // found by the first list and not reported yet
	phaseForeign         // known from notices only, and unknown to CRI: a sandbox, or not a container yet
	phaseExcluded        // by the filter
)

func (e *entry) excluded() bool { return e.phase == phaseExcluded }

// exclude ends the observation of a container that the filter does not allow.
func (e *entry) exclude() { e.phase, e.behind = phaseExcluded, time.Time{} }

// setForeign gives up on an id that is no container, as far as its runtime knows. Nothing of it waits to be reported.
func (e *entry) setForeign() { e.phase, e.behind = phaseForeign, time.Time{} }

// identify takes a foreign id for a container again. It reports whether it was foreign.
func (e *entry) identify() bool {
	if e.phase != phaseForeign {
		return false
	}
	e.phase = phaseObserved
	return true
}

// accept notes that an observation of the container was reported, so that nothing of it waits.
func (e *entry) accept() {
	if e.phase == phaseInventory {
		e.phase = phaseObserved
	}
	e.behind = time.Time{}
}

// work says whether an inspection of a container is due, under way, or both: one that is requested while another runs follows it.
// At most one runs at a time.
//
//	idle ──request──► due ──begin──► running ──request──► runningAgain
//	  ▲                ▲                │ finish               │ finish
//	  └────────────────┼────────────────┘                      │
//	                   └───────────────────────────────────────┘
type work uint8

const (
	workIdle work = iota
	workDue
	workRunning
	workRunningAgain
)

// request makes an inspection due: now, or after the one that runs.
func (e *entry) request() {
	switch e.work {
	case workIdle:
		e.work = workDue
	case workRunning:
		e.work = workRunningAgain
	default: // it is due already
	}
}

// requestBy makes an inspection due because of what source has shown.
func (e *entry) requestBy(source container.Source) {
	e.source = source
	e.request()
}

// begin starts an inspection, which covers all that was requested before.
func (e *entry) begin() { e.work = workRunning }

// finish ends an inspection. What was requested meanwhile is due.
func (e *entry) finish() {
	switch e.work {
	case workRunning:
		e.work = workIdle
	case workRunningAgain:
		e.work = workDue
	default: // none is running
	}
}

func (e *entry) busy() bool { return e.work == workRunning || e.work == workRunningAgain }
func (e *entry) due() bool  { return e.work == workDue || e.work == workRunningAgain }

// recheckDue reports whether a recheck, for which the queue had no room, is due.
func (e *entry) recheckDue(now time.Time) bool {
	return !e.recheckAt.IsZero() && !now.Before(e.recheckAt)
}

// listItem is what lists showed of a container.
type listItem struct {
	generation uint32          // of the newest list that showed it
	state      container.State // as the newest accepted observation showed it
	mark       uint64          // as the newest inspected list item had it
	summary    runtime.Summary // of the newest list that showed a change; its Item is dropped after use
	absentFrom time.Time       // the last list before the first that did not show it although it is kept; zero if the newest shows it
}

// sameChange reports whether the inspection under way was begun for just what s shows.
func (i *listItem) sameChange(s *runtime.Summary) bool {
	return i.summary.ID != "" && i.summary.State == s.State && i.summary.Fingerprint == s.Fingerprint
}

// mainProcess is what is known of the main process of the present run.
type mainProcess struct {
	pid   uint32 // 0 if unknown
	asked bool   // the runtime was asked for it in this run
}

// failures counts the inspections of a container that failed in a row.
type failures struct {
	count   int
	retryAt time.Time // when the next inspection may begin; zero after a success
}

// add counts a failure and returns the delay before the next attempt, which doubles from first to maxRetryDelay. It has no state
// beyond a count, because every container has its own.
func (f *failures) add(now time.Time, first time.Duration) time.Duration {
	delay := min(first<<min(f.count, 10), maxRetryDelay)
	f.count++
	f.retryAt = now.Add(delay)
	return delay
}

// ran reports whether anything has shown that a run of the container began.
func (e *entry) ran() bool {
	return e.pending.started || e.pending.runs.end(time.Time{}, time.Time{}) != nil ||
		e.list.summary.State == container.StateRunning || e.list.summary.State == container.StatePaused
}

// lastSeen returns a container of which no status can be read any more as lists and notices showed it.
func (e *entry) lastSeen() *container.Snapshot {
	snap := &container.Snapshot{Container: e.container, State: container.StateCreated}
	if e.ran() {
		snap.State = container.StateRunning
		if e.pending.runs != nil {
			snap.Run.StartedAt = e.pending.runs.startedAt
		}
	}
	return snap
}

// observationSource returns the source of what an inspection shows.
func (e *entry) observationSource() container.Source {
	if e.phase == phaseInventory {
		return container.SourceInventory
	}
	return e.source
}

// noticed notes that a notice about the container arrived.
func (e *entry) noticed(n *runtime.Notice, now time.Time) {
	e.identify()
	e.seenAt, e.lagging = now, 0
	if n.Kind == runtime.NoticeStarted {
		e.process = mainProcess{pid: n.PID}
	}
	e.pending.noticed(n)
}
