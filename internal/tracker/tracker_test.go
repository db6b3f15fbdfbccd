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

// at is n seconds after the beginning of the test's time.
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

// seen is what a test expects of a transition.
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

// look is the nth look of a test, at second 1000 + 10 n, when the one before was 10 s ago.
func look(n int) Observation {
	return Observation{At: at(1000 + 10*n), Since: at(990 + 10*n), Source: container.SourceList}
}

func observe(t *testing.T, tr *Tracker, s *container.Snapshot, l Observation) []container.Transition {
	t.Helper()
	c := tr.Observe(s, l)
	tr.Apply(&c)
	return c.Transitions
}

// TestTransitions is the transition table of the design: what was known, what a later look shows, what is reported.
func TestTransitions(t *testing.T) {
	blind := look(0)
	blind.PauseHidden = true
	tests := []struct {
		name   string
		known  []*container.Snapshot // looks before, all reported
		look   Observation
		now    *container.Snapshot // nil: absent
		expect []seen
	}{
		{"new and created", nil, look(0), created(ctr), []seen{exact(container.KindCreated, 0)}},
		{"new and running", nil, look(0), running(ctr, 1), []seen{exact(container.KindCreated, 0), exact(container.KindStarted, 1)}},
		{"new and running, attempt 1", nil, look(0), running(next, 101), []seen{exact(container.KindCreated, 100), exact(container.KindRestarted, 101)}},
		{"new and paused", nil, look(0), paused(ctr, 1), []seen{exact(container.KindCreated, 0), exact(container.KindStarted, 1), window(container.KindPaused, 1000)}},
		{"new and exited: lived between two looks", nil, look(0), exited(ctr, 1, 2, 3, "Error"), []seen{exact(container.KindCreated, 0), exact(container.KindStarted, 1), exact(container.KindStopped, 2)}},
		{"new and exited at once, before it started by the runtime's clocks", nil, look(0), exited(ctr, 2, 1, 0, "Completed"), []seen{exact(container.KindCreated, 0), exact(container.KindStarted, 2), exact(container.KindStopped, 1)}},
		{"new and exited long before it started: that is no time", nil, look(0), exited(ctr, 200, 1, 0, "Completed"), []seen{exact(container.KindCreated, 0), exact(container.KindStarted, 200), window(container.KindStopped, 1000)}},
		{"new and never started", nil, look(0), neverStarted(ctr, 2), []seen{exact(container.KindCreated, 0), exact(container.KindStopped, 2)}},
		{"new and started at a time that nobody tells", nil, look(0), &container.Snapshot{Container: ctr, State: container.StateRunning}, []seen{exact(container.KindCreated, 0), window(container.KindStarted, 1000)}},

		{"created, still created", []*container.Snapshot{created(ctr)}, look(0), created(ctr), nil},
		{"created, running", []*container.Snapshot{created(ctr)}, look(0), running(ctr, 1), []seen{exact(container.KindStarted, 1)}},
		{"created, exited", []*container.Snapshot{created(ctr)}, look(0), exited(ctr, 1, 2, 0, "Completed"), []seen{exact(container.KindStarted, 1), exact(container.KindStopped, 2)}},
		{"created, start failed", []*container.Snapshot{created(ctr)}, look(0), neverStarted(ctr, 2), []seen{exact(container.KindStopped, 2)}},
		{"created, absent", []*container.Snapshot{created(ctr)}, look(0), nil, []seen{window(container.KindRemoved, 1000)}},

		{"running, still running", []*container.Snapshot{running(ctr, 1)}, look(0), running(ctr, 1), nil},
		{"running, exited", []*container.Snapshot{running(ctr, 1)}, look(0), exited(ctr, 1, 2, 3, "Error"), []seen{exact(container.KindStopped, 2)}},
		{"running, exited while the runtime was down", []*container.Snapshot{running(ctr, 1)}, look(0), exitLost(ctr, 1, 995), []seen{window(container.KindStopped, 995)}},
		{"running, a process inside OOM-killed", []*container.Snapshot{running(ctr, 1)}, look(0), withOOM(running(ctr, 1)), []seen{window(container.KindOOM, 1000)}},
		{"running, that OOM already told", []*container.Snapshot{withOOM(running(ctr, 1))}, look(0), withOOM(running(ctr, 1)), nil},
		{"running, a later run", []*container.Snapshot{running(ctr, 1)}, look(0), restarts(running(ctr, 50), 1), []seen{window(container.KindStopped, 1000), exact(container.KindRestarted, 50)}},
		{"running, a later run that ended", []*container.Snapshot{running(ctr, 1)}, look(0), restarts(exited(ctr, 50, 60, 1, "Error"), 1), []seen{window(container.KindStopped, 1000), exact(container.KindRestarted, 50), exact(container.KindStopped, 60)}},
		{"running, absent", []*container.Snapshot{running(ctr, 1)}, look(0), nil, []seen{window(container.KindStopped, 1000), window(container.KindRemoved, 1000)}},
		{"running, paused", []*container.Snapshot{running(ctr, 1)}, look(0), paused(ctr, 1), []seen{window(container.KindPaused, 1000)}},
		{"running, an earlier run: stale", []*container.Snapshot{running(ctr, 50)}, look(0), running(ctr, 1), nil},
		{"running, the end of an earlier run: stale", []*container.Snapshot{running(ctr, 50)}, look(0), exited(ctr, 1, 2, 0, ""), nil},
		{"running, created: stale", []*container.Snapshot{running(ctr, 1)}, look(0), created(ctr), nil},
		{"running, unknown", []*container.Snapshot{running(ctr, 1)}, look(0), &container.Snapshot{Container: ctr}, nil},

		{"paused, running", []*container.Snapshot{paused(ctr, 1)}, look(0), running(ctr, 1), []seen{window(container.KindUnpaused, 1000)}},
		{"paused, running by a look that sees no pause", []*container.Snapshot{paused(ctr, 1)}, blind, running(ctr, 1), nil},
		{"paused, exited", []*container.Snapshot{paused(ctr, 1)}, look(0), exited(ctr, 1, 2, 137, "Error"), []seen{exact(container.KindStopped, 2)}},
		{"paused, absent", []*container.Snapshot{paused(ctr, 1)}, look(0), nil, []seen{window(container.KindStopped, 1000), window(container.KindRemoved, 1000)}},

		{"exited, still exited", []*container.Snapshot{exited(ctr, 1, 2, 3, "Error")}, look(0), exited(ctr, 1, 2, 3, "Error"), nil},
		{"exited, OOM known late", []*container.Snapshot{exited(ctr, 1, 2, 137, "Error")}, look(0), exited(ctr, 1, 2, 137, "OOMKilled"), []seen{{container.KindStopped, 2, container.PrecisionExact, 1}}},
		{"exited, OOM taken back: not believed", []*container.Snapshot{exited(ctr, 1, 2, 137, "OOMKilled")}, look(0), exited(ctr, 1, 2, 137, "Error"), nil},
		{"exited, exit lost by a restarted runtime", []*container.Snapshot{exited(ctr, 1, 2, 3, "Error")}, look(0), exitLost(ctr, 1, 900), nil},
		{"exited, an older account", []*container.Snapshot{exited(ctr, 1, 20, 3, "Error")}, look(0), exited(ctr, 1, 10, 4, "Error"), nil},
		{"exited by the event, and the runtime says otherwise a moment before it: its shim died", []*container.Snapshot{exited(ctr, 1, 3, 137, "Error")}, look(0), exited(ctr, 1, 2, 255, "Error"), []seen{{container.KindStopped, 2, container.PrecisionExact, 1}}},
		{"exit lost, then known", []*container.Snapshot{exitLost(ctr, 1, 2)}, look(0), exited(ctr, 1, 2, 7, "Error"), []seen{{container.KindStopped, 2, container.PrecisionExact, 1}}},
		{"exited, running a later run", []*container.Snapshot{exited(ctr, 1, 2, 3, "Error")}, look(0), restarts(running(ctr, 50), 1), []seen{exact(container.KindRestarted, 50)}},
		{"exited, a later run that ended", []*container.Snapshot{exited(ctr, 1, 2, 3, "Error")}, look(0), restarts(exited(ctr, 50, 51, 3, "Error"), 1), []seen{exact(container.KindRestarted, 50), exact(container.KindStopped, 51)}},
		{"exited, running the same run: mis-remembered", []*container.Snapshot{exited(ctr, 1, 2, 3, "Error")}, look(0), running(ctr, 1), nil},
		{"exited, absent", []*container.Snapshot{exited(ctr, 1, 2, 3, "Error")}, look(0), nil, []seen{window(container.KindRemoved, 1000)}},
		{"start failed, then started", []*container.Snapshot{neverStarted(ctr, 2)}, look(0), running(ctr, 50), []seen{exact(container.KindStarted, 50)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := New(Options{})
			for i, s := range tt.known {
				observe(t, tr, s, look(i-len(tt.known)))
			}
			var c Change
			if tt.now == nil {
				c = tr.Absent(ctr.ID, tt.look)
			} else {
				c = tr.Observe(tt.now, tt.look)
			}
			assert.Equal(t, tt.expect, brief(c.Transitions))
			tr.Apply(&c)
			if tt.now == nil {
				assert.Nil(t, tr.Known(ctr.ID))
				again := tr.Absent(ctr.ID, tt.look)
				assert.True(t, again.Empty())
				return
			}
			again := tr.Observe(tt.now, tt.look)
			assert.Empty(t, again.Transitions, "the same look a second time tells nothing")
		})
	}
}

func TestInventory(t *testing.T) {
	l := look(0)
	l.Source, l.Since = container.SourceInventory, time.Time{}
	tests := []struct {
		name      string
		inventory Inventory
		now       *container.Snapshot
		expect    []seen
	}{
		{"running", InventoryRunning, running(ctr, 1), []seen{exact(container.KindStarted, 1)}},
		{"paused", InventoryRunning, paused(ctr, 1), []seen{exact(container.KindStarted, 1)}},
		{"a restarted one is a start, too", InventoryRunning, running(next, 1), []seen{exact(container.KindStarted, 1)}},
		{"created", InventoryRunning, created(ctr), nil},
		{"exited", InventoryRunning, exited(ctr, 1, 2, 0, ""), nil},
		{"all: exited", InventoryAll, exited(ctr, 1, 2, 0, ""), []seen{exact(container.KindCreated, 0), exact(container.KindStarted, 1), exact(container.KindStopped, 2)}},
		{"all: running", InventoryAll, running(ctr, 1), []seen{exact(container.KindCreated, 0), exact(container.KindStarted, 1)}},
		{"none: running", InventoryNone, running(ctr, 1), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := New(Options{Inventory: tt.inventory})
			trs := observe(t, tr, tt.now, l)
			assert.Equal(t, tt.expect, brief(trs))
			for _, tr := range trs {
				assert.Equal(t, container.SourceInventory, tr.Provenance.Source)
			}
			require.NotNil(t, tr.Known(tt.now.Container.ID))
			assert.Empty(t, observe(t, tr, tt.now, look(1)), "a later look at the same tells nothing")
		})
	}
}

func TestInventoryThenEnd(t *testing.T) {
	tr := New(Options{Inventory: InventoryNone})
	l := look(0)
	l.Source = container.SourceInventory
	observe(t, tr, running(ctr, 1), l)
	assert.Equal(t, []seen{exact(container.KindStopped, 2)}, brief(observe(t, tr, exited(ctr, 1, 2, 0, "Completed"), look(1))))
}

func TestRestartLinksToThePreviousRun(t *testing.T) {
	tr := New(Options{})
	observe(t, tr, running(ctr, 1), look(0))
	observe(t, tr, exited(ctr, 1, 2, 3, "Error"), look(1))
	trs := observe(t, tr, running(next, 101), look(2))
	require.Len(t, trs, 2)
	assert.Equal(t, &container.Previous{ContainerID: "c1", FinishedAt: at(2), ExitCode: 3, ExitKnown: true, Reason: "Error"}, trs[1].Previous)
	assert.Zero(t, trs[1].Provenance.MissedRuns)
	assert.False(t, trs[1].Provenance.MissedUnknown)
}

func TestARestartIsLookedAtAfterTheRemovalOfWhatItReplaced(t *testing.T) {
	remove := func() *Tracker {
		tr := New(Options{})
		observe(t, tr, running(ctr, 1), look(0))
		observe(t, tr, exited(ctr, 1, 2, 3, "Error"), look(1))
		c := tr.Absent("c1", look(2))
		tr.Apply(&c)
		return tr
	}
	tr := remove()
	tr.Tick(look(3))
	tr.Tick(look(3)) // lists may follow each other at once
	tr.Tick(look(4))
	trs := observe(t, tr, running(next, 101), look(4))
	require.Len(t, trs, 2)
	assert.Equal(t, "c1", trs[1].Previous.ContainerID)
	assert.False(t, trs[1].Provenance.MissedUnknown, "the run before is known")

	tr = remove()
	tr.Tick(look(3))
	tr.Tick(look(9))
	assert.Empty(t, tr.lineages, "what does not come back is forgotten")
}

func TestMissedRuns(t *testing.T) {
	attempt := func(n uint32) *container.Container {
		c := *next
		c.ID, c.Attempt = string(rune('c'))+string(rune('0'+n)), n
		return &c
	}
	t.Run("attempts that were never seen", func(t *testing.T) {
		tr := New(Options{})
		observe(t, tr, exited(ctr, 1, 2, 3, "Error"), look(0))
		trs := observe(t, tr, running(attempt(4), 101), look(1))
		assert.EqualValues(t, 3, trs[1].Provenance.MissedRuns)
	})
	t.Run("also when it was seen created first", func(t *testing.T) {
		tr := New(Options{})
		observe(t, tr, exited(ctr, 1, 2, 3, "Error"), look(0))
		observe(t, tr, created(attempt(4)), look(1))
		trs := observe(t, tr, running(attempt(4), 101), look(2))
		assert.EqualValues(t, 3, trs[0].Provenance.MissedRuns)
	})
	t.Run("a restart of something never seen", func(t *testing.T) {
		tr := New(Options{})
		trs := observe(t, tr, running(next, 101), look(0))
		assert.True(t, trs[1].Provenance.MissedUnknown)
	})
	t.Run("one id, the counter tells", func(t *testing.T) {
		tr := New(Options{})
		observe(t, tr, running(ctr, 1), look(0))
		trs := observe(t, tr, restarts(running(ctr, 50), 3), look(1))
		assert.EqualValues(t, 2, trs[1].Provenance.MissedRuns)
	})
	t.Run("one id, the counter does not move", func(t *testing.T) {
		tr := New(Options{})
		observe(t, tr, exited(ctr, 1, 2, 0, ""), look(0))
		trs := observe(t, tr, running(ctr, 50), look(1))
		assert.True(t, trs[0].Provenance.MissedUnknown)
	})
	t.Run("one id, first seen after restarts", func(t *testing.T) {
		tr := New(Options{})
		trs := observe(t, tr, restarts(running(ctr, 50), 3), look(1))
		assert.Equal(t, container.KindRestarted, trs[1].Kind)
		assert.EqualValues(t, 3, trs[1].Provenance.MissedRuns)
	})
	t.Run("vanished while running", func(t *testing.T) {
		tr := New(Options{})
		observe(t, tr, running(ctr, 1), look(0))
		c := tr.Absent("c1", look(1))
		assert.True(t, c.Transitions[0].Provenance.MissedUnknown)
		assert.Equal(t, latest(look(1).Since.Add(-endLag), at(1)), c.Transitions[0].Provenance.WindowStart)
		assert.Equal(t, look(1).Since, c.Transitions[1].Provenance.WindowStart, "what is listed is there")
		assert.False(t, c.Transitions[0].Run.ExitKnown)
	})
}

func TestTheEndOfTheRunBeforeIsExactWhereTheRuntimeKeepsIt(t *testing.T) {
	tr := New(Options{})
	observe(t, tr, running(ctr, 1), look(0))
	s := restarts(running(ctr, 50), 1)
	s.Run.FinishedAt = at(49)
	trs := observe(t, tr, s, look(1))
	assert.Equal(t, container.KindStopped, trs[0].Kind)
	assert.Equal(t, at(49), trs[0].When)
	assert.False(t, trs[0].Run.ExitKnown)
	assert.Equal(t, container.PrecisionWindow, trs[0].Provenance.Precision, "a time without an exit is the end of a window")
}

func TestAnEndBeforeALookThatStillShowedItRunning(t *testing.T) {
	// containerd's CRI called it running at 100 although its process had ended at 99.7; then it was removed.
	tr := New(Options{})
	observe(t, tr, running(ctr, 10), Observation{At: at(100), Since: at(90), Source: container.SourceList})
	c := tr.Absent("c1", Observation{At: at(101), Since: at(100), Source: container.SourceList})
	ended := at(100).Add(-300 * time.Millisecond)
	assert.False(t, c.Transitions[0].Provenance.WindowStart.After(ended))
	assert.False(t, c.Transitions[0].When.Before(ended))
}

func TestARestartWhileTheEndOfTheRunBeforeIsNotKnownYet(t *testing.T) {
	// The end of attempt 1 is told after the start of attempt 2: the link must not skip it.
	third := &container.Container{Engine: "containerd", ID: "c3", Name: "api", CreatedAt: at(200), Attempt: 2, Pod: ctr.Pod}
	tr := New(Options{})
	observe(t, tr, exited(ctr, 1, 2, 3, "Error"), look(0))
	observe(t, tr, running(next, 101), look(1))
	observe(t, tr, created(third), look(2))
	trs := observe(t, tr, running(third, 201), look(2))
	assert.Equal(t, &container.Previous{ContainerID: "c2"}, trs[0].Previous)
	assert.Zero(t, trs[0].Provenance.MissedRuns)
	assert.False(t, trs[0].Provenance.MissedUnknown)
}

func TestARestartThatIsSeenAfterLaterOnes(t *testing.T) {
	// Attempt 1 could not be looked at until attempt 3 had been.
	fourth := &container.Container{Engine: "containerd", ID: "c4", Name: "api", CreatedAt: at(300), Attempt: 3, Pod: ctr.Pod}
	tr := New(Options{})
	observe(t, tr, exited(ctr, 1, 2, 3, "Error"), look(0))
	observe(t, tr, created(next), look(0))
	observe(t, tr, running(fourth, 301), look(1))
	trs := observe(t, tr, exited(next, 101, 102, 3, "Error"), look(2))
	require.Len(t, trs, 2)
	assert.Equal(t, container.KindRestarted, trs[0].Kind)
	require.NotNil(t, trs[0].Previous)
	assert.Equal(t, "c1", trs[0].Previous.ContainerID)
	assert.Zero(t, trs[0].Provenance.MissedRuns)

	observe(t, tr, running(fourth, 301), look(3))
	c := tr.Absent("c1", look(3))
	tr.Apply(&c)
	c = tr.Absent("c2", look(3))
	tr.Apply(&c)
	trs = observe(t, tr, exited(next, 101, 102, 3, "Error"), look(4)) // nothing before it is remembered any more
	assert.Equal(t, container.KindRestarted, trs[1].Kind)
	assert.Nil(t, trs[1].Previous)
	assert.True(t, trs[1].Provenance.MissedUnknown)
}

func TestReboot(t *testing.T) {
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
	assert.Empty(t, observe(t, tr, exitLost(ctr, 1, 550), look(1)), "the runtime's own 255 afterwards is no news")
}

func TestARevisionTakesNoEndBeforeTheStart(t *testing.T) {
	tr := New(Options{})
	observe(t, tr, running(ctr, 1000), look(0))
	trs := observe(t, tr, exited(ctr, 1000, 10, 137, "Error"), look(1)) // the clock was set back meanwhile
	require.Len(t, trs, 1)
	assert.Equal(t, container.PrecisionWindow, trs[0].Provenance.Precision)
	trs = observe(t, tr, exited(ctr, 1000, 10, 137, "OOMKilled"), look(2))
	require.Len(t, trs, 1)
	assert.EqualValues(t, 1, trs[0].Revision)
	assert.True(t, trs[0].Run.FinishedAt.IsZero(), "%s", trs[0].Run.FinishedAt)
	assert.Equal(t, container.PrecisionWindow, trs[0].Provenance.Precision)
}

func TestAChangeThatIsDroppedIsFoundAgain(t *testing.T) {
	tr := New(Options{})
	dropped := tr.Observe(running(ctr, 1), look(0))
	require.Len(t, dropped.Transitions, 2)
	assert.Zero(t, tr.Len())
	again := tr.Observe(exited(ctr, 1, 2, 0, "Completed"), look(1))
	assert.Equal(t, []seen{exact(container.KindCreated, 0), exact(container.KindStarted, 1), exact(container.KindStopped, 2)}, brief(again.Transitions))
}

func TestCrashLoop(t *testing.T) {
	attempt := func(n int) *container.Container {
		c := *ctr
		c.ID, c.Attempt, c.CreatedAt = "c"+string(rune('0'+n)), uint32(n), at(n*10)
		return &c
	}
	fail := func(tr *Tracker, n int, code uint32) []container.Transition {
		l := Observation{At: at(n*10 + 5), Since: at(n*10 - 5), Source: container.SourceList}
		return observe(t, tr, exited(attempt(n), n*10+1, n*10+2, code, "Error"), l)
	}
	opts := Options{CrashLoopThreshold: 3, CrashLoopWindow: 10 * time.Minute}
	t.Run("begins at the threshold, once, and names the dominant exit", func(t *testing.T) {
		tr := New(opts)
		assert.Len(t, fail(tr, 0, 3), 3)
		assert.Len(t, fail(tr, 1, 7), 3)
		trs := fail(tr, 2, 3)
		require.Len(t, trs, 4)
		assert.Equal(t, container.KindCrashLoop, trs[3].Kind)
		assert.Equal(t, &container.CrashLoop{Count: 3, Window: 10 * time.Minute, ExitCode: 3, Reason: "Error"}, trs[3].CrashLoop)
		assert.Len(t, fail(tr, 3, 3), 3, "a loop that goes on is not begun again")
	})
	t.Run("ends when a run outlives the window", func(t *testing.T) {
		tr := New(opts)
		for n := range 4 {
			fail(tr, n, 3)
		}
		observe(t, tr, running(attempt(4), 41), Observation{At: at(42), Source: container.SourceList})
		assert.Empty(t, tr.Tick(Observation{At: at(41 + 599)}))
		changes := tr.Tick(Observation{At: at(41 + 601)})
		require.Len(t, changes, 1)
		end := changes[0].Transitions[0]
		assert.Equal(t, container.KindCrashLoopEnded, end.Kind)
		assert.Equal(t, at(641), end.When)
		assert.EqualValues(t, 4, end.CrashLoop.Count)
		tr.Apply(&changes[0])
		assert.Empty(t, tr.Tick(Observation{At: at(2000)}))
	})
	t.Run("success, unknown ends and old failures do not count", func(t *testing.T) {
		tr := New(opts)
		fail(tr, 0, 0)
		fail(tr, 1, 0)
		assert.Len(t, fail(tr, 2, 0), 3)
		fail(tr, 3, 1)
		fail(tr, 4, 1)
		assert.Len(t, fail(tr, 70, 1), 3)
	})
	t.Run("names the reason that was known a moment after the end", func(t *testing.T) {
		tr := New(opts)
		killed := func(n int) {
			fail(tr, n, 137)
			l := Observation{At: at(n*10 + 6), Since: at(n*10 + 5), Source: container.SourceList}
			trs := observe(t, tr, exited(attempt(n), n*10+1, n*10+2, 137, "OOMKilled"), l)
			require.Len(t, trs, 1, "a revision of the stop")
		}
		killed(0)
		killed(1)
		trs := fail(tr, 2, 137)
		require.Len(t, trs, 4)
		assert.Equal(t, "OOMKilled", trs[3].CrashLoop.Reason)
		assert.EqualValues(t, 3, trs[3].CrashLoop.Count)
	})
	t.Run("counts an end that is known to have failed only later", func(t *testing.T) {
		tr := New(opts)
		fail(tr, 0, 3)
		fail(tr, 1, 3)
		c, l := attempt(2), Observation{At: at(25), Since: at(15), Source: container.SourceList}
		assert.Len(t, observe(t, tr, exitLost(c, 21, 22), l), 3)
		trs := observe(t, tr, exited(c, 21, 22, 3, "Error"), Observation{At: at(26), Since: at(25), Source: container.SourceList})
		require.Len(t, trs, 2)
		assert.EqualValues(t, 1, trs[0].Revision)
		assert.Equal(t, container.KindCrashLoop, trs[1].Kind)
	})
	t.Run("survives the removal of every container of the identity, for the window", func(t *testing.T) {
		tr := New(opts)
		for n := range 2 {
			fail(tr, n, 3)
			c := tr.Absent(attempt(n).ID, Observation{At: at(n*10 + 6)})
			tr.Apply(&c)
		}
		assert.Zero(t, tr.Len())
		trs := fail(tr, 2, 3)
		assert.Equal(t, container.KindCrashLoop, trs[len(trs)-1].Kind)
		c := tr.Absent("c2", Observation{At: at(30)})
		tr.Apply(&c)
		tr.Tick(Observation{At: at(5000)})
		tr.Tick(Observation{At: at(5060)})
		assert.Empty(t, tr.lineages, "and is forgotten after it")
	})
	t.Run("is remembered by what a checkpoint keeps", func(t *testing.T) {
		tr := New(opts)
		for n := range 3 {
			fail(tr, n, 3)
		}
		restored := New(opts)
		for id, k := range tr.All {
			restored.Restore(id, k)
		}
		assert.Len(t, fail(restored, 3, 3), 3, "the loop is not begun a second time")
	})
}
