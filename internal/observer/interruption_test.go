// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// covers reports whether a gap covers all the time between two moments.
func covers(g container.Gap, from, to time.Time) bool { return !g.From.After(from) && !g.To.Before(to) }

func TestShortStreamInterruptionIsAGap(t *testing.T) {
	observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
		advance(10 * time.Second)
		lost := time.Now()
		r.broken <- errors.New("stream cut")
		advance(100 * time.Millisecond)
		r.create("brief")
		r.remove("brief")
		came := time.Now()
		for !b.obs.Stats().Streaming {
			advance(10 * time.Millisecond)
		}
		delivers := time.Now().Add(400 * time.Millisecond) // containerd and dockerd answer before they have subscribed
		advance(time.Minute)
		b.stop()
		assert.Empty(t, b.sink.reported(), "nothing could show it")
		require.Len(t, b.sink.gaps, 1, "which is reported once")
		assert.Equal(t, container.CauseStreamLost, b.sink.gaps[0].Cause)
		assert.True(t, covers(b.sink.gaps[0], lost.Add(-900*time.Millisecond), came), "it includes what was not delivered any more")
		assert.True(t, covers(b.sink.gaps[0], came, delivers), "and what came before the new stream delivers")
		assert.Less(t, b.sink.gaps[0].To.Sub(lost), 10*time.Second)
	})
}

func TestStreamInterruptionWithFailedListsIsOneGap(t *testing.T) {
	observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
		advance(10 * time.Second)
		r.do(func() { r.listErr = errors.New("connection refused") })
		lost := time.Now()
		r.broken <- errors.New("stream cut")
		advance(30 * time.Second)
		back := time.Now()
		r.do(func() { r.listErr = nil })
		advance(2 * time.Minute)
		b.stop()
		require.Len(t, b.sink.gaps, 1)
		assert.Equal(t, container.CauseListFailed, b.sink.gaps[0].Cause)
		assert.True(t, covers(b.sink.gaps[0], lost, back))
	})
}

func TestStreamIsBackWithTheListsAfterALongOutage(t *testing.T) {
	observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
		advance(10 * time.Second)
		refused := errors.New("connection refused")
		r.do(func() { r.listErr, r.watchErr = refused, refused })
		r.broken <- refused
		advance(20 * time.Minute) // by now both are retried about once a minute, at moments of their own
		r.do(func() { r.listErr, r.watchErr = nil, nil })
		for b.obs.Stats().LastGoodList.Before(time.Now().Add(-time.Second)) {
			advance(10 * time.Millisecond)
		}
		advance(10 * time.Millisecond)
		assert.True(t, b.obs.Stats().Streaming, "a good list ends the wait of the stream")
		listed := time.Now()
		advance(10 * time.Second)
		b.stop()
		require.Len(t, b.sink.gaps, 1)
		assert.Less(t, b.sink.gaps[0].To.Sub(listed), 4*time.Second, "the gap closes with the first list that may close it")
	})
}

func TestLateNoticesAreAGap(t *testing.T) {
	observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
		advance(10 * time.Second)
		happened := time.Now()
		advance(20 * time.Second) // the observer had no CPU; then it reads of a container that is gone
		r.notice(runtime.Notice{ID: "brief", Kind: runtime.NoticeCreated, At: happened})
		r.notice(runtime.Notice{ID: "brief", Kind: runtime.NoticeDeleted, At: happened.Add(time.Second)})
		advance(time.Minute)
		b.stop()
		require.NotEmpty(t, b.sink.gaps)
		assert.Equal(t, container.CauseMailboxOverflow, b.sink.gaps[0].Cause)
		assert.True(t, covers(b.sink.gaps[0], happened, happened.Add(time.Second)))
	})
}

func TestDroppedNoticesAreAGapAndListedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreamRuntime()
		b := observe(t, r, func(_ *fixture, o *Options) { o.MailboxCapacity = 1 })
		advance(10 * time.Second)
		seen := time.Now()
		advance(10 * time.Second)
		r.create("silent") // whose notice is one of those that are lost
		for i := range 1000 {
			r.notice(runtime.Notice{ID: strconv.Itoa(i), Kind: runtime.NoticeDeleted, At: time.Now()})
		}
		advance(100 * time.Millisecond)
		lost := time.Now()
		assert.Equal(t, []string{"silent created"}, b.sink.reported(), "long before the next list")
		b.stop()
		assert.Positive(t, b.tel.overflowed)
		require.NotEmpty(t, b.sink.gaps)
		assert.Equal(t, container.CauseMailboxOverflow, b.sink.gaps[0].Cause)
		assert.False(t, b.sink.gaps[0].From.After(seen), "it begins with the last list")
		assert.False(t, b.sink.gaps[0].To.After(lost))
	})
}

func TestOldExitAndSnapshotAreNotLate(t *testing.T) {
	observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
		r.create("a")
		r.start("a")
		advance(10 * time.Second)
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: time.Now().Add(-5 * time.Second)})
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeStarted, At: time.Now().Add(-time.Minute), Snapshot: &container.Snapshot{State: container.StateUnknown}})
		advance(time.Minute)
		b.stop()
		assert.Empty(t, b.sink.gaps)
	})
}

func TestContainerIsCountedWhenGoneBeforeItWasFound(t *testing.T) {
	observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
		advance(10 * time.Second)
		came := time.Now()
		r.notice(runtime.Notice{ID: "brief", Kind: runtime.NoticeCreated, At: came})
		r.notice(runtime.Notice{ID: "brief", Kind: runtime.NoticeDeleted, At: came})
		advance(2 * time.Minute)
		b.stop()
		require.Len(t, b.sink.gaps, 1)
		assert.Equal(t, container.CauseRemovedUnseen, b.sink.gaps[0].Cause)
		assert.EqualValues(t, 1, b.sink.gaps[0].Coalesced)
		assert.True(t, covers(b.sink.gaps[0], came, came))
	})
}

func TestGapsAreReportedInOneWhenTheOutboxWasFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreamRuntime()
		block := make(chan struct{})
		b := observe(t, r, func(b *fixture, o *Options) {
			o.OutboxCapacity = 2
			b.sink.block = block
		})
		advance(10 * time.Second)
		for _, id := range []string{"a", "b", "c"} {
			r.create(id)
			r.notice(runtime.Notice{ID: id, Kind: runtime.NoticeCreated, At: time.Now()})
		}
		advance(10 * time.Second)
		first := time.Now()
		r.broken <- errors.New("stream cut")
		advance(time.Minute)
		last := time.Now()
		r.broken <- errors.New("stream cut")
		advance(time.Minute)
		assert.Empty(t, b.sink.gaps)
		close(block)
		advance(5 * time.Minute)
		b.stop()
		assert.ElementsMatch(t, []string{"a created", "b created", "c created"}, b.sink.reported())
		require.Len(t, b.sink.gaps, 1)
		assert.True(t, covers(b.sink.gaps[0], first, last))
	})
}

func TestSandboxCreatedDuringAListIsNoGap(t *testing.T) {
	observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
		advance(1900 * time.Millisecond) // the list after the subscription comes at 2 s
		r.notice(runtime.Notice{ID: "sandbox", Kind: runtime.NoticeCreated, At: time.Now()})
		advance(2 * time.Minute)
		b.stop()
		assert.Empty(t, b.sink.reported())
		assert.Empty(t, b.sink.gaps)
	})
}

func TestBriefContainerIsCountedWhenItsRemovalComesLate(t *testing.T) {
	for name, c := range map[string]struct {
		lived time.Duration
		gaps  int
	}{"a container, as likely as not": {300 * time.Millisecond, 1}, "a sandbox": {10 * time.Second, 0}} {
		t.Run(name, func(t *testing.T) {
			observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
				advance(10 * time.Second)
				came := time.Now()
				r.notice(runtime.Notice{ID: "brief", Kind: runtime.NoticeCreated, At: came})
				advance(max(c.lived, 900*time.Millisecond)) // it is not found; the next notice is read late, but not too late
				r.notice(runtime.Notice{ID: "brief", Kind: runtime.NoticeDeleted, At: came.Add(c.lived)})
				advance(2 * time.Minute)
				b.stop()
				require.Len(t, b.sink.gaps, c.gaps)
				for _, g := range b.sink.gaps {
					assert.True(t, covers(g, came, came.Add(c.lived)))
				}
			})
		})
	}
}

// TestRemovalKeepsItsTimeWhenItsNoticeComesLater has an inspection, or a list, find a container gone before the notice of it is read.
func TestRemovalKeepsItsTimeWhenItsNoticeComesLater(t *testing.T) {
	for name, find := range map[string]func(*streamRuntime){
		"an inspection": func(r *streamRuntime) { r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeChanged}) },
		"a list": func(r *streamRuntime) {
			listed := func() (n int) {
				r.do(func() { n = r.lists })
				return n
			}
			for before := listed(); listed() == before; {
				advance(time.Millisecond)
			}
		},
	} {
		for _, reported := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, noticed %v", name, reported), func(t *testing.T) {
				observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
					r.create("a")
					r.start("a")
					r.exit("a", 0, "Completed")
					advance(10 * time.Second)
					r.remove("a")
					removed := time.Now()
					find(r)
					advance(50 * time.Millisecond)
					if reported {
						r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeDeleted, At: removed})
					}
					advance(time.Second)
					b.stop()
					require.NotEmpty(t, b.sink.transitions)
					last := b.sink.transitions[len(b.sink.transitions)-1]
					assert.Equal(t, container.KindRemoved, last.Kind)
					assert.Equal(t, reported, last.Provenance.Precision == container.PrecisionExact)
					assert.Equal(t, reported, last.When.Equal(removed))
				})
			})
		}
	}
}
