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

// nth returns the container of the nth attempt of one identity, created at 100 n seconds.
func nth(n int) *container.Container {
	c := *ctr
	c.ID, c.Attempt, c.CreatedAt = fmt.Sprintf("n%d", n), uint32(n), at(100*n)
	return &c
}

func TestRestartMissesNothingWhenTheAttemptIsTheNext(t *testing.T) {
	tr := New(Options{})
	observe(t, tr, exited(nth(0), 1, 2, 3, "Error"), poll(0))
	trs := observe(t, tr, running(nth(1), 101), poll(1))
	require.Len(t, trs, 2)
	assert.Equal(t, container.KindRestarted, trs[1].Kind)
	assert.Zero(t, trs[1].Provenance.MissedRuns)
	assert.False(t, trs[1].Provenance.MissedUnknown)
}

func TestRestartMissesNothingWhenFoundByInventory(t *testing.T) {
	tr := New(Options{Inventory: InventoryAll})
	trs := observe(t, tr, running(nth(4), 401), Observation{At: at(500), Source: container.SourceInventory})
	require.Len(t, trs, 2)
	assert.Equal(t, container.KindRestarted, trs[1].Kind)
	assert.False(t, trs[1].Provenance.MissedUnknown, "runs before the first list are not missed")
	assert.Zero(t, trs[1].Provenance.MissedRuns)
}

// The observer was down and finds failed ends that are close to each other but older than the window.
func TestCrashLoopIsNotReportedWhenTheFailuresAreOld(t *testing.T) {
	tr := New(Options{CrashLoopThreshold: 3, CrashLoopWindow: time.Minute})
	for n := range 3 {
		c := nth(n)
		c.CreatedAt = at(10 * n)
		trs := observe(t, tr, exited(c, 10*n+1, 10*n+2, 3, "Error"), poll(0))
		assert.Len(t, trs, 3)
	}
}

// The end of an older attempt is revised while a later one runs. The crash loop's end and the link of the next restart belong
// to the later one.
func TestNewestAttemptIsKeptWhenAnOlderOneIsRevised(t *testing.T) {
	tr := New(Options{CrashLoopThreshold: 2, CrashLoopWindow: time.Hour})
	observe(t, tr, exited(nth(0), 1, 2, 137, "Error"), poll(0))
	trs := observe(t, tr, exited(nth(1), 101, 102, 7, "Error"), poll(0))
	assert.Equal(t, container.KindCrashLoop, trs[len(trs)-1].Kind)
	observe(t, tr, running(nth(2), 201), poll(1))
	assert.Len(t, observe(t, tr, exited(nth(0), 1, 2, 137, "OOMKilled"), poll(2)), 1)
	changes := tr.Tick(Observation{At: at(201 + 3601)})
	require.Len(t, changes, 1)
	assert.Equal(t, "n2", changes[0].ID)
	tr.Apply(&changes[0])
	assert.Len(t, observe(t, tr, exited(nth(2), 201, 202, 0, "Completed"), Observation{At: at(4000), Since: at(3900)}), 1)
	trs = observe(t, tr, running(nth(3), 4001), Observation{At: at(4010), Since: at(4000)})
	require.Len(t, trs, 2)
	assert.Equal(t, "n2", trs[1].Previous.ContainerID)
}

func TestCrashLoopIsRestoredInAnyOrder(t *testing.T) {
	was := New(Options{CrashLoopThreshold: 2, CrashLoopWindow: time.Hour})
	observe(t, was, exited(nth(0), 1, 2, 3, "Error"), poll(0))
	observe(t, was, exited(nth(1), 101, 102, 3, "Error"), poll(0))
	observe(t, was, running(nth(2), 201), poll(0))
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
		trs := observe(t, tr, exited(nth(2), 201, 302, 3, "Error"), poll(1))
		assert.Len(t, trs, 1, "the loop goes on")
	}
}

func TestRestartLinksToTheAttemptBeforeItWhenAnOlderEndIsFoundLate(t *testing.T) {
	tr := New(Options{CrashLoopThreshold: 2, CrashLoopWindow: time.Hour})
	observe(t, tr, running(nth(0), 1), poll(0))
	observe(t, tr, running(nth(1), 101), poll(0))
	assert.Len(t, observe(t, tr, exited(nth(0), 1, 99, 3, "Error"), poll(1)), 1)
	trs := observe(t, tr, running(nth(2), 201), poll(1))
	require.Len(t, trs, 2)
	assert.Equal(t, "n1", trs[1].Previous.ContainerID, "the attempt before it, not the one reported last")
	trs = observe(t, tr, exited(nth(1), 101, 199, 3, "Error"), poll(1))
	require.Len(t, trs, 2)
	assert.Equal(t, container.KindCrashLoop, trs[1].Kind, "both ends count")
}
