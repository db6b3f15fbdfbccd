// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"time"

	"github.com/zastava-otel/zastava/internal/container"
)

// step computes one change.
type step struct {
	t    *Tracker
	obs  Observation
	snap *container.Snapshot // nil if the container is absent
	next Known
	out  []container.Transition
}

// missed counts the runs that may have happened unobserved before a transition.
type missed struct {
	runs    uint32
	unknown bool
}

// change returns the result of the step. k is the state before it.
func (st *step) change(k *Known) Change {
	id := st.next.Container.ID
	if k != nil && len(st.out) == 0 && st.next == *k {
		return Change{ID: id, empty: true}
	}
	next := st.next
	return Change{ID: id, Next: &next, Transitions: st.out}
}

// begin handles the first observation of a container.
func (st *step) begin() {
	s := st.snap
	st.next = Known{Container: s.Container, State: container.StateCreated, RestartCount: s.RestartCount, CrashLoop: st.t.loopOf(s.Container)}
	// With InventoryAll a container is reported as if it had appeared now, with source inventory.
	if st.obs.Source == container.SourceInventory && st.t.opts.Inventory != InventoryAll {
		st.takeInventory()
		return
	}
	st.created()
	switch s.State {
	case container.StateRunning, container.StatePaused:
		st.startFirst()
		st.within()
	case container.StateExited:
		if !s.Run.StartedAt.IsZero() {
			st.startFirst()
		}
		st.stop(s.Run, missed{})
	case container.StateUnknown, container.StateCreated:
		st.next.State = s.State
	}
}

// takeInventory stores the state of a container of the first list. Only a running one is reported, and only if the options say so.
func (st *step) takeInventory() {
	s := st.snap
	if isRunning(s.State) && st.t.opts.Inventory == InventoryRunning {
		st.start(container.KindStarted, s.Run, nil, missed{})
		st.out[0].State = s.State
	}
	st.next.State, st.next.Run, st.next.Health = s.State, s.Run, s.Health
	if isRunning(s.State) {
		st.next.Run.FinishedAt = time.Time{} // Docker keeps the end of the previous run here
	}
	if s.OOM {
		st.next.OOMs = 1 // its time is unknown, so it is not reported later either
	}
}

// startFirst reports the first known run of a container.
func (st *step) startFirst() {
	s := st.snap
	ln := st.t.lineage(s.Container)
	if s.Container.Attempt == 0 && s.RestartCount == 0 && !ln.replaces(s.Container) {
		st.start(container.KindStarted, s.Run, nil, missed{})
		return
	}
	prev, m := st.t.previousRun(s)
	switch {
	case st.obs.Source == container.SourceInventory:
		m = missed{} // runs before the first list were never observed, so they are not missed
	case st.obs.Source == container.SourceCheckpoint && prev != nil && s.Container.Attempt == 0:
		m = missed{unknown: true} // Compose counts no attempts: other containers may have been replaced meanwhile
	}
	st.start(container.KindRestarted, s.Run, prev, m)
}

// advance handles a later observation of a container.
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
	case isLaterRun(k, s):
		st.nextRun(k)
	case k.State == container.StateExited:
		return // a restarted runtime reports a run that is known to have ended as running
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
	case isLaterRun(k, s):
		st.nextRun(k)
		st.stop(s.Run, missed{})
	case k.State == container.StateExited:
		st.revise(k)
	default:
		st.stop(s.Run, missed{}) // also for a container that never started
	}
}

// isRunning reports whether a main process exists in this state.
func isRunning(s container.State) bool {
	return s == container.StateRunning || s == container.StatePaused
}

// neverRan reports whether no run of the container is known: it was created, its start failed, or its state is unknown.
func neverRan(k *Known) bool {
	return k.Run.StartedAt.IsZero() && !isRunning(k.State)
}

// isLaterRun reports whether the snapshot shows a run that began after the known one.
func isLaterRun(k *Known, s *container.Snapshot) bool {
	return !k.Run.StartedAt.IsZero() && later(s.Run.StartedAt, k.Run.StartedAt)
}

// stale reports whether the snapshot is older than the known state.
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

// nextRun handles a snapshot that shows a later run of the same container id.
func (st *step) nextRun(k *Known) {
	s := st.snap
	m := missed{unknown: true}
	if s.RestartCount > k.RestartCount {
		m = missed{runs: s.RestartCount - k.RestartCount - 1}
	}
	if st.obs.RunsReported && k.State == container.StateExited {
		m = missed{runs: max(m.runs, st.obs.MissedRuns)}
	}
	if isRunning(k.State) {
		// Docker keeps the end of the previous run. If that run is the known one, its time is exact.
		run := container.Run{StartedAt: k.Run.StartedAt, PID: k.Run.PID}
		if s.State != container.StateExited && !m.unknown && m.runs == 0 && later(s.Run.FinishedAt, k.Run.StartedAt) && later(s.Run.StartedAt, s.Run.FinishedAt) {
			run.FinishedAt = s.Run.FinishedAt
		}
		st.stop(run, missed{})
	}
	prev := previousOf(st.next.Container.ID, st.next.Run)
	st.start(container.KindRestarted, s.Run, prev, m)
}

// revise reports the next revision of a stop if the snapshot has more detail about the same end.
func (st *step) revise(k *Known) {
	was, now := k.Run, st.snap.Run
	if was.ExitKnown && later(was.FinishedAt, now.FinishedAt.Add(clockSlack)) {
		return // an older report
	}
	if !now.ExitKnown {
		return // the runtime lost the exit status and adds nothing
	}
	better := was.ExitKnown != now.ExitKnown || was.ExitCode != now.ExitCode || was.OOMKilled != now.OOMKilled ||
		(was.Reason != now.Reason && now.Reason != "")
	if !better {
		return
	}
	if was.OOMKilled && !now.OOMKilled {
		return // a report without the OOM kill does not disprove it
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

// within compares what can change during a run: pause, health, OOM kill of a child process.
func (st *step) within() {
	st.pauseOrResume()
	st.health()
	if st.snap.OOM && st.next.OOMs == 0 {
		st.emitNoticed(container.KindOOM, container.Transition{State: st.next.State, Ordinal: st.next.OOMs})
		st.next.OOMs++
	}
}

// health compares the result of the health check. A snapshot without one changes nothing. The first result of a run whose
// start was not observed is only stored.
func (st *step) health() {
	was, now := st.next.Health, st.snap.Health
	if now == "" || now == was {
		return
	}
	st.next.Health = now
	if was == "" {
		return
	}
	st.emitNoticed(container.KindHealthChanged, container.Transition{State: st.next.State, Ordinal: st.next.Healths, Health: now})
	st.next.Healths++
}

// pauseOrResume compares paused and running within one run. An observation that does not show pauses does not end one.
func (st *step) pauseOrResume() {
	paused := st.snap.State == container.StatePaused
	switch {
	case paused && st.next.State == container.StateRunning:
		st.next.State = container.StatePaused
		st.emitNoticed(container.KindPaused, container.Transition{State: container.StatePaused, Ordinal: st.next.Pauses})
		st.next.Pauses++
	case !paused && st.next.State == container.StatePaused && !st.obs.PauseHidden:
		st.next.State = container.StateRunning
		ordinal := st.next.Pauses
		if ordinal > 0 {
			ordinal--
		}
		st.emitNoticed(container.KindUnpaused, container.Transition{State: container.StateRunning, Ordinal: ordinal})
	}
}
