// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
)

func TestMissedRunsAreReported(t *testing.T) {
	attempt := func(n uint32) *container.Container {
		c := *next
		c.ID, c.Attempt = string(rune('c'))+string(rune('0'+n)), n
		return &c
	}
	t.Run("unobserved attempts", func(t *testing.T) {
		tr := New(Options{})
		observe(t, tr, exited(ctr, 1, 2, 3, "Error"), poll(0))
		trs := observe(t, tr, running(attempt(4), 101), poll(1))
		assert.EqualValues(t, 3, trs[1].Provenance.MissedRuns)
	})
	t.Run("unobserved attempts, observed as created first", func(t *testing.T) {
		tr := New(Options{})
		observe(t, tr, exited(ctr, 1, 2, 3, "Error"), poll(0))
		observe(t, tr, created(attempt(4)), poll(1))
		trs := observe(t, tr, running(attempt(4), 101), poll(2))
		assert.EqualValues(t, 3, trs[0].Provenance.MissedRuns)
	})
	t.Run("a restart of an unknown container", func(t *testing.T) {
		tr := New(Options{})
		trs := observe(t, tr, running(next, 101), poll(0))
		assert.True(t, trs[1].Provenance.MissedUnknown)
	})
	t.Run("one id, the runtime counts", func(t *testing.T) {
		tr := New(Options{})
		observe(t, tr, running(ctr, 1), poll(0))
		trs := observe(t, tr, restarts(running(ctr, 50), 3), poll(1))
		assert.EqualValues(t, 2, trs[1].Provenance.MissedRuns)
	})
	t.Run("one id, the runtime does not count", func(t *testing.T) {
		tr := New(Options{})
		observe(t, tr, exited(ctr, 1, 2, 0, ""), poll(0))
		trs := observe(t, tr, running(ctr, 50), poll(1))
		assert.True(t, trs[0].Provenance.MissedUnknown)
	})
	t.Run("one id, first observed after restarts", func(t *testing.T) {
		tr := New(Options{})
		trs := observe(t, tr, restarts(running(ctr, 50), 3), poll(1))
		assert.Equal(t, container.KindRestarted, trs[1].Kind)
		assert.EqualValues(t, 3, trs[1].Provenance.MissedRuns)
	})
	t.Run("vanished while running", func(t *testing.T) {
		tr := New(Options{})
		observe(t, tr, running(ctr, 1), poll(0))
		c := tr.Absent("c1", poll(1))
		assert.True(t, c.Transitions[0].Provenance.MissedUnknown)
		assert.Equal(t, latest(poll(1).Since.Add(-endLag), at(1)), c.Transitions[0].Provenance.WindowStart)
		assert.Equal(t, poll(1).Since, c.Transitions[1].Provenance.WindowStart, "a listed container exists")
		assert.False(t, c.Transitions[0].Run.ExitKnown)
	})
}

func TestRestartLinksToThePreviousRun(t *testing.T) {
	tr := New(Options{})
	observe(t, tr, running(ctr, 1), poll(0))
	observe(t, tr, exited(ctr, 1, 2, 3, "Error"), poll(1))
	trs := observe(t, tr, running(next, 101), poll(2))
	require.Len(t, trs, 2)
	assert.Equal(t, &container.PreviousRun{ContainerID: "c1", FinishedAt: at(2), ExitCode: 3, ExitKnown: true, Reason: "Error"}, trs[1].Previous)
	assert.Zero(t, trs[1].Provenance.MissedRuns)
	assert.False(t, trs[1].Provenance.MissedUnknown)
}

func TestRestartLinksToThePreviousRunWhenThatWasRemovedFirst(t *testing.T) {
	removed := func() *Tracker {
		tr := New(Options{})
		observe(t, tr, running(ctr, 1), poll(0))
		observe(t, tr, exited(ctr, 1, 2, 3, "Error"), poll(1))
		remove(tr, "c1", poll(2))
		return tr
	}
	tr := removed()
	tr.Tick(poll(3))
	tr.Tick(poll(3)) // two lists at the same time
	tr.Tick(poll(4))
	trs := observe(t, tr, running(next, 101), poll(4))
	require.Len(t, trs, 2)
	assert.Equal(t, "c1", trs[1].Previous.ContainerID)
	assert.False(t, trs[1].Provenance.MissedUnknown, "the run before is known")

	tr = removed()
	tr.Tick(poll(3))
	tr.Tick(poll(9))
	assert.Empty(t, tr.lineages, "an identity without a new container is removed")
}

func TestRestartLinksToThePreviousRunWhenItsEndIsPending(t *testing.T) {
	// The end of attempt 1 is reported after the start of attempt 2: the link must not skip it.
	third := &container.Container{Engine: "containerd", ID: "c3", Name: "api", CreatedAt: at(200), Attempt: 2, Pod: ctr.Pod}
	tr := New(Options{})
	observe(t, tr, exited(ctr, 1, 2, 3, "Error"), poll(0))
	observe(t, tr, running(next, 101), poll(1))
	observe(t, tr, created(third), poll(2))
	trs := observe(t, tr, running(third, 201), poll(2))
	assert.Equal(t, &container.PreviousRun{ContainerID: "c2"}, trs[0].Previous)
	assert.Zero(t, trs[0].Provenance.MissedRuns)
	assert.False(t, trs[0].Provenance.MissedUnknown)
}

func TestRestartLinksToThePreviousRunWhenLaterAttemptsWereObservedFirst(t *testing.T) {
	// Attempt 1 could not be inspected before attempt 3.
	fourth := &container.Container{Engine: "containerd", ID: "c4", Name: "api", CreatedAt: at(300), Attempt: 3, Pod: ctr.Pod}
	tr := New(Options{})
	observe(t, tr, exited(ctr, 1, 2, 3, "Error"), poll(0))
	observe(t, tr, created(next), poll(0))
	observe(t, tr, running(fourth, 301), poll(1))
	trs := observe(t, tr, exited(next, 101, 102, 3, "Error"), poll(2))
	require.Len(t, trs, 2)
	assert.Equal(t, container.KindRestarted, trs[0].Kind)
	require.NotNil(t, trs[0].Previous)
	assert.Equal(t, "c1", trs[0].Previous.ContainerID)
	assert.Zero(t, trs[0].Provenance.MissedRuns)

	observe(t, tr, running(fourth, 301), poll(3))
	remove(tr, "c1", poll(3))
	remove(tr, "c2", poll(3))
	trs = observe(t, tr, exited(next, 101, 102, 3, "Error"), poll(4)) // no earlier attempt is tracked any more
	assert.Equal(t, container.KindRestarted, trs[1].Kind)
	assert.Nil(t, trs[1].Previous)
	assert.True(t, trs[1].Provenance.MissedUnknown)
}
