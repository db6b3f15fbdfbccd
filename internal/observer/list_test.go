// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

func TestTransitionsAreFoundByLists(t *testing.T) {
	tests := []struct {
		name   string
		before func(r *fakeRuntime) // before the first list
		then   func(r *fakeRuntime)
		expect []string
	}{
		{"inventory of what runs", func(r *fakeRuntime) { r.create("a"); r.start("a"); r.create("b") }, func(*fakeRuntime) {}, []string{"a started"}},
		{"a whole life, listed step by step", nil, func(r *fakeRuntime) {
			r.create("a")
			advance(2 * time.Second)
			r.start("a")
			advance(2 * time.Second)
			r.exit("a", 3, "Error")
			advance(2 * time.Second)
			r.remove("a")
		}, []string{"a created", "a started", "a stopped", "a removed"}},
		{"twenty lives between two lists", nil, func(r *fakeRuntime) {
			for i := range 20 {
				id := fmt.Sprintf("c%02d", i)
				r.create(id)
				time.Sleep(10 * time.Millisecond)
				r.start(id)
				time.Sleep(50 * time.Millisecond)
				r.exit(id, 0, "Completed")
			}
		}, func() (out []string) {
			for i := range 20 {
				id := fmt.Sprintf("c%02d", i)
				out = append(out, id+" created", id+" started", id+" stopped")
			}
			return out
		}()},
		{"OOM known a moment later", nil, func(r *fakeRuntime) {
			r.create("a")
			r.start("a")
			advance(2 * time.Second)
			r.exit("a", 137, "Error")
			advance(2100 * time.Millisecond)
			r.edit("a", func(s *container.Snapshot) { s.Run.Reason, s.Run.OOMKilled = "OOMKilled", true })
		}, []string{"a created", "a started", "a stopped", "a stopped"}},
		{"vanished while running", nil, func(r *fakeRuntime) {
			r.create("a")
			r.start("a")
			advance(2 * time.Second)
			r.remove("a")
		}, []string{"a created", "a started", "a stopped", "a removed"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newFakeRuntime()
				if tt.before != nil {
					tt.before(r)
				}
				b := observe(t, r, nil)
				advance(100 * time.Millisecond)
				tt.then(r)
				advance(10 * time.Second)
				b.stop()
				got := b.sink.reported()
				slices.SortStableFunc(got, func(x, y string) int { return strings.Compare(strings.Fields(x)[0], strings.Fields(y)[0]) })
				assert.Equal(t, tt.expect, got)
			})
		})
	}
}

func TestPIDIsRequestedOncePerRunUnlessANoticeHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreamRuntime()
		r.create("inventory")
		r.start("inventory")
		b := observe(t, r, nil)
		advance(time.Second)
		r.create("listed")
		r.start("listed")
		r.broken <- errors.New("cut, so that a list finds it")
		advance(5 * time.Second)
		r.create("noticed")
		r.notice(runtime.Notice{ID: "noticed", Kind: runtime.NoticeCreated})
		advance(100 * time.Millisecond)
		r.start("noticed")
		r.notice(runtime.Notice{ID: "noticed", Kind: runtime.NoticeStarted, PID: 99})
		advance(2 * time.Minute)
		b.stop()
		assert.Equal(t, 1, r.pids)
		for _, tr := range b.sink.transitions {
			if tr.Kind == container.KindStarted {
				assert.EqualValues(t, map[string]int{"inventory": 0, "listed": 4711, "noticed": 99}[tr.Container.ID], tr.Run.PID, tr.Container.ID)
			}
		}
	})
}

func TestIdleRuntimeCostsOneListPerPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRuntime()
		for i := range 100 {
			id := fmt.Sprint("c", i)
			r.create(id)
			r.start(id)
		}
		b := observe(t, r, nil)
		advance(100 * time.Millisecond)
		r.do(func() { clear(r.inspects); r.lists = 0 })
		advance(20 * time.Second)
		b.stop()
		assert.Equal(t, 10, r.lists)
		assert.Empty(t, r.inspects)
	})
}

func TestContainersAreInspectedOnceDuringALongInventory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRuntime()
		r.slowInspect = time.Second
		for i := range 40 { // 8 at once: 5 seconds, and a list every two
			id := fmt.Sprint("c", i)
			r.create(id)
			r.start(id)
		}
		b := observe(t, r, nil)
		advance(30 * time.Second)
		b.stop()
		assert.Len(t, r.inspects, 40)
		for id, n := range r.inspects {
			assert.Equal(t, 1, n, id)
		}
		assert.Len(t, b.sink.reported(), 40)
	})
}

func TestHungInspectionDelaysNoOtherContainer(t *testing.T) {
	observeLists(t, func(t *testing.T, r *fakeRuntime, b *fixture) {
		advance(100 * time.Millisecond)
		r.do(func() { r.hangInspect["hung"] = true })
		for _, id := range []string{"a", "hung", "z"} {
			r.create(id)
			r.start(id)
		}
		advance(2 * time.Second)
		assert.ElementsMatch(t, []string{"a created", "a started", "z created", "z started"}, b.sink.reported())
		r.create("later")
		r.start("later")
		advance(2 * time.Second)
		assert.Contains(t, b.sink.reported(), "later started", "while the inspect still hangs")
		r.do(func() { r.hangInspect["hung"] = false })
		advance(30 * time.Second)
		b.stop()
		assert.Contains(t, b.sink.reported(), "hung started")
		assert.Positive(t, b.tel.failed)
	})
}

func TestHungDescriptionDelaysNoOtherContainer(t *testing.T) {
	observeLists(t, func(t *testing.T, r *fakeRuntime, b *fixture) {
		advance(100 * time.Millisecond)
		r.do(func() { r.hangDescribe = "mute" })
		for _, id := range []string{"a", "mute", "z"} {
			r.create(id)
			r.start(id)
		}
		advance(2*time.Second + 2*describeTime)
		assert.ElementsMatch(t, []string{"a created", "a started", "z created", "z started"}, b.sink.reported())
		r.do(func() { r.hangDescribe = "" })
		advance(30 * time.Second)
		b.stop()
		assert.Contains(t, b.sink.reported(), "mute started")
	})
}

func TestRuntimeIsObservedAgainAfterOutages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRuntime()
		r.listErr = errors.New("connection refused")
		b := observe(t, r, nil)
		advance(10 * time.Second)
		require.Len(t, b.health, 1, "reported once")
		require.ErrorContains(t, b.health[0], "connection refused")
		r.create("a")
		r.start("a")
		r.do(func() { r.listErr = nil })
		advance(time.Minute)
		require.Len(t, b.health, 2)
		require.NoError(t, b.health[1])
		assert.Equal(t, []string{"a started"}, b.sink.reported(), "the first good list is the inventory")

		r.do(func() { r.hangList = true })
		advance(time.Minute)
		require.Len(t, b.health, 3)
		require.ErrorContains(t, b.health[2], "deadline")
		r.exit("a", 0, "Completed")
		r.do(func() { r.hangList = false })
		advance(2 * time.Minute)
		b.stop()
		assert.Equal(t, []string{"a started", "a stopped"}, b.sink.reported())
		assert.Equal(t, []string{container.CauseListFailed}, b.tel.gaps, "what came and went meanwhile was missed")
		assert.Equal(t, []string{
			"observing a runtime", "the runtime cannot be observed; trying again", "the runtime answers now",
			"the runtime cannot be observed; trying again", "the runtime answers again",
		}, b.tel.logged, "once for each outage")
	})
}

func TestFullOutboxCoalescesAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRuntime()
		b := observe(t, r, func(_ *fixture, o *Options) { o.OutboxCapacity = 10 })
		advance(100 * time.Millisecond)
		block := make(chan struct{})
		b.sink.block = block
		for i := range 20 {
			id := fmt.Sprint("c", i)
			r.create(id)
			r.start(id)
		}
		advance(10 * time.Second)
		assert.Empty(t, b.sink.reported())
		assert.LessOrEqual(t, b.obs.Stats().Outbox, 10)
		for i := range 20 {
			r.exit(fmt.Sprint("c", i), 0, "Completed")
		}
		for i := range 15 {
			r.create(fmt.Sprint("ghost", i))
		}
		advance(10 * time.Second)
		for i := range 15 {
			r.remove(fmt.Sprint("ghost", i)) // came and went while nothing could be reported
		}
		advance(10 * time.Second)
		close(block)
		advance(time.Minute)
		b.stop()
		reported := b.sink.reported()
		for i := range 20 {
			for _, kind := range []string{"created", "started", "stopped"} {
				n := 0
				for _, s := range reported {
					if s == fmt.Sprintf("c%d %s", i, kind) {
						n++
					}
				}
				assert.Equal(t, 1, n, "c%d %s", i, kind)
			}
		}
		ghosts := 0
		for _, s := range reported {
			if strings.HasPrefix(s, "ghost") && strings.HasSuffix(s, "removed") {
				ghosts++
			}
		}
		assert.Equal(t, 10, ghosts, "as many as the outbox may hold are remembered")
		assert.Equal(t, 5, b.tel.coalesced, "the others are counted and reported")
		require.Len(t, b.sink.gaps, 1)
		assert.Equal(t, container.CauseOutboxFull, b.sink.gaps[0].Cause)
		assert.EqualValues(t, 5, b.sink.gaps[0].Coalesced)
	})
}

func TestContainerIsReportedWhenGoneBeforeItsInspection(t *testing.T) {
	observeLists(t, func(t *testing.T, r *fakeRuntime, b *fixture) {
		advance(100 * time.Millisecond)
		r.create("a")
		r.exit("a", 0, "Completed")
		r.do(func() { r.unknown["a"] = true })
		advance(2 * time.Second)
		r.remove("a")
		advance(5 * time.Second)
		b.stop()
		assert.Equal(t, []string{"a created", "a removed"}, b.sink.reported())
		assert.Equal(t, []string{container.CauseRemovedUnseen}, b.tel.gaps, "its run was never observed, which is reported")
	})
}

func TestExcludedContainersAreNotInspected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRuntime()
		b := observe(t, r, func(_ *fixture, o *Options) {
			f, err := NewFilter(nil, []Match{{Containers: []string{"noisy-*"}}})
			require.NoError(t, err)
			o.Filter = f
		})
		advance(100 * time.Millisecond)
		r.create("noisy-1")
		r.create("api")
		advance(10 * time.Second)
		r.remove("noisy-1")
		advance(10 * time.Second)
		b.stop()
		assert.Equal(t, []string{"api created"}, b.sink.reported())
		assert.Zero(t, r.inspects["noisy-1"])
	})
}

// TestRechecksPastTheirBoundAreMadeByLists ends more containers at once than there is room for rechecks.
func TestRechecksPastTheirBoundAreMadeByLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRuntime()
		ids := []string{"a", "b", "c", "d", "e", "f"}
		for _, id := range ids {
			r.create(id)
			r.start(id)
		}
		b := observe(t, r, func(_ *fixture, o *Options) { o.OutboxCapacity = 4 })
		advance(10 * time.Second)
		for _, id := range ids {
			r.exit(id, 137, "Error")
		}
		advance(2*time.Second + 500*time.Millisecond)
		for _, id := range ids {
			r.exit(id, 137, "OOMKilled")
		}
		advance(30 * time.Second)
		b.stop()
		reasons := map[string]string{}
		for _, tr := range b.sink.transitions {
			if tr.Kind == container.KindStopped {
				reasons[tr.Container.ID] = tr.Run.Reason
			}
		}
		for _, id := range ids {
			assert.Equal(t, "OOMKilled", reasons[id], id)
		}
	})
}
