// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

func TestNoticesAreReportedAtOnce(t *testing.T) {
	observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
		advance(time.Second)
		require.True(t, b.obs.Stats().Streaming)

		r.create("a")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeCreated})
		advance(10 * time.Millisecond)
		r.start("a")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeStarted, PID: 7})
		advance(10 * time.Millisecond)
		assert.Equal(t, []string{"a created", "a started"}, b.sink.reported())

		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticePaused, At: time.Now()})
		advance(10 * time.Millisecond)
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeResumed, At: time.Now()})
		advance(10 * time.Millisecond)

		ended := time.Now()
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: ended, ExitCode: 3})
		advance(time.Millisecond) // the runtime's own status still shows that it runs
		reported := b.sink.reported()
		require.Equal(t, []string{"a created", "a started", "a paused", "a unpaused", "a stopped"}, reported)
		stop := b.sink.transitions[4]
		assert.Equal(t, ended, stop.When)
		assert.EqualValues(t, 3, stop.Run.ExitCode)
		assert.Equal(t, container.SourceStream, stop.Provenance.Source)
		assert.Equal(t, container.PrecisionExact, stop.Provenance.Precision)

		r.edit("a", func(s *container.Snapshot) {
			s.State = container.StateExited
			s.Run.FinishedAt, s.Run.ExitCode, s.Run.ExitKnown, s.Run.Reason = ended, 3, true, "Error"
		})
		advance(2 * time.Second)
		assert.Len(t, b.sink.reported(), 5, "a status that confirms is no revision")
		r.remove("a")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeDeleted, At: time.Now()})
		advance(time.Millisecond)
		b.stop()
		assert.Equal(t, "a removed", b.sink.reported()[5])
		assert.Equal(t, container.PrecisionExact, b.sink.transitions[5].Provenance.Precision)
	})
}

func TestStatusIsAwaitedWhenItLagsBehindANotice(t *testing.T) {
	observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
		advance(time.Second)
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeCreated})
		advance(5 * time.Millisecond)
		r.create("a")
		advance(20 * time.Millisecond)
		assert.Equal(t, []string{"a created"}, b.sink.reported())
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeStarted})
		advance(5 * time.Millisecond)
		r.start("a")
		advance(20 * time.Millisecond)
		assert.Equal(t, []string{"a created", "a started"}, b.sink.reported())
		// A short life: start and exit are reported, the status shows neither yet.
		r.create("b")
		r.notice(runtime.Notice{ID: "b", Kind: runtime.NoticeStarted})
		r.notice(runtime.Notice{ID: "b", Kind: runtime.NoticeExited, At: time.Now().Add(4 * time.Millisecond), ExitCode: 9})
		advance(3 * time.Millisecond)
		r.start("b")
		advance(20 * time.Millisecond)
		b.stop()
		assert.Equal(t, []string{"b created", "b started", "b stopped"}, b.sink.reported()[2:])
		assert.EqualValues(t, 9, b.sink.transitions[4].Run.ExitCode)
	})
}

func TestFailedStartIsReportedWithoutANotice(t *testing.T) {
	observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
		advance(time.Second)
		r.create("a")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeCreated})
		advance(100 * time.Millisecond)
		r.exit("a", 128, "StartError")
		advance(2 * time.Second)
		b.stop()
		assert.Equal(t, []string{"a created", "a stopped"}, b.sink.reported(), "long before the next list")
	})
}

func TestRemovedContainerIsReportedFromItsNotices(t *testing.T) {
	at := time.Date(2000, 1, 1, 0, 0, 1, 0, time.UTC) // synctest's clock begins a second before
	run := container.Run{StartedAt: at}
	for name, c := range map[string]struct {
		start     runtime.Notice
		exit      *container.Snapshot
		precision container.Precision
		when      time.Time
	}{
		"the notice of its start has the time": {
			runtime.Notice{Kind: runtime.NoticeStarted, Snapshot: &container.Snapshot{State: container.StateRunning, Run: run}},
			nil,
			container.PrecisionExact, at,
		},
		"the notice of its end has the time": {
			runtime.Notice{Kind: runtime.NoticeChanged},
			&container.Snapshot{State: container.StateExited, Run: run},
			container.PrecisionExact, at,
		},
		"notices without a status": {runtime.Notice{Kind: runtime.NoticeStarted, At: at}, nil, container.PrecisionWindow, at.Add(25 * time.Millisecond)},
	} {
		t.Run(name, func(t *testing.T) {
			observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
				advance(time.Second)
				r.create("a")
				r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeCreated})
				advance(20 * time.Millisecond)
				r.do(func() { r.slowInspect = 5 * time.Millisecond })
				ended := time.Now()
				r.remove("a")
				r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeChanged}) // so that an inspection is running, and no status is applied
				advance(0)
				c.start.ID = "a"
				r.notice(c.start)
				r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: ended, ExitCode: 5, Snapshot: c.exit})
				r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeDeleted, At: ended.Add(time.Millisecond)})
				advance(10 * time.Second)
				b.stop()
				require.Equal(t, []string{"a created", "a started", "a stopped", "a removed"}, b.sink.reported())
				assert.Equal(t, c.precision, b.sink.transitions[1].Provenance.Precision)
				assert.Equal(t, c.when, b.sink.transitions[1].When.UTC())
				assert.EqualValues(t, 5, b.sink.transitions[2].Run.ExitCode)
				assert.Equal(t, ended, b.sink.transitions[2].When)
			})
		})
	}
}

func TestRemovedContainerStaysRemovedWhenAnOlderListShowsIt(t *testing.T) {
	observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
		r.create("a")
		r.start("a")
		advance(time.Minute)
		r.exit("a", 0, "Completed")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: time.Now()})
		advance(2 * time.Second)
		reported := b.sink.reported()
		r.do(func() { r.slowList = time.Second }) // it shows what was there when it began
		r.broken <- errors.New("cut, so that a list begins")
		advance(100 * time.Millisecond)
		r.remove("a")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeDeleted, At: time.Now()})
		advance(time.Minute)
		b.stop()
		assert.Equal(t, append(reported, "a removed"), b.sink.reported())
	})
}

func TestIdleStreamCostsOneListPerResyncInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreamRuntime()
		r.create("never started")
		r.create("runs")
		r.start("runs")
		r.create("ended")
		r.exit("ended", 0, "Completed")
		b := observe(t, r, nil)
		advance(5 * time.Minute)
		r.do(func() { clear(r.inspects); r.lists = 0 })
		advance(20 * time.Minute)
		b.stop()
		assert.Equal(t, 20, r.lists, "one a resync_interval")
		assert.Empty(t, r.inspects)
	})
}

func TestSandboxNoticesAreIgnoredAndALateContainerIsFound(t *testing.T) {
	observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
		advance(time.Second)
		r.notice(runtime.Notice{ID: "sandbox", Kind: runtime.NoticeCreated})
		r.notice(runtime.Notice{ID: "late", Kind: runtime.NoticeCreated})
		advance(5 * time.Second)
		assert.Empty(t, b.sink.reported())
		r.create("late") // only now does CRI know it; the list shows it
		advance(time.Minute)
		b.stop()
		assert.Equal(t, []string{"late created"}, b.sink.reported())
	})
}

func TestLostStreamIsFollowedByAList(t *testing.T) {
	observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
		advance(5 * time.Second)
		r.create("silent")
		advance(10 * time.Second)
		assert.Empty(t, b.sink.reported(), "no notice, and the next list is a minute away")
		r.broken <- errors.New("stream cut")
		advance(time.Second)
		assert.Equal(t, []string{"silent created"}, b.sink.reported())
		advance(10 * time.Second)
		assert.True(t, b.obs.Stats().Streaming, "subscribed again")
		b.stop()
		assert.Positive(t, b.tel.reconnected)
	})
}

func TestRemovalWindowBeginsBeforeTheRemovalWhenAListOmitsTheContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreamRuntime()
		r.create("a")
		r.start("a")
		b := observe(t, r, nil)
		advance(10 * time.Second)
		r.do(func() { r.slowInspect = 10 * time.Millisecond })
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeChanged})
		advance(time.Millisecond) // the inspect has seen it running, and has not answered
		removed := time.Now()
		r.remove("a")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeDeleted})
		advance(time.Millisecond)
		r.broken <- errors.New("stream cut") // lists at once
		advance(10 * time.Second)
		b.stop()
		require.Equal(t, []string{"a started", "a stopped", "a removed"}, b.sink.reported())
		for _, tr := range b.sink.transitions[1:] {
			assert.False(t, tr.Provenance.WindowStart.After(removed), "%s: the window begins %s after it", tr.Kind, tr.Provenance.WindowStart.Sub(removed))
		}
	})
}

func TestLateNoticeDuringASlowListIsAGapUntilTheNextList(t *testing.T) {
	observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
		advance(5 * time.Second)
		r.do(func() { r.slowList = 4 * time.Second })
		advance(time.Minute - 2*time.Second)
		require.True(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.lists > 2 }())
		r.create("a")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeCreated, At: time.Now().Add(-1100 * time.Millisecond)})
		advance(time.Minute)
		b.stop()
		b.sink.mu.Lock()
		defer b.sink.mu.Unlock()
		require.Len(t, b.sink.gaps, 1)
		assert.False(t, b.sink.gaps[0].To.Before(b.sink.gaps[0].From), "%+v", b.sink.gaps[0])
	})
}

func TestRuntimeWithoutAStreamIsPolled(t *testing.T) {
	observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
		advance(time.Second)
		r.broken <- runtime.ErrNoStream
		advance(time.Second)
		assert.False(t, b.obs.Stats().Streaming)
		r.create("a")
		advance(3 * time.Second)
		assert.Equal(t, []string{"a created"}, b.sink.reported())
		advance(9 * time.Minute)
		assert.False(t, b.obs.Stats().Streaming)
		advance(2 * time.Minute)
		assert.True(t, b.obs.Stats().Streaming)
		b.stop()
	})
}

// TestWaitingNoticesAreHandledBeforeAnAbsence plays a busy machine: the notices of an end and of a removal wait in the mailbox
// while the loop handles the list that does not show the container any more, or the inspection that does not find it.
func TestWaitingNoticesAreHandledBeforeAnAbsence(t *testing.T) {
	tests := []struct {
		name   string
		absent func(ctx context.Context, t *testing.T, l *loop, e *entry)
	}{
		{"list", func(ctx context.Context, _ *testing.T, l *loop, _ *entry) {
			l.handleList(ctx, listed{began: time.Now()})
		}},
		{"inspect", func(ctx context.Context, t *testing.T, l *loop, e *entry) {
			e.begin()
			l.inspections.add("a", e)
			require.Same(t, e, l.inspections.next())
			l.handleInspected(ctx, inspected{entry: e, lane: "a", began: time.Now(), err: runtime.ErrNotFound})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			r := newStreamRuntime()
			started := time.Now().Add(-time.Minute)
			c := &container.Container{ID: "a", Name: "a", CreatedAt: started}
			tel := &countingTelemetry{}
			o := New(Options{PollInterval: time.Second, ResyncInterval: time.Minute, Timeout: time.Second}, nil, &recorder{}, nil, Host{}, tel, tel, func(error) {})
			tr := tracker.New(tracker.Options{})
			tr.Restore("a", &tracker.Known{Container: c, State: container.StateRunning, Run: container.Run{StartedAt: started}})
			l := newLoop(o, r, runtime.Info{Engine: "scripted"}, tr, time.Time{})
			defer l.drain(cancel)
			l.lists.first, l.lists.source, l.lists.last, l.stream.up = false, container.SourceList, started.Add(time.Second), true
			e := l.entries["a"]
			e.container = c

			ended := time.Now().Add(-100 * time.Millisecond)
			l.mailbox.post(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: ended, ExitCode: 3})
			l.mailbox.post(runtime.Notice{ID: "a", Kind: runtime.NoticeDeleted, At: ended})
			tt.absent(ctx, t, l, e)

			var reported []container.Transition
			for _, waits := range l.outbox.queue {
				assert.Nil(t, waits.gap)
				reported = append(reported, waits.change.Transitions...)
			}
			require.Len(t, reported, 2)
			assert.Equal(t, container.KindStopped, reported[0].Kind)
			assert.True(t, reported[0].Run.ExitKnown)
			assert.EqualValues(t, 3, reported[0].Run.ExitCode)
			assert.Equal(t, ended, reported[0].When)
			assert.Equal(t, container.KindRemoved, reported[1].Kind)
		})
	}
}

// TestReplayOfARemovedContainerIsNoGap subscribes to a stream that begins with what happened minutes ago, as containerd's CRI stream
// does: of containers that were removed long before, and reported.
func TestReplayOfARemovedContainerIsNoGap(t *testing.T) {
	observeStream(t, func(t *testing.T, r *streamRuntime, b *fixture) {
		advance(10 * time.Minute)
		for _, kind := range []runtime.NoticeKind{runtime.NoticeCreated, runtime.NoticeStarted, runtime.NoticeExited, runtime.NoticeDeleted} {
			r.notice(runtime.Notice{ID: "old", Kind: kind, At: time.Now().Add(-4 * time.Minute), Replayed: true})
		}
		advance(2 * time.Minute)
		b.stop()
		assert.Empty(t, b.sink.reported())
		assert.Empty(t, b.sink.gaps)
		assert.Zero(t, b.tel.coalesced)
	})
}
