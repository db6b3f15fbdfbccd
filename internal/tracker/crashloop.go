// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"slices"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
)

// maxEnds limits the failed ends that are kept of one identity. Further ones are only counted.
const maxEnds = 8

// CrashLoop is the recent failed ends of one identity. It must not be changed after it was returned.
type CrashLoop struct {
	Ends   []FailedEnd // the latest failed ends within the window, oldest first, at most max(maxEnds, threshold)
	Count  uint32      // failed ends since the crash loop began; 0 if it has not begun
	Active bool        // a crash loop was reported and has not ended
}

// FailedEnd is one unsuccessful end of a run.
type FailedEnd struct {
	At       time.Time
	ExitCode uint32
	Reason   string
}

func (t *Tracker) loopOf(c *container.Container) *CrashLoop {
	if ln := t.lineage(c); ln != nil {
		return ln.loop
	}
	return nil
}

// crashLoop counts a failed end and reports a crash loop when the threshold is reached.
func (st *step) crashLoop() {
	o := st.t.opts
	run := &st.next.Run
	loop := st.next.CrashLoop
	if o.CrashLoopThreshold <= 0 || !run.Failed() {
		return
	}
	at := run.FinishedAt
	if at.IsZero() {
		at = st.obs.At
	}
	if st.obs.At.Sub(at) > o.CrashLoopWindow {
		return // an old end, found after the observer was down
	}
	next := loop.add(FailedEnd{At: at, ExitCode: run.ExitCode, Reason: run.Reason}, o)
	if !next.Active && len(next.Ends) >= o.CrashLoopThreshold {
		next.Active, next.Count = true, uint32(len(next.Ends))
		st.emit(container.KindCrashLoop, container.Transition{When: at, State: container.StateExited, CrashLoop: next.summary(o)}, st.exactAt(at))
	}
	st.next.CrashLoop = next
}

// endCrashLoop ends the crash loop of an identity if its latest run has outlived the window.
func (t *Tracker) endCrashLoop(ln *lineage, o Observation) (Change, bool) {
	if ln.loop == nil || !ln.loop.Active {
		return Change{}, false
	}
	k := t.known[ln.newest]
	if k == nil || k.State != container.StateRunning || k.Run.StartedAt.IsZero() {
		return Change{}, false
	}
	end := k.Run.StartedAt.Add(t.opts.CrashLoopWindow)
	if o.At.Before(end) {
		return Change{}, false
	}
	st := step{t: t, obs: o, next: *k}
	st.next.CrashLoop = nil
	st.emit(container.KindCrashLoopEnded, container.Transition{When: end, State: k.State, CrashLoop: ln.loop.summary(t.opts)}, st.exactAt(end))
	return st.change(k), true
}

// latest returns the time of the last failed end; zero if there is none.
func (lp *CrashLoop) latest() time.Time {
	if len(lp.Ends) == 0 {
		return time.Time{}
	}
	return lp.Ends[len(lp.Ends)-1].At
}

// add returns the loop with one more failed end. A nil receiver is an empty loop.
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

// corrected returns the loop with a revised exit code and reason of one of its ends.
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

// Dominant returns the most frequent exit code and reason of the kept ends, with the time of the latest end. Of equally
// frequent ones it returns the latest.
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

func (lp *CrashLoop) summary(o Options) *container.CrashLoop {
	top := lp.Dominant()
	return &container.CrashLoop{Count: lp.Count, Window: o.CrashLoopWindow, ExitCode: top.ExitCode, Reason: top.Reason}
}
