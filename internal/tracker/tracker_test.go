// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
)

var (
	t0   = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	ctr  = &container.Container{Engine: "containerd", ID: "c1", Name: "api", CreatedAt: at(0), Pod: container.Pod{UID: "u1", Name: "p"}}
	next = &container.Container{Engine: "containerd", ID: "c2", Name: "api", CreatedAt: at(100), Attempt: 1, Pod: container.Pod{UID: "u1", Name: "p"}}
)

// at returns the time n seconds after t0.
func at(n int) time.Time { return t0.Add(time.Duration(n) * time.Second) }

func created(c *container.Container) *container.Snapshot {
	return &container.Snapshot{Container: c, State: container.StateCreated}
}

func running(c *container.Container, start int) *container.Snapshot {
	return &container.Snapshot{Container: c, State: container.StateRunning, Run: container.Run{StartedAt: at(start)}, RestartCount: c.Attempt}
}

func paused(c *container.Container, start int) *container.Snapshot {
	s := running(c, start)
	s.State = container.StatePaused
	return s
}

func exited(c *container.Container, start, finish int, code uint32, reason string) *container.Snapshot {
	s := running(c, start)
	s.State = container.StateExited
	s.Run.FinishedAt, s.Run.ExitCode, s.Run.ExitKnown, s.Run.Reason = at(finish), code, true, reason
	s.Run.OOMKilled = reason == "OOMKilled"
	return s
}

func neverStarted(c *container.Container, finish int) *container.Snapshot {
	s := exited(c, 0, finish, 128, "StartError")
	s.Run.StartedAt = time.Time{}
	return s
}

func exitLost(c *container.Container, start, finish int) *container.Snapshot {
	s := exited(c, start, finish, 255, "Unknown")
	s.Run.ExitKnown = false
	return s
}

func restarts(s *container.Snapshot, n uint32) *container.Snapshot {
	s.RestartCount = n
	return s
}

func withOOM(s *container.Snapshot) *container.Snapshot {
	s.OOM = true
	return s
}

// seen is the part of a transition that the tables compare.
type seen struct {
	kind      container.Kind
	when      int
	precision container.Precision
	revision  uint32
}

func exact(kind container.Kind, when int) seen { return seen{kind: kind, when: when} }

func window(kind container.Kind, when int) seen {
	return seen{kind: kind, when: when, precision: container.PrecisionWindow}
}

func brief(trs []container.Transition) []seen {
	var out []seen
	for _, tr := range trs {
		out = append(out, seen{tr.Kind, int(tr.When.Sub(t0) / time.Second), tr.Provenance.Precision, tr.Revision})
	}
	return out
}

// poll is the nth list of a test, at second 1000 + 10 n, with an interval of 10 s.
func poll(n int) Observation {
	return Observation{At: at(1000 + 10*n), Since: at(990 + 10*n), Source: container.SourceList}
}

func observe(t *testing.T, tr *Tracker, s *container.Snapshot, o Observation) []container.Transition {
	t.Helper()
	c := tr.Observe(s, o)
	tr.Apply(&c)
	return c.Transitions
}

// remove applies the absence of a container and returns its transitions.
func remove(tr *Tracker, id string, o Observation) []container.Transition {
	c := tr.Absent(id, o)
	tr.Apply(&c)
	return c.Transitions
}

// The table is the transition table of the design: known state, later snapshot, reported transitions.
func TestObserveReturnsTheTransitionsOfTheTable(t *testing.T) {
	noPauses := poll(0)
	noPauses.PauseHidden = true
	tests := []struct {
		name   string
		known  []*container.Snapshot // earlier snapshots, all applied
		obs    Observation
		now    *container.Snapshot // nil: absent
		expect []seen
	}{
		{"new and created", nil, poll(0), created(ctr), []seen{exact(container.KindCreated, 0)}},
		{"new and running", nil, poll(0), running(ctr, 1), []seen{exact(container.KindCreated, 0), exact(container.KindStarted, 1)}},
		{"new and running, attempt 1", nil, poll(0), running(next, 101), []seen{exact(container.KindCreated, 100), exact(container.KindRestarted, 101)}},
		{"new and paused", nil, poll(0), paused(ctr, 1), []seen{exact(container.KindCreated, 0), exact(container.KindStarted, 1), window(container.KindPaused, 1000)}},
		{"new and exited: ran between two lists", nil, poll(0), exited(ctr, 1, 2, 3, "Error"), []seen{exact(container.KindCreated, 0), exact(container.KindStarted, 1), exact(container.KindStopped, 2)}},
		{"new and exited at once, before its start by the runtime's clocks", nil, poll(0), exited(ctr, 2, 1, 0, "Completed"), []seen{exact(container.KindCreated, 0), exact(container.KindStarted, 2), exact(container.KindStopped, 1)}},
		{"new and exited long before its start: that time is dropped", nil, poll(0), exited(ctr, 200, 1, 0, "Completed"), []seen{exact(container.KindCreated, 0), exact(container.KindStarted, 200), window(container.KindStopped, 1000)}},
		{"new and never started", nil, poll(0), neverStarted(ctr, 2), []seen{exact(container.KindCreated, 0), exact(container.KindStopped, 2)}},
		{"new and started at an unknown time", nil, poll(0), &container.Snapshot{Container: ctr, State: container.StateRunning}, []seen{exact(container.KindCreated, 0), window(container.KindStarted, 1000)}},

		{"created, still created", []*container.Snapshot{created(ctr)}, poll(0), created(ctr), nil},
		{"created, running", []*container.Snapshot{created(ctr)}, poll(0), running(ctr, 1), []seen{exact(container.KindStarted, 1)}},
		{"created, exited", []*container.Snapshot{created(ctr)}, poll(0), exited(ctr, 1, 2, 0, "Completed"), []seen{exact(container.KindStarted, 1), exact(container.KindStopped, 2)}},
		{"created, start failed", []*container.Snapshot{created(ctr)}, poll(0), neverStarted(ctr, 2), []seen{exact(container.KindStopped, 2)}},
		{"created, absent", []*container.Snapshot{created(ctr)}, poll(0), nil, []seen{window(container.KindRemoved, 1000)}},

		{"running, still running", []*container.Snapshot{running(ctr, 1)}, poll(0), running(ctr, 1), nil},
		{"running, exited", []*container.Snapshot{running(ctr, 1)}, poll(0), exited(ctr, 1, 2, 3, "Error"), []seen{exact(container.KindStopped, 2)}},
		{"running, exited while the runtime was down", []*container.Snapshot{running(ctr, 1)}, poll(0), exitLost(ctr, 1, 995), []seen{window(container.KindStopped, 995)}},
		{"running, a process inside OOM-killed", []*container.Snapshot{running(ctr, 1)}, poll(0), withOOM(running(ctr, 1)), []seen{window(container.KindOOM, 1000)}},
		{"running, that OOM already reported", []*container.Snapshot{withOOM(running(ctr, 1))}, poll(0), withOOM(running(ctr, 1)), nil},
		{"running, a later run", []*container.Snapshot{running(ctr, 1)}, poll(0), restarts(running(ctr, 50), 1), []seen{window(container.KindStopped, 1000), exact(container.KindRestarted, 50)}},
		{"running, a later run that ended", []*container.Snapshot{running(ctr, 1)}, poll(0), restarts(exited(ctr, 50, 60, 1, "Error"), 1), []seen{window(container.KindStopped, 1000), exact(container.KindRestarted, 50), exact(container.KindStopped, 60)}},
		{"running, absent", []*container.Snapshot{running(ctr, 1)}, poll(0), nil, []seen{window(container.KindStopped, 1000), window(container.KindRemoved, 1000)}},
		{"running, paused", []*container.Snapshot{running(ctr, 1)}, poll(0), paused(ctr, 1), []seen{window(container.KindPaused, 1000)}},
		{"running, an earlier run: stale", []*container.Snapshot{running(ctr, 50)}, poll(0), running(ctr, 1), nil},
		{"running, the end of an earlier run: stale", []*container.Snapshot{running(ctr, 50)}, poll(0), exited(ctr, 1, 2, 0, ""), nil},
		{"running, created: stale", []*container.Snapshot{running(ctr, 1)}, poll(0), created(ctr), nil},
		{"running, unknown", []*container.Snapshot{running(ctr, 1)}, poll(0), &container.Snapshot{Container: ctr}, nil},

		{"paused, running", []*container.Snapshot{paused(ctr, 1)}, poll(0), running(ctr, 1), []seen{window(container.KindUnpaused, 1000)}},
		{"paused, running by a snapshot that does not show pauses", []*container.Snapshot{paused(ctr, 1)}, noPauses, running(ctr, 1), nil},
		{"paused, exited", []*container.Snapshot{paused(ctr, 1)}, poll(0), exited(ctr, 1, 2, 137, "Error"), []seen{exact(container.KindStopped, 2)}},
		{"paused, absent", []*container.Snapshot{paused(ctr, 1)}, poll(0), nil, []seen{window(container.KindStopped, 1000), window(container.KindRemoved, 1000)}},

		{"exited, still exited", []*container.Snapshot{exited(ctr, 1, 2, 3, "Error")}, poll(0), exited(ctr, 1, 2, 3, "Error"), nil},
		{"exited, OOM known late", []*container.Snapshot{exited(ctr, 1, 2, 137, "Error")}, poll(0), exited(ctr, 1, 2, 137, "OOMKilled"), []seen{{container.KindStopped, 2, container.PrecisionExact, 1}}},
		{"exited, a later report lacks the OOM", []*container.Snapshot{exited(ctr, 1, 2, 137, "OOMKilled")}, poll(0), exited(ctr, 1, 2, 137, "Error"), nil},
		{"exited, exit code lost by a restarted runtime", []*container.Snapshot{exited(ctr, 1, 2, 3, "Error")}, poll(0), exitLost(ctr, 1, 900), nil},
		{"exited, an older report", []*container.Snapshot{exited(ctr, 1, 20, 3, "Error")}, poll(0), exited(ctr, 1, 10, 4, "Error"), nil},
		{"exited by the event, and the status has another code a moment earlier: its shim died", []*container.Snapshot{exited(ctr, 1, 3, 137, "Error")}, poll(0), exited(ctr, 1, 2, 255, "Error"), []seen{{container.KindStopped, 2, container.PrecisionExact, 1}}},
		{"exit code lost, then known", []*container.Snapshot{exitLost(ctr, 1, 2)}, poll(0), exited(ctr, 1, 2, 7, "Error"), []seen{{container.KindStopped, 2, container.PrecisionExact, 1}}},
		{"exited, running a later run", []*container.Snapshot{exited(ctr, 1, 2, 3, "Error")}, poll(0), restarts(running(ctr, 50), 1), []seen{exact(container.KindRestarted, 50)}},
		{"exited, a later run that ended", []*container.Snapshot{exited(ctr, 1, 2, 3, "Error")}, poll(0), restarts(exited(ctr, 50, 51, 3, "Error"), 1), []seen{exact(container.KindRestarted, 50), exact(container.KindStopped, 51)}},
		{"exited, running the same run: reported wrongly by a restarted runtime", []*container.Snapshot{exited(ctr, 1, 2, 3, "Error")}, poll(0), running(ctr, 1), nil},
		{"exited, absent", []*container.Snapshot{exited(ctr, 1, 2, 3, "Error")}, poll(0), nil, []seen{window(container.KindRemoved, 1000)}},
		{"start failed, then started", []*container.Snapshot{neverStarted(ctr, 2)}, poll(0), running(ctr, 50), []seen{exact(container.KindStarted, 50)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := New(Options{})
			for i, s := range tt.known {
				observe(t, tr, s, poll(i-len(tt.known)))
			}
			var c Change
			if tt.now == nil {
				c = tr.Absent(ctr.ID, tt.obs)
			} else {
				c = tr.Observe(tt.now, tt.obs)
			}
			assert.Equal(t, tt.expect, brief(c.Transitions))
			tr.Apply(&c)
			if tt.now == nil {
				assert.Nil(t, tr.Known(ctr.ID))
				again := tr.Absent(ctr.ID, tt.obs)
				assert.True(t, again.Empty())
				return
			}
			again := tr.Observe(tt.now, tt.obs)
			assert.Empty(t, again.Transitions, "the same snapshot a second time")
		})
	}
}

func TestInventoryReportsWhatTheOptionsSelect(t *testing.T) {
	o := poll(0)
	o.Source, o.Since = container.SourceInventory, time.Time{}
	tests := []struct {
		name      string
		inventory Inventory
		now       *container.Snapshot
		expect    []seen
	}{
		{"running", InventoryRunning, running(ctr, 1), []seen{exact(container.KindStarted, 1)}},
		{"paused", InventoryRunning, paused(ctr, 1), []seen{exact(container.KindStarted, 1)}},
		{"a restarted one is a start too", InventoryRunning, running(next, 1), []seen{exact(container.KindStarted, 1)}},
		{"created", InventoryRunning, created(ctr), nil},
		{"exited", InventoryRunning, exited(ctr, 1, 2, 0, ""), nil},
		{"all: exited", InventoryAll, exited(ctr, 1, 2, 0, ""), []seen{exact(container.KindCreated, 0), exact(container.KindStarted, 1), exact(container.KindStopped, 2)}},
		{"all: running", InventoryAll, running(ctr, 1), []seen{exact(container.KindCreated, 0), exact(container.KindStarted, 1)}},
		{"none: running", InventoryNone, running(ctr, 1), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := New(Options{Inventory: tt.inventory})
			trs := observe(t, tr, tt.now, o)
			assert.Equal(t, tt.expect, brief(trs))
			for _, tr := range trs {
				assert.Equal(t, container.SourceInventory, tr.Provenance.Source)
			}
			require.NotNil(t, tr.Known(tt.now.Container.ID))
			assert.Empty(t, observe(t, tr, tt.now, poll(1)), "the same snapshot later")
		})
	}
}

func TestStopIsReportedWhenTheInventoryWasNot(t *testing.T) {
	tr := New(Options{Inventory: InventoryNone})
	o := poll(0)
	o.Source = container.SourceInventory
	observe(t, tr, running(ctr, 1), o)
	assert.Equal(t, []seen{exact(container.KindStopped, 2)}, brief(observe(t, tr, exited(ctr, 1, 2, 0, "Completed"), poll(1))))
}

func TestStopHasTheTimeThatTheRuntimeKeepsOfThePreviousRun(t *testing.T) {
	tr := New(Options{})
	observe(t, tr, running(ctr, 1), poll(0))
	s := restarts(running(ctr, 50), 1)
	s.Run.FinishedAt = at(49)
	trs := observe(t, tr, s, poll(1))
	assert.Equal(t, container.KindStopped, trs[0].Kind)
	assert.Equal(t, at(49), trs[0].When)
	assert.False(t, trs[0].Run.ExitKnown)
	assert.Equal(t, container.PrecisionWindow, trs[0].Provenance.Precision, "a time without an exit code is the end of a window")
}

func TestStopWindowBeginsBeforeTheLastObservationThatShowedItRunning(t *testing.T) {
	// containerd's CRI reported it as running at 100, although its process ended at 99.7. Then it was removed.
	tr := New(Options{})
	observe(t, tr, running(ctr, 10), Observation{At: at(100), Since: at(90), Source: container.SourceList})
	c := tr.Absent("c1", Observation{At: at(101), Since: at(100), Source: container.SourceList})
	ended := at(100).Add(-300 * time.Millisecond)
	assert.False(t, c.Transitions[0].Provenance.WindowStart.After(ended))
	assert.False(t, c.Transitions[0].When.Before(ended))
}

func TestEndWithoutAnExitCodeIsAWindowWhateverMadeTheInspectionDue(t *testing.T) {
	for _, source := range []container.Source{container.SourceStream, container.SourceList, container.SourceCheckpoint} {
		tr := New(Options{})
		observe(t, tr, running(ctr, 1), poll(0))
		trs := observe(t, tr, exitLost(ctr, 1, 50), Observation{At: at(60), Since: at(40), Source: source})
		require.Len(t, trs, 1)
		assert.Equal(t, container.PrecisionWindow, trs[0].Provenance.Precision, "%s: nobody saw it; the time is when the runtime was back", source)
		assert.Equal(t, at(40).Add(-endLag), trs[0].Provenance.WindowStart)
	}
}

func TestRebootStopsRunningContainers(t *testing.T) {
	tr := New(Options{})
	tr.Restore("c1", &Known{Container: ctr, State: container.StateRunning, Run: container.Run{StartedAt: at(1)}})
	tr.Restore("c2", &Known{Container: next, State: container.StateExited, Run: container.Run{StartedAt: at(1), FinishedAt: at(2)}})
	changes := tr.Rebooted(at(500), Observation{At: at(600), Since: at(400), Source: container.SourceCheckpoint})
	require.Len(t, changes, 1)
	stop := changes[0].Transitions[0]
	assert.Equal(t, ReasonHostReboot, stop.Run.Reason)
	assert.Equal(t, at(500), stop.When)
	assert.Equal(t, at(400).Add(-endLag), stop.Provenance.WindowStart)
	assert.Equal(t, container.PrecisionWindow, stop.Provenance.Precision)
	tr.Apply(&changes[0])
	assert.Empty(t, observe(t, tr, exitLost(ctr, 1, 550), poll(1)), "the runtime's own exit 255 afterwards adds nothing")
}

func TestRevisionDropsAnEndBeforeTheStart(t *testing.T) {
	tr := New(Options{})
	observe(t, tr, running(ctr, 1000), poll(0))
	trs := observe(t, tr, exited(ctr, 1000, 10, 137, "Error"), poll(1)) // the clock was set back meanwhile
	require.Len(t, trs, 1)
	assert.Equal(t, container.PrecisionWindow, trs[0].Provenance.Precision)
	trs = observe(t, tr, exited(ctr, 1000, 10, 137, "OOMKilled"), poll(2))
	require.Len(t, trs, 1)
	assert.EqualValues(t, 1, trs[0].Revision)
	assert.True(t, trs[0].Run.FinishedAt.IsZero(), "%s", trs[0].Run.FinishedAt)
	assert.Equal(t, container.PrecisionWindow, trs[0].Provenance.Precision)
}

func TestDroppedChangeIsFoundAgain(t *testing.T) {
	tr := New(Options{})
	dropped := tr.Observe(running(ctr, 1), poll(0))
	require.Len(t, dropped.Transitions, 2)
	assert.Zero(t, tr.Len())
	again := tr.Observe(exited(ctr, 1, 2, 0, "Completed"), poll(1))
	assert.Equal(t, []seen{exact(container.KindCreated, 0), exact(container.KindStarted, 1), exact(container.KindStopped, 2)}, brief(again.Transitions))
}
