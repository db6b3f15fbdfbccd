// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestScheduleKeepsLanesInOrderAndItsLimit adds and ends inspections at random.
func TestScheduleKeepsLanesInOrderAndItsLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSchedule(rapid.IntRange(1, 4).Draw(t, "limit"))
		added, began := map[string][]string{}, map[string][]string{}
		var running []string // lanes
		check := func() {
			for e := s.next(); e != nil; e = s.next() {
				lane := e.list.summary.ID
				require.NotContains(t, running, lane, "one at a time of a lane")
				running = append(running, lane)
				began[lane] = append(began[lane], e.id)
			}
			require.LessOrEqual(t, s.running, s.limit)
			require.Len(t, running, s.running)
			require.Len(t, s.lanes, len(s.ready)+s.running)
			for lane, entries := range s.lanes {
				require.NotEmpty(t, entries, lane)
			}
		}
		for i := range rapid.IntRange(0, 60).Draw(t, "steps") {
			if len(running) > 0 && rapid.Bool().Draw(t, "done") {
				n := rapid.IntRange(0, len(running)-1).Draw(t, "which")
				s.done(running[n])
				running = slices.Delete(running, n, n+1)
			} else {
				e := &entry{id: strconv.Itoa(i)}
				e.list.summary.ID = rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "lane")
				added[e.list.summary.ID] = append(added[e.list.summary.ID], e.id)
				s.add(e.list.summary.ID, e)
			}
			check()
		}
		for len(running) > 0 {
			s.done(running[0])
			running = running[1:]
			check()
		}
		require.Equal(t, added, began, "each, in the order of its lane")
	})
}

func TestRechecksComeInOrderUpToTheirCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRechecks(3)
		defer r.timer.Stop()
		began := time.Now()
		assert.True(t, r.add("late", began, 3*time.Second))
		assert.True(t, r.add("early", began, time.Second))
		assert.True(t, r.add("middle", began, 2*time.Second))
		assert.False(t, r.add("too many", began, time.Millisecond))

		var order []string
		for range 3 {
			now := <-r.timer.C
			id, ok := r.next(now)
			require.True(t, ok)
			order = append(order, fmt.Sprint(id, " after ", now.Sub(began)))
			_, ok = r.next(now)
			assert.False(t, ok, "the others are not due, and the timer is set for the earliest of them")
		}
		assert.Equal(t, []string{"early after 1s", "middle after 2s", "late after 3s"}, order)
		assert.True(t, r.add("again", time.Now(), time.Second), "there is room again")
	})
}
