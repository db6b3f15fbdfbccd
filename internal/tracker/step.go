// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"time"

	"github.com/zastava-otel/zastava/internal/container"
)

// clockSlack is how much before its start a run may end: containerd reads its clock for the start once the start has
// returned, and takes the end from the shim, so a process that exits at once ends some milliseconds before it started.
const clockSlack = 5 * time.Second

// endLag is how much later than a run's end its runtime may still call it running. containerd's CRI does so for about 50 ms,
// and for more than half a second where the node is busy. So a look that shows a container running does not tell that its
// process lived at that moment, and the window of an end that nobody saw begins that much earlier.
const endLag = 5 * time.Second

// step works out one change.
type step struct {
	t    *Tracker
	look Observation
	snap *container.Snapshot // nil when the container is absent
	next Known
	out  []container.Transition
}

// missed says which runs may have happened unseen before a transition.
type missed struct {
	runs    uint32
	unknown bool
}

// change ends the step. k is what was known before it.
func (st *step) change(k *Known) Change {
	id := st.next.Container.ID
	if k != nil && len(st.out) == 0 && st.next == *k {
		return Change{ID: id, empty: true}
	}
	next := st.next
	return Change{ID: id, Next: &next, Transitions: st.out}
}

// begin is the first look at a container.
func (st *step) begin() {
	s := st.snap
	st.next = Known{Container: s.Container, State: container.StateCreated, RestartCount: s.RestartCount, CrashLoop: st.t.loopOf(s.Container)}
	if st.look.Source == container.SourceInventory {
		running := s.State == container.StateRunning || s.State == container.StatePaused
		switch {
		case st.t.opts.Inventory == InventoryAll:
			// reported like a container that appeared now, but with the source that says it was there before
		case running && st.t.opts.Inventory == InventoryRunning:
			st.start(container.KindStarted, s.Run, nil, missed{})
			st.out[0].State = s.State
			fallthrough
		default:
			st.next.State, st.next.Run, st.next.Health = s.State, s.Run, s.Health
			if running {
				st.next.Run.FinishedAt = time.Time{} // of the run before
			}
			if s.OOM {
				st.next.OOMs = 1 // an old one: nothing tells when
			}
			return
		}
	}
	st.created()
	switch s.State {
	case container.StateRunning, container.StatePaused:
		st.startFirst()
		st.within()
	case container.StateExited:
		if s.Run.StartedAt.IsZero() {
			st.stop(s.Run, missed{})
			return
		}
		st.startFirst()
		st.stop(s.Run, missed{})
	case container.StateUnknown, container.StateCreated:
		st.next.State = s.State
	}
}

// startFirst reports the first run of a container that was not known to run before.
func (st *step) startFirst() {
	s := st.snap
	ln := st.t.lineage(s.Container)
	if s.Container.Attempt == 0 && s.RestartCount == 0 && !ln.replaces(s.Container) {
		st.start(container.KindStarted, s.Run, nil, missed{})
		return
	}
	prev, m := st.t.before(s)
	switch {
	case st.look.Source == container.SourceInventory:
		m = missed{} // what was before the first look is not missed: it was never watched
	case st.look.Source == container.SourceCheckpoint && prev != nil && s.Container.Attempt == 0:
		m = missed{unknown: true} // nothing counts the containers that had the place meanwhile
	}
	st.start(container.KindRestarted, s.Run, prev, m)
}

// advance is a later look at a container.
func (st *step) advance(k *Known) {
	s := st.snap
	if st.stale(k) {
		st.next.Container = k.Container
		return
	}
	switch s.State {
	case container.StateUnknown, container.StateCreated:
		return
	case container.StateRunning, container.StatePaused:
		st.advanceRunning(k)
	case container.StateExited:
		st.advanceExited(k)
	}
	st.next.RestartCount = s.RestartCount
}

func (st *step) advanceRunning(k *Known) {
	s := st.snap
	switch {
	case neverRan(k):
		st.startFirst()
	case laterRun(k, s):
		st.nextRun(k)
	case k.State == container.StateExited:
		return // the runtime mis-remembers a run that is known to have ended
	default:
		st.next.Run.PID = keep(s.Run.PID, k.Run.PID)
		st.next.Run.StartedAt = latest(k.Run.StartedAt, s.Run.StartedAt)
	}
	st.within()
}

func (st *step) advanceExited(k *Known) {
	s := st.snap
	switch {
	case neverRan(k) && !s.Run.StartedAt.IsZero():
		st.startFirst()
		st.stop(s.Run, missed{})
	case laterRun(k, s):
		st.nextRun(k)
		st.stop(s.Run, missed{})
	case k.State == container.StateExited:
		st.revise(k)
	default:
		st.stop(s.Run, missed{}) // including what never started
	}
}

// neverRan tells that no run of the container is known: it was created, or its start failed, or nothing was told.
func neverRan(k *Known) bool {
	return k.Run.StartedAt.IsZero() && k.State != container.StateRunning && k.State != container.StatePaused
}

// laterRun tells that the look shows a run that began after the known one.
func laterRun(k *Known, s *container.Snapshot) bool {
	return !k.Run.StartedAt.IsZero() && later(s.Run.StartedAt, k.Run.StartedAt)
}

// within compares what can happen while a run goes on: pause, resume, OOM kill of a process inside.
func (st *step) within() {
	st.pauseOrResume()
	st.health()
	if st.snap.OOM && st.next.OOMs == 0 {
		st.happened(container.KindOOM, container.Transition{State: st.next.State, Ordinal: st.next.OOMs})
		st.next.OOMs++
	}
}

// health compares the verdict of the health check. A look that does not tell one changes nothing, and the first one that is
// seen of a run which began unseen is where comparing begins.
func (st *step) health() {
	was, now := st.next.Health, st.snap.Health
	if now == "" || now == was {
		return
	}
	st.next.Health = now
	if was == "" {
		return
	}
	st.happened(container.KindHealthChanged, container.Transition{State: st.next.State, Ordinal: st.next.Healths, Health: now})
	st.next.Healths++
}

// nextRun is a look that shows a later run of the same id than the known one.
func (st *step) nextRun(k *Known) {
	s := st.snap
	m := missed{unknown: true}
	if s.RestartCount > k.RestartCount {
		m = missed{runs: s.RestartCount - k.RestartCount - 1}
	}
	if st.look.RunsReported && k.State == container.StateExited {
		m = missed{runs: max(m.runs, st.look.MissedRuns)}
	}
	if k.State == container.StateRunning || k.State == container.StatePaused {
		// Where the runtime keeps the end of the run before (Docker), and that run is the known one, its time is exact.
		run := container.Run{StartedAt: k.Run.StartedAt, PID: k.Run.PID}
		if s.State != container.StateExited && !m.unknown && m.runs == 0 && later(s.Run.FinishedAt, k.Run.StartedAt) && later(s.Run.StartedAt, s.Run.FinishedAt) {
			run.FinishedAt = s.Run.FinishedAt
		}
		st.stop(run, missed{})
	}
	prev := previousOf(st.next.Container.ID, st.next.Run)
	st.start(container.KindRestarted, s.Run, prev, m)
}

// revise is a look that may know better about the end of a run that is known to have ended.
func (st *step) revise(k *Known) {
	was, now := k.Run, st.snap.Run
	if was.ExitKnown && later(was.FinishedAt, now.FinishedAt.Add(clockSlack)) {
		return // an older account
	}
	if !now.ExitKnown {
		return // a runtime that lost the exit does not know better
	}
	better := was.ExitKnown != now.ExitKnown || was.ExitCode != now.ExitCode || was.OOMKilled != now.OOMKilled ||
		(was.Reason != now.Reason && now.Reason != "")
	if !better {
		return
	}
	if was.OOMKilled && !now.OOMKilled {
		return // an OOM kill that was known is not taken back by an account that merely lacks it
	}
	st.next.Revision++
	st.next.Run = endsAfterStart(merge(was, now))
	st.emitStop(missed{})
	if was.Failed() {
		st.next.CrashLoop = st.next.CrashLoop.corrected(was, st.next.Run)
	} else {
		st.crashLoop()
	}
}

// stale tells that the look is older than what is known.
func (st *step) stale(k *Known) bool {
	s := st.snap
	if later(k.Run.StartedAt, s.Run.StartedAt) && !(s.Run.StartedAt.IsZero() && s.State == container.StateExited) {
		return true
	}
	switch s.State {
	case container.StateUnknown:
		return true
	case container.StateCreated:
		return k.State != container.StateCreated && k.State != container.StateUnknown
	default:
		return false
	}
}

// pauseOrResume compares paused and running within one run. A look that cannot see a pause does not end one.
func (st *step) pauseOrResume() {
	paused := st.snap.State == container.StatePaused
	switch {
	case paused && st.next.State == container.StateRunning:
		st.next.State = container.StatePaused
		st.happened(container.KindPaused, container.Transition{State: container.StatePaused, Ordinal: st.next.Pauses})
		st.next.Pauses++
	case !paused && st.next.State == container.StatePaused && !st.look.PauseHidden:
		st.next.State = container.StateRunning
		ordinal := st.next.Pauses
		if ordinal > 0 {
			ordinal--
		}
		st.happened(container.KindUnpaused, container.Transition{State: container.StateRunning, Ordinal: ordinal})
	}
}

func (st *step) created() {
	c := st.next.Container
	tr := container.Transition{When: c.CreatedAt, State: container.StateCreated}
	st.emit(container.KindCreated, tr, st.exactAt(c.CreatedAt))
}

func (st *step) start(kind container.Kind, run container.Run, prev *container.Previous, m missed) {
	run = container.Run{StartedAt: run.StartedAt, PID: run.PID}
	st.next.State, st.next.Run = container.StateRunning, run
	st.next.Revision, st.next.Pauses, st.next.OOMs, st.next.Health, st.next.Healths = 0, 0, 0, "", 0
	if st.snap != nil {
		if st.snap.Health != "" {
			st.next.Health = "starting" // with which every run begins whose health is checked
		}
		if st.look.Source == container.SourceInventory {
			st.next.Health = st.snap.Health // what it went through before the first look is not reported
		}
		st.next.RestartCount = st.snap.RestartCount
	}
	p := st.exactAt(run.StartedAt)
	p.MissedRuns, p.MissedUnknown = m.runs, m.unknown
	st.emit(kind, container.Transition{When: run.StartedAt, State: container.StateRunning, Previous: prev}, p)
}

func (st *step) stop(run container.Run, m missed) {
	if run.StartedAt.IsZero() {
		run.StartedAt = st.next.Run.StartedAt
	}
	run = endsAfterStart(run)
	run.PID = keep(run.PID, st.next.Run.PID)
	st.next.State, st.next.Run, st.next.Revision = container.StateExited, run, 0
	st.emitStop(m)
	st.crashLoop()
}

// endsAfterStart takes the time of an end before the start for none at all: the clock was set back meanwhile.
func endsAfterStart(run container.Run) container.Run {
	if later(run.StartedAt, run.FinishedAt.Add(clockSlack)) {
		run.FinishedAt = time.Time{}
	}
	return run
}

// emitStop reports the end of the run in st.next. Its time is exact when the runtime told when it ended and how: a runtime
// that was down meanwhile tells a time but no exit, and that time is only the end of a window.
func (st *step) emitStop(m missed) {
	run := &st.next.Run
	p := st.exactAt(run.FinishedAt)
	if p.Precision == container.PrecisionExact && !run.ExitKnown && st.look.Source != container.SourceStream {
		p.Precision = container.PrecisionWindow
	}
	if p.Precision == container.PrecisionWindow {
		since := st.look.Since.Add(-endLag)
		if st.next.Revision > 0 {
			since = time.Time{} // the look before showed the end already
		}
		p.WindowStart = latest(since, run.StartedAt, st.next.Container.CreatedAt)
		if !run.FinishedAt.IsZero() && p.WindowStart.After(run.FinishedAt) {
			p.WindowStart = run.StartedAt
		}
	}
	p.MissedRuns, p.MissedUnknown = m.runs, m.unknown
	st.emit(container.KindStopped, container.Transition{When: run.FinishedAt, State: container.StateExited, Revision: st.next.Revision}, p)
}

// exactAt is the provenance of something whose time the runtime told; a zero time gives a window.
func (st *step) exactAt(at time.Time) container.Provenance {
	if at.IsZero() {
		return st.window()
	}
	return container.Provenance{Source: st.look.Source, Precision: container.PrecisionExact, ObservedAt: st.look.At}
}

// window is the provenance of something that happened between the last good look and now.
func (st *step) window() container.Provenance {
	return container.Provenance{
		Source: st.look.Source, Precision: container.PrecisionWindow, ObservedAt: st.look.At,
		WindowStart: latest(st.look.Since, st.next.Run.StartedAt, st.next.Container.CreatedAt),
	}
}

// happened reports something whose time only a notice tells.
func (st *step) happened(kind container.Kind, tr container.Transition) {
	tr.When = st.look.HappenedAt
	st.emit(kind, tr, st.exactAt(tr.When))
}

func (st *step) emit(kind container.Kind, tr container.Transition, p container.Provenance) {
	tr.Kind, tr.Provenance = kind, p
	tr.Container, tr.Run, tr.RestartCount = st.next.Container, st.next.Run, st.next.RestartCount
	if kind == container.KindCreated {
		tr.Run = container.Run{}
	}
	if tr.When.IsZero() {
		tr.When = st.look.At
	}
	if p.WindowStart.After(tr.When) {
		tr.Provenance.WindowStart = time.Time{}
	}
	st.out = append(st.out, tr)
}

// later tells that a is known and after b; every known time is after an unknown one.
func later(a, b time.Time) bool { return !a.IsZero() && a.After(b) }

func latest(times ...time.Time) time.Time {
	var last time.Time
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}

func keep(now, was uint32) uint32 {
	if now != 0 {
		return now
	}
	return was
}

// merge completes a newer account of a run by what only the older one knew.
func merge(was, now container.Run) container.Run {
	now.StartedAt = latest(now.StartedAt, was.StartedAt)
	if now.FinishedAt.IsZero() {
		now.FinishedAt = was.FinishedAt
	}
	if now.Reason == "" {
		now.Reason = was.Reason
	}
	if now.StopSignal == "" {
		now.StopSignal = was.StopSignal
	}
	now.PID = keep(now.PID, was.PID)
	return now
}

func previousOf(id string, run container.Run) *container.Previous {
	if run.StartedAt.IsZero() && run.FinishedAt.IsZero() {
		return nil
	}
	return &container.Previous{ContainerID: id, FinishedAt: run.FinishedAt, ExitCode: run.ExitCode, ExitKnown: run.ExitKnown, Reason: run.Reason}
}
