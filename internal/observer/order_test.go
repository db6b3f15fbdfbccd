// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// TestNoticesThatWaitAreTakenBeforeAnAbsence plays a busy machine: the notices of an end and of a removal wait in the mailbox
// while the loop takes the list that does not show the container any more, or the inspect that does not find it.
func TestNoticesThatWaitAreTakenBeforeAnAbsence(t *testing.T) {
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
			r := newStreaming()
			started := time.Now().Add(-time.Minute)
			c := &container.Container{ID: "a", Name: "a", CreatedAt: started}
			tel := &counted{}
			o := New(Options{PollInterval: time.Second, ResyncInterval: time.Minute, Timeout: time.Second}, nil, &kept{}, nil, Host{}, tel, tel, func(error) {})
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

			var told []container.Transition
			for _, waits := range l.outbox.queue {
				assert.Nil(t, waits.gap)
				told = append(told, waits.change.Transitions...)
			}
			require.Len(t, told, 2)
			assert.Equal(t, container.KindStopped, told[0].Kind)
			assert.True(t, told[0].Run.ExitKnown)
			assert.EqualValues(t, 3, told[0].Run.ExitCode)
			assert.Equal(t, ended, told[0].When)
			assert.Equal(t, container.KindRemoved, told[1].Kind)
		})
	}
}

// TestReplaysOfWhatIsGoneAreNoGap subscribes to a stream that begins with what happened minutes ago, as containerd's CRI stream
// does: of containers that were removed long before, and reported.
func TestReplaysOfWhatIsGoneAreNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		b := observe(t, r, r.scripted, nil)
		pass(10 * time.Minute)
		for _, kind := range []runtime.NoticeKind{runtime.NoticeCreated, runtime.NoticeStarted, runtime.NoticeExited, runtime.NoticeDeleted} {
			r.notice(runtime.Notice{ID: "old", Kind: kind, At: time.Now().Add(-4 * time.Minute), Replayed: true})
		}
		pass(2 * time.Minute)
		b.stop()
		assert.Empty(t, b.sink.told())
		assert.Empty(t, b.sink.gaps)
		assert.Zero(t, b.tel.folded)
	})
}

// TestSecondLooksPastTheirBound ends more containers at once than second looks are kept for.
func TestSecondLooksPastTheirBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newScripted()
		ids := []string{"a", "b", "c", "d", "e", "f"}
		for _, id := range ids {
			r.create(id)
			r.start(id)
		}
		b := observe(t, r, r, func(_ *bench, o *Options) { o.OutboxCapacity = 4 })
		pass(10 * time.Second)
		for _, id := range ids {
			r.exit(id, 137, "Error")
		}
		pass(2*time.Second + 500*time.Millisecond)
		for _, id := range ids {
			r.exit(id, 137, "OOMKilled")
		}
		pass(30 * time.Second)
		b.stop()
		reasons := map[string]string{}
		for _, tr := range b.sink.trs {
			if tr.Kind == container.KindStopped {
				reasons[tr.Container.ID] = tr.Run.Reason
			}
		}
		for _, id := range ids {
			assert.Equal(t, "OOMKilled", reasons[id], id)
		}
	})
}

// TestFilterThatChangedWhileTheObserverWasDown excludes what the checkpoint remembers: with the image that a filter may go by, and
// without, for which there was no room.
func TestFilterThatChangedWhileTheObserverWasDown(t *testing.T) {
	for name, image := range map[string]string{"known by the checkpoint": "app:1", "known by a look": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newScripted()
				r.create("noisy")
				r.start("noisy")
				snap := r.containers["noisy"]
				c := *snap.Container
				c.Image.Reference = image
				cp := &remembered{known: map[string]*tracker.Known{"noisy": {Container: &c, State: snap.State, Run: snap.Run}}, seen: time.Now(), boot: "boot-2"}
				b := observe(t, r, r, func(b *bench, o *Options) {
					f, err := NewFilter(nil, []Match{{Containers: []string{"noisy"}}})
					require.NoError(t, err)
					b.cp, o.Filter = cp, f
				})
				pass(5 * time.Second)
				r.exit("noisy", 3, "Error")
				pass(5 * time.Second)
				r.remove("noisy")
				pass(5 * time.Second)
				b.stop()
				assert.Empty(t, b.sink.told())
				assert.Empty(t, b.sink.gaps)
				assert.Empty(t, cp.known)
			})
		})
	}
}
