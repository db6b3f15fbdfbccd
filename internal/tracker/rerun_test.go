// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
)

// one is a container of Docker, where one id has many runs.
var one = &container.Container{Engine: "docker", ID: "d1", Name: "web", CreatedAt: at(0)}

func withHealth(s *container.Snapshot, result string) *container.Snapshot {
	s.Health = result
	return s
}

func TestHealthIsReportedWhenItChanges(t *testing.T) {
	tr := New(Options{})
	second := func(n int) Observation { return Observation{At: at(n), Since: at(n - 1), Source: container.SourceList} }

	first := observe(t, tr, withHealth(running(one, 1), "starting"), second(2))
	require.Len(t, first, 2, "created and started: a run begins with starting")
	got := observe(t, tr, withHealth(running(one, 1), "healthy"), second(5))
	require.Len(t, got, 1)
	assert.Equal(t, container.KindHealthChanged, got[0].Kind)
	assert.Equal(t, "healthy", got[0].Health)
	assert.Equal(t, container.PrecisionWindow, got[0].Provenance.Precision, "no notice had the time")
	assert.Equal(t, at(4), got[0].Provenance.WindowStart)

	assert.Empty(t, observe(t, tr, withHealth(running(one, 1), "healthy"), second(6)), "the same result again")
	assert.Empty(t, observe(t, tr, running(one, 1), second(7)), "a snapshot without a result")

	noticed := second(9)
	noticed.HappenedAt, noticed.Source = at(8), container.SourceStream
	got = observe(t, tr, withHealth(running(one, 1), "unhealthy"), noticed)
	require.Len(t, got, 1)
	assert.Equal(t, at(8), got[0].When)
	assert.Equal(t, container.PrecisionExact, got[0].Provenance.Precision)
	assert.EqualValues(t, 1, got[0].Ordinal, "the second change of this run")

	got = observe(t, tr, withHealth(restarts(running(one, 20), 1), "starting"), second(21))
	require.Len(t, got, 2, "stopped, restarted: no health")
	got = observe(t, tr, withHealth(restarts(running(one, 20), 1), "unhealthy"), second(30))
	require.Len(t, got, 1)
	assert.Zero(t, got[0].Ordinal, "the first change of the next run")
}

func TestHealthIsComparedWhenTheStartWasNotObserved(t *testing.T) {
	t.Run("between two lists", func(t *testing.T) {
		tr := New(Options{})
		c := tr.Observe(withHealth(running(one, 1), "unhealthy"), Observation{At: at(60), Since: at(0), Source: container.SourceList})
		require.Len(t, c.Transitions, 3)
		assert.Equal(t, container.KindHealthChanged, c.Transitions[2].Kind)
	})
	for _, inventory := range []Inventory{InventoryRunning, InventoryAll, InventoryNone} {
		t.Run("before the first list, inventory "+string(inventory), func(t *testing.T) {
			tr := New(Options{Inventory: inventory})
			c := tr.Observe(withHealth(running(one, 1), "unhealthy"), Observation{At: at(60), Source: container.SourceInventory})
			for i := range c.Transitions {
				assert.NotEqual(t, container.KindHealthChanged, c.Transitions[i].Kind)
			}
			tr.Apply(&c)
			c = tr.Observe(withHealth(running(one, 1), "healthy"), Observation{At: at(62), Since: at(60), Source: container.SourceList})
			require.Len(t, c.Transitions, 1)
			assert.Equal(t, "healthy", c.Transitions[0].Health)
		})
	}
}

func TestInventoryIgnoresTheEndOfThePreviousRun(t *testing.T) {
	tr := New(Options{Inventory: InventoryNone})
	s := running(one, 10)
	s.Run.FinishedAt = at(5)
	c := tr.Observe(s, Observation{At: at(20), Source: container.SourceInventory})
	tr.Apply(&c)
	s.State = container.StatePaused
	c = tr.Observe(s, Observation{At: at(21), Since: at(20), Source: container.SourceList})
	require.Len(t, c.Transitions, 1)
	assert.True(t, c.Transitions[0].Run.FinishedAt.IsZero())
}

func TestMissedRunsAreCountedFromStreamAndRuntime(t *testing.T) {
	cases := []struct {
		name     string
		obs      Observation
		restarts uint32
		runs     uint32
		unknown  bool
	}{
		{"no count", Observation{}, 0, 0, true},
		{"the stream reported none", Observation{RunsReported: true}, 0, 0, false},
		{"the stream reported two", Observation{RunsReported: true, MissedRuns: 2}, 0, 2, false},
		{"the engine counted", Observation{}, 3, 2, false},
		{"the engine counted more", Observation{RunsReported: true, MissedRuns: 1}, 5, 4, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tr := New(Options{})
			ch := tr.Observe(exited(one, 1, 2, 1, "Error"), Observation{At: at(3), Source: container.SourceList})
			tr.Apply(&ch)
			c.obs.At = at(11)
			ch = tr.Observe(restarts(running(one, 10), c.restarts), c.obs)
			require.Len(t, ch.Transitions, 1)
			assert.Equal(t, container.KindRestarted, ch.Transitions[0].Kind)
			assert.Equal(t, c.runs, ch.Transitions[0].Provenance.MissedRuns)
			assert.Equal(t, c.unknown, ch.Transitions[0].Provenance.MissedUnknown)
		})
	}
}

func TestRevisionKeepsTheStopSignal(t *testing.T) {
	tr := New(Options{})
	stopped := exited(one, 1, 2, 137, "Error")
	stopped.Run.StopSignal = "SIGKILL"
	c := tr.Observe(stopped, Observation{At: at(3), Source: container.SourceStream})
	tr.Apply(&c)
	c = tr.Observe(exited(one, 1, 2, 137, "OOMKilled"), Observation{At: at(4), Source: container.SourceList})
	require.Len(t, c.Transitions, 1)
	assert.Equal(t, "SIGKILL", c.Transitions[0].Run.StopSignal)
	assert.True(t, c.Transitions[0].Run.OOMKilled)
}
