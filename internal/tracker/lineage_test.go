// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
)

// nth gives the container of the nth attempt of one place, created at 100 n seconds.
func nth(n int) *container.Container {
	c := *ctr
	c.ID, c.Attempt, c.CreatedAt = fmt.Sprintf("n%d", n), uint32(n), at(100*n)
	return &c
}

func TestNextAttemptMissesNothing(t *testing.T) {
	tr := New(Options{})
	observe(t, tr, exited(nth(0), 1, 2, 3, "Error"), look(0))
	trs := observe(t, tr, running(nth(1), 101), look(1))
	require.Len(t, trs, 2)
	assert.Equal(t, container.KindRestarted, trs[1].Kind)
	assert.Zero(t, trs[1].Provenance.MissedRuns)
	assert.False(t, trs[1].Provenance.MissedUnknown)
}

func TestInventoryOfARestartedContainerMissesNothing(t *testing.T) {
	tr := New(Options{Inventory: InventoryAll})
	trs := observe(t, tr, running(nth(4), 401), Observation{At: at(500), Source: container.SourceInventory})
	require.Len(t, trs, 2)
	assert.Equal(t, container.KindRestarted, trs[1].Kind)
	assert.False(t, trs[1].Provenance.MissedUnknown, "what was before the first look was never watched")
	assert.Zero(t, trs[1].Provenance.MissedRuns)
}

// TestFailuresOfLongAgoAreNoCrashLoop finds, after a time away, ends that followed each other closely long before.
func TestFailuresOfLongAgoAreNoCrashLoop(t *testing.T) {
	tr := New(Options{CrashLoopThreshold: 3, CrashLoopWindow: time.Minute})
	for n := range 3 {
		c := nth(n)
		c.CreatedAt = at(10 * n)
		trs := observe(t, tr, exited(c, 10*n+1, 10*n+2, 3, "Error"), look(0))
		assert.Len(t, trs, 3)
	}
}

// TestNewsOfAnOlderAttemptLeavesTheNewestInItsPlace revises the end of an older attempt while a later one runs: the loop that
// it ends, and how the next one's predecessor ended, are of the later one.
func TestNewsOfAnOlderAttemptLeavesTheNewestInItsPlace(t *testing.T) {
	tr := New(Options{CrashLoopThreshold: 2, CrashLoopWindow: time.Hour})
	observe(t, tr, exited(nth(0), 1, 2, 137, "Error"), look(0))
	trs := observe(t, tr, exited(nth(1), 101, 102, 7, "Error"), look(0))
	assert.Equal(t, container.KindCrashLoop, trs[len(trs)-1].Kind)
	observe(t, tr, running(nth(2), 201), look(1))
	assert.Len(t, observe(t, tr, exited(nth(0), 1, 2, 137, "OOMKilled"), look(2)), 1)
	changes := tr.Tick(Observation{At: at(201 + 3601)})
	require.Len(t, changes, 1)
	assert.Equal(t, "n2", changes[0].ID)
	tr.Apply(&changes[0])
	assert.Len(t, observe(t, tr, exited(nth(2), 201, 202, 0, "Completed"), Observation{At: at(4000), Since: at(3900)}), 1)
	trs = observe(t, tr, running(nth(3), 4001), Observation{At: at(4010), Since: at(4000)})
	require.Len(t, trs, 2)
	assert.Equal(t, "n2", trs[1].Previous.ContainerID)
}

// TestCrashLoopIsRestoredWhateverComesFirst restores the containers of one place in both orders.
func TestCrashLoopIsRestoredWhateverComesFirst(t *testing.T) {
	was := New(Options{CrashLoopThreshold: 2, CrashLoopWindow: time.Hour})
	observe(t, was, exited(nth(0), 1, 2, 3, "Error"), look(0))
	observe(t, was, exited(nth(1), 101, 102, 3, "Error"), look(0))
	observe(t, was, running(nth(2), 201), look(0))
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}} {
		tr := New(Options{CrashLoopThreshold: 2, CrashLoopWindow: time.Hour})
		for _, n := range order {
			id := nth(n).ID
			tr.Restore(id, was.Known(id))
		}
		changes := tr.Tick(Observation{At: at(201 + 3601)})
		require.Len(t, changes, 1, order)
		assert.Equal(t, "n2", changes[0].ID)
		assert.Equal(t, container.KindCrashLoopEnded, changes[0].Transitions[0].Kind)
		trs := observe(t, tr, exited(nth(2), 201, 302, 3, "Error"), look(1))
		assert.Len(t, trs, 1, "the loop goes on")
	}
}

func TestEndOfAnOlderAttemptThatIsFoundLater(t *testing.T) {
	tr := New(Options{CrashLoopThreshold: 2, CrashLoopWindow: time.Hour})
	observe(t, tr, running(nth(0), 1), look(0))
	observe(t, tr, running(nth(1), 101), look(0))
	assert.Len(t, observe(t, tr, exited(nth(0), 1, 99, 3, "Error"), look(1)), 1)
	trs := observe(t, tr, running(nth(2), 201), look(1))
	require.Len(t, trs, 2)
	assert.Equal(t, "n1", trs[1].Previous.ContainerID, "the one before it, whatever was told last")
	trs = observe(t, tr, exited(nth(1), 101, 199, 3, "Error"), look(1))
	require.Len(t, trs, 2)
	assert.Equal(t, container.KindCrashLoop, trs[1].Kind, "both ends count")
}
