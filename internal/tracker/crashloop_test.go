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

func TestCrashLoopIsReported(t *testing.T) {
	attempt := func(n int) *container.Container {
		c := *ctr
		c.ID, c.Attempt, c.CreatedAt = "c"+string(rune('0'+n)), uint32(n), at(n*10)
		return &c
	}
	fail := func(tr *Tracker, n int, code uint32) []container.Transition {
		o := Observation{At: at(n*10 + 5), Since: at(n*10 - 5), Source: container.SourceList}
		return observe(t, tr, exited(attempt(n), n*10+1, n*10+2, code, "Error"), o)
	}
	opts := Options{CrashLoopThreshold: 3, CrashLoopWindow: 10 * time.Minute}
	t.Run("once, at the threshold, with the dominant exit", func(t *testing.T) {
		tr := New(opts)
		assert.Len(t, fail(tr, 0, 3), 3)
		assert.Len(t, fail(tr, 1, 7), 3)
		trs := fail(tr, 2, 3)
		require.Len(t, trs, 4)
		assert.Equal(t, container.KindCrashLoop, trs[3].Kind)
		assert.Equal(t, &container.CrashLoop{Count: 3, Window: 10 * time.Minute, ExitCode: 3, Reason: "Error"}, trs[3].CrashLoop)
		assert.Len(t, fail(tr, 3, 3), 3, "a continuing loop does not begin again")
	})
	t.Run("until a run outlives the window", func(t *testing.T) {
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
	t.Run("without successes and old failures", func(t *testing.T) {
		tr := New(opts)
		fail(tr, 0, 0)
		fail(tr, 1, 0)
		assert.Len(t, fail(tr, 2, 0), 3)
		fail(tr, 3, 1)
		fail(tr, 4, 1)
		assert.Len(t, fail(tr, 70, 1), 3)
	})
	t.Run("with the reason that a revision brought", func(t *testing.T) {
		tr := New(opts)
		killed := func(n int) {
			fail(tr, n, 137)
			o := Observation{At: at(n*10 + 6), Since: at(n*10 + 5), Source: container.SourceList}
			trs := observe(t, tr, exited(attempt(n), n*10+1, n*10+2, 137, "OOMKilled"), o)
			require.Len(t, trs, 1, "a revision of the stop")
		}
		killed(0)
		killed(1)
		trs := fail(tr, 2, 137)
		require.Len(t, trs, 4)
		assert.Equal(t, "OOMKilled", trs[3].CrashLoop.Reason)
		assert.EqualValues(t, 3, trs[3].CrashLoop.Count)
	})
	t.Run("with an end whose failure a revision shows", func(t *testing.T) {
		tr := New(opts)
		fail(tr, 0, 3)
		fail(tr, 1, 3)
		c, o := attempt(2), Observation{At: at(25), Since: at(15), Source: container.SourceList}
		assert.Len(t, observe(t, tr, exitLost(c, 21, 22), o), 3)
		trs := observe(t, tr, exited(c, 21, 22, 3, "Error"), Observation{At: at(26), Since: at(25), Source: container.SourceList})
		require.Len(t, trs, 2)
		assert.EqualValues(t, 1, trs[0].Revision)
		assert.Equal(t, container.KindCrashLoop, trs[1].Kind)
	})
	t.Run("after the removal of all containers, within the window", func(t *testing.T) {
		tr := New(opts)
		for n := range 2 {
			fail(tr, n, 3)
			remove(tr, attempt(n).ID, Observation{At: at(n*10 + 6)})
		}
		assert.Zero(t, tr.Len())
		trs := fail(tr, 2, 3)
		assert.Equal(t, container.KindCrashLoop, trs[len(trs)-1].Kind)
		remove(tr, "c2", Observation{At: at(30)})
		tr.Tick(Observation{At: at(5000)})
		tr.Tick(Observation{At: at(5060)})
		assert.Empty(t, tr.lineages, "removed after the window")
	})
	t.Run("once, when the state is restored", func(t *testing.T) {
		tr := New(opts)
		for n := range 3 {
			fail(tr, n, 3)
		}
		restored := New(opts)
		for id, k := range tr.All {
			restored.Restore(id, k)
		}
		assert.Len(t, fail(restored, 3, 3), 3, "the loop does not begin a second time")
	})
}
