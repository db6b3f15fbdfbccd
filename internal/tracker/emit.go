// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"time"

	"github.com/zastava-otel/zastava/internal/container"
)

// endLag is how long a runtime may report a run as running after its end. containerd's CRI does so for about 50 ms, and for
// more than half a second on a busy node. An observation of a running container therefore does not prove that its process
// existed at that moment, and the window of an unobserved end begins this much earlier.
const endLag = 5 * time.Second

func (st *step) created() {
	c := st.next.Container
	tr := container.Transition{When: c.CreatedAt, State: container.StateCreated}
	st.emit(container.KindCreated, tr, st.exactAt(c.CreatedAt))
}

func (st *step) start(kind container.Kind, run container.Run, prev *container.PreviousRun, m missed) {
	run = container.Run{StartedAt: run.StartedAt, PID: run.PID}
	st.next.State, st.next.Run = container.StateRunning, run
	st.next.Revision, st.next.Pauses, st.next.OOMs, st.next.Health, st.next.Healths = 0, 0, 0, "", 0
	if st.snap != nil {
		if st.snap.Health != "" {
			st.next.Health = "starting" // the first result of every run with a health check
		}
		if st.obs.Source == container.SourceInventory {
			st.next.Health = st.snap.Health // changes before the first list are not reported
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

// emitStop reports the end of the run in st.next. Its time is exact if the runtime reported the time and the exit code. A
// runtime that was down at the end reports a time without an exit code, and that time is only the end of a window.
func (st *step) emitStop(m missed) {
	run := &st.next.Run
	p := st.exactAt(run.FinishedAt)
	if p.Precision == container.PrecisionExact && !run.ExitKnown {
		p.Precision = container.PrecisionWindow
	}
	if p.Precision == container.PrecisionWindow {
		since := st.obs.Since.Add(-endLag)
		if st.next.Revision > 0 {
			since = time.Time{} // the previous observation already showed the end
		}
		p.WindowStart = latest(since, run.StartedAt, st.next.Container.CreatedAt)
		if !run.FinishedAt.IsZero() && p.WindowStart.After(run.FinishedAt) {
			p.WindowStart = run.StartedAt
		}
	}
	p.MissedRuns, p.MissedUnknown = m.runs, m.unknown
	st.emit(container.KindStopped, container.Transition{When: run.FinishedAt, State: container.StateExited, Revision: st.next.Revision}, p)
}

// emitNoticed reports a change whose exact time only a notice has.
func (st *step) emitNoticed(kind container.Kind, tr container.Transition) {
	tr.When = st.obs.HappenedAt
	st.emit(kind, tr, st.exactAt(tr.When))
}

func (st *step) emit(kind container.Kind, tr container.Transition, p container.Provenance) {
	tr.Kind, tr.Provenance = kind, p
	tr.Container, tr.Run, tr.RestartCount = st.next.Container, st.next.Run, st.next.RestartCount
	if kind == container.KindCreated {
		tr.Run = container.Run{}
	}
	if tr.When.IsZero() {
		tr.When = st.obs.At
	}
	if p.WindowStart.After(tr.When) {
		tr.Provenance.WindowStart = time.Time{}
	}
	st.out = append(st.out, tr)
}

// exactAt returns the provenance of a change with a time from the runtime; a zero time yields a window.
func (st *step) exactAt(at time.Time) container.Provenance {
	if at.IsZero() {
		return st.window()
	}
	return container.Provenance{Source: st.obs.Source, Precision: container.PrecisionExact, ObservedAt: st.obs.At}
}

// window returns the provenance of a change between the previous observation and this one.
func (st *step) window() container.Provenance {
	return container.Provenance{
		Source: st.obs.Source, Precision: container.PrecisionWindow, ObservedAt: st.obs.At,
		WindowStart: latest(st.obs.Since, st.next.Run.StartedAt, st.next.Container.CreatedAt),
	}
}
