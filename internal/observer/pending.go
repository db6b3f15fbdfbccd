// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// maxPendingRuns bounds the starts, and the ends, that are kept of one container.
const maxPendingRuns = 16

// reasonOOMKilled is the reason that all runtimes give for an end by the kernel's OOM killer.
const reasonOOMKilled = "OOMKilled"

// exitReason returns the reason that CRI runtimes give for an end of which only the exit code is known.
func exitReason(code uint32) string {
	if code == 0 {
		return "Completed"
	}
	return "Error"
}

// pendingNotices is what notices reported of one container and no status has shown yet.
type pendingNotices struct {
	runs         *pendingRuns // nil if nothing is pending
	lastEnd      time.Time    // the newest end that is not in runs any more
	started      bool         // a run began, which the status does not show yet
	oomVerdict   bool         // an OOM kill was reported after the end, and no status shows it yet
	removed      bool         // the container was removed while it was inspected
	replayedOnly bool         // no notice of it is newer than the subscription, so an interruption of the stream covers it
}

// pendingRuns is kept because a runtime's own bookkeeping comes a little after its events; where one id has many runs, an inspection
// may come too late for some of them; and a container that removes itself when it ends is gone before it can be inspected.
//
// starts and ends are in order of arrival, oldest first, at most maxPendingRuns of each; the oldest give way. The methods that read
// take a nil receiver.
type pendingRuns struct {
	ends        []runEnd
	starts      []time.Time
	startsSince time.Time            // starts is complete from here on; zero if it is for as long as the stream was followed
	created     time.Time            // zero if not reported
	deleted     time.Time            // zero if not reported
	described   *container.Container // as the stream describes it; nil if it does not
	startedAt   time.Time            // the runtime's own time of the newest start, where a notice carries a status
}

// runEnd is the end of a run as a notice reports it.
type runEnd struct {
	at     time.Time
	code   uint32
	signal string
	oom    bool
}

// of returns run completed by its end.
func (n *runEnd) of(run container.Run) container.Run {
	run.FinishedAt, run.ExitCode, run.ExitKnown, run.Reason, run.StopSignal = n.at, n.code, true, exitReason(n.code), n.signal
	if n.oom {
		run.OOMKilled, run.Reason = true, reasonOOMKilled
	}
	return run
}

// noticed notes that a notice arrived, also of a container that is not observed.
func (p *pendingNotices) noticed(n *runtime.Notice) {
	p.replayedOnly = p.replayedOnly && n.Replayed
	p.started = p.started || n.Kind == runtime.NoticeStarted || n.Kind == runtime.NoticeExited
}

// add keeps what a notice reports of the container's existence and of its runs.
func (p *pendingNotices) add(n *runtime.Notice) {
	switch n.Kind {
	case runtime.NoticeCreated, runtime.NoticeDeleted, runtime.NoticeStarted, runtime.NoticeExited:
	default:
		return
	}
	if p.runs == nil {
		p.runs = &pendingRuns{}
	}
	p.runs.add(n)
}

func (r *pendingRuns) add(n *runtime.Notice) {
	if n.Described != nil {
		r.described = n.Described
	}
	if n.Snapshot != nil && !n.Snapshot.Run.StartedAt.IsZero() {
		r.startedAt = n.Snapshot.Run.StartedAt
	}
	switch n.Kind {
	case runtime.NoticeCreated:
		r.created = n.At
	case runtime.NoticeDeleted:
		r.deleted = n.At
	case runtime.NoticeStarted:
		if len(r.starts) == maxPendingRuns {
			r.startsSince = r.starts[0].Add(1)
			r.starts = append(r.starts[:0], r.starts[1:]...)
		}
		r.starts = append(r.starts, n.At)
	default:
		if len(r.ends) == maxPendingRuns {
			r.ends = append(r.ends[:0], r.ends[1:]...)
		}
		r.ends = append(r.ends, runEnd{at: n.At, code: n.ExitCode, signal: n.StopSignal, oom: n.OOMKilled})
	}
}

// end returns the first end after started and not after next, which is no bound if it is zero; nil if there is no such end.
func (r *pendingRuns) end(started, next time.Time) *runEnd {
	if r == nil {
		return nil
	}
	for i := range r.ends {
		n := &r.ends[i]
		if n.at.After(started) && (next.IsZero() || !n.at.After(next)) {
			return n
		}
	}
	return nil
}

// between returns how many runs began after ended and before started. all reports whether that is all of them: the stream was
// complete since a moment that is not after ended.
func (r *pendingRuns) between(complete, ended, started time.Time) (missed uint32, all bool) {
	if r == nil || complete.IsZero() || ended.IsZero() || ended.Before(complete) || ended.Before(r.startsSince) {
		return 0, false
	}
	for _, at := range r.starts {
		switch {
		case !at.Before(started): // the notice of a start comes after the start
			return missed, true
		case at.After(ended):
			missed++
		}
	}
	return 0, false
}

// newest returns the newest run that began after a moment, and how far it got. Its start is the notice's, because the runtime's own
// time of it is not known.
func (r *pendingRuns) newest(after time.Time) (run container.Run, state container.State) {
	state = container.StateCreated
	if r == nil {
		return run, state
	}
	if n := len(r.ends); n > 0 && r.ends[n-1].at.After(after) {
		state, run = container.StateExited, r.ends[n-1].of(run)
	}
	for _, at := range r.starts {
		switch {
		case !at.After(after): // of a run that is known
		case !at.After(run.FinishedAt), state == container.StateCreated:
			run.StartedAt = at
		default: // began after the newest end
			state, run = container.StateRunning, container.Run{StartedAt: at}
		}
	}
	if state == container.StateCreated && !run.StartedAt.IsZero() {
		state = container.StateRunning
	}
	return run, state
}

// endOf returns when the run that began at started ended; zero if no notice reported it. Only times of notices are compared: a
// runtime's own time of an end may be before that of the start, where a process ends at once, and before the notice of the start.
func (p *pendingNotices) endOf(started time.Time) time.Time {
	if p.lastEnd.After(started) {
		return p.lastEnd
	}
	if n := p.runs.end(started, time.Time{}); n != nil {
		return n.at
	}
	return time.Time{}
}

// removedAt returns when the container was removed; zero if no notice reported it.
func (p *pendingNotices) removedAt() time.Time {
	if p.runs == nil {
		return time.Time{}
	}
	return p.runs.deleted
}

// drop forgets what was before the run that began at started, which a status has shown. With all, it forgets everything but a
// removal, which no status shows.
func (p *pendingNotices) drop(started time.Time, all bool) {
	r := p.runs
	if r == nil {
		return
	}
	for len(r.ends) > 0 && (all || !r.ends[0].at.After(started)) {
		p.lastEnd = r.ends[0].at
		r.ends = r.ends[1:]
	}
	for len(r.starts) > 0 && r.starts[0].Before(started) {
		r.starts = r.starts[1:]
	}
	switch {
	case all && r.deleted.IsZero():
		p.runs = nil
	case all:
		p.runs = &pendingRuns{deleted: r.deleted, described: r.described}
	}
}

// brief reports whether the container was gone so soon after its creation that it may have been taken for a sandbox, because
// nothing was found when it was looked up. Sandboxes that the runtime has shown have no notices, and others are seldom so brief.
func (p *pendingNotices) brief() bool {
	r := p.runs
	return r != nil && !r.created.IsZero() && r.deleted.Sub(r.created) < 2*lateAfter
}
