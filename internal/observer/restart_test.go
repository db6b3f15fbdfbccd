// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

func TestChangesDuringARestartAreReportedAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRuntime()
		for _, id := range []string{"stays", "ends", "goes"} {
			r.create(id)
			r.start(id)
		}
		cp := newMemoryCheckpoint()
		b := observe(t, r, cp.use)
		advance(5 * time.Second)
		b.stop()
		assert.Len(t, b.sink.reported(), 3)
		assert.Len(t, cp.known, 3)
		seen := cp.seen

		advance(time.Hour)
		r.exit("ends", 7, "Error")
		r.remove("goes")
		r.create("new")
		r.start("new")
		b = observe(t, r, cp.use)
		advance(5 * time.Second)
		b.stop()
		assert.ElementsMatch(t, []string{"ends stopped", "goes stopped", "goes removed", "new created", "new started"}, b.sink.reported())
		for _, tr := range b.sink.transitions {
			assert.Equal(t, container.SourceCheckpoint, tr.Provenance.Source)
			if tr.Container.ID == "goes" {
				assert.Equal(t, container.PrecisionWindow, tr.Provenance.Precision)
				assert.False(t, tr.Provenance.WindowStart.After(seen))
				assert.WithinDuration(t, seen, tr.Provenance.WindowStart, 5*time.Second)
			}
		}
		assert.Contains(t, b.tel.gaps, container.CauseObserverDown)
	})
}

func TestRunsEndWhenTheHostReboots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRuntime()
		r.create("a")
		r.start("a")
		snap := r.containers["a"]
		r.remove("a")
		cp := &memoryCheckpoint{known: map[string]*tracker.Known{"a": {Container: snap.Container, State: snap.State, Run: snap.Run}}, seen: time.Now(), boot: "boot-1"}
		advance(time.Minute)
		b := observe(t, r, cp.use)
		advance(5 * time.Second)
		b.stop()
		require.Equal(t, []string{"a stopped", "a removed"}, b.sink.reported())
		assert.Equal(t, tracker.ReasonHostReboot, b.sink.transitions[0].Run.Reason)
	})
}

// TestContainerIsForgottenWhenAChangedFilterExcludesIt excludes a container that the checkpoint remembers: with its image, which
// a filter may use, and without it, because the record had no room.
func TestContainerIsForgottenWhenAChangedFilterExcludesIt(t *testing.T) {
	for name, image := range map[string]string{"known by the checkpoint": "app:1", "known by an inspection": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newFakeRuntime()
				r.create("noisy")
				r.start("noisy")
				snap := r.containers["noisy"]
				c := *snap.Container
				c.Image.Reference = image
				cp := &memoryCheckpoint{known: map[string]*tracker.Known{"noisy": {Container: &c, State: snap.State, Run: snap.Run}}, seen: time.Now(), boot: "boot-2"}
				b := observe(t, r, func(b *fixture, o *Options) {
					f, err := NewFilter(nil, []Match{{Containers: []string{"noisy"}}})
					require.NoError(t, err)
					b.cp, o.Filter = cp, f
				})
				advance(5 * time.Second)
				r.exit("noisy", 3, "Error")
				advance(5 * time.Second)
				r.remove("noisy")
				advance(5 * time.Second)
				b.stop()
				assert.Empty(t, b.sink.reported())
				assert.Empty(t, b.sink.gaps)
				assert.Empty(t, cp.known)
			})
		})
	}
}

func TestShortRestartWithAStreamIsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreamRuntime()
		cp := newMemoryCheckpoint()
		b := observe(t, r, cp.use)
		advance(5 * time.Second)
		b.stop()
		assert.Empty(t, b.sink.gaps)
		down := time.Now()
		advance(time.Second)
		b = observe(t, r, cp.use)
		up := time.Now()
		advance(10 * time.Second)
		b.stop()
		require.Len(t, b.sink.gaps, 1)
		assert.Equal(t, container.CauseObserverDown, b.sink.gaps[0].Cause)
		assert.True(t, covers(b.sink.gaps[0], down, up))
	})
}

func TestInterruptionBeforeARestartIsReportedAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreamRuntime()
		cp := newMemoryCheckpoint()
		b := observe(t, r, cp.use)
		advance(10 * time.Second)
		lost := time.Now()
		r.broken <- errors.New("stream cut")
		advance(100 * time.Millisecond) // it was listed since, but the stream is not up again
		b.stop()
		require.Empty(t, b.sink.gaps)
		advance(time.Second)
		b = observe(t, r, cp.use)
		up := time.Now()
		advance(10 * time.Second)
		b.stop()
		require.Len(t, b.sink.gaps, 1)
		assert.True(t, covers(b.sink.gaps[0], lost.Add(-undelivered), up), "%+v, and the stream was cut at %s", b.sink.gaps[0], lost)
	})
}

// TestRestartIsObservedWhenTheClockWasSetBack has a checkpoint whose time is in the future.
func TestRestartIsObservedWhenTheClockWasSetBack(t *testing.T) {
	for name, streamed := range map[string]bool{"with a stream": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				advance(time.Hour)
				started := time.Now().Add(-time.Minute)
				known := &tracker.Known{
					Container: &container.Container{ID: "a", Name: "a", CreatedAt: started}, State: container.StateRunning, Run: container.Run{StartedAt: started},
				}
				r := newStreamRuntime()
				cp := &memoryCheckpoint{known: map[string]*tracker.Known{"a": known}, seen: time.Now().Add(2 * time.Second), boot: "boot-2"}
				if streamed {
					cp.seen = time.Now().Add(time.Hour)
				}
				var rt runtime.Runtime = r
				if !streamed {
					rt = r.fakeRuntime
				}
				b := observe(t, rt, cp.use)
				up := time.Now()
				advance(5 * time.Minute)
				b.stop()
				assert.Equal(t, []string{"a stopped", "a removed"}, b.sink.reported())
				assert.False(t, b.sink.transitions[0].Provenance.WindowStart.After(started), "nothing shows that it ran until then: %s", b.sink.transitions[0].Provenance.WindowStart)
				if streamed {
					assert.Less(t, r.lists, 10, "lists go back to their period")
					assert.True(t, slices.ContainsFunc(b.sink.gaps, func(g container.Gap) bool {
						return g.Cause == container.CauseObserverDown && !g.From.After(up) && !g.To.Before(up)
					}), b.sink.gaps)
				}
				for _, g := range b.sink.gaps {
					assert.False(t, g.From.After(g.To), g)
				}
			})
		})
	}
}

func TestShortRestartWithoutAStreamIsNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRuntime()
		cp := newMemoryCheckpoint()
		b := observe(t, r, cp.use)
		advance(45 * time.Second) // since a time was last written
		b.stop()
		advance(time.Second)
		b = observe(t, r, cp.use)
		advance(10 * time.Second)
		b.stop()
		assert.Empty(t, b.sink.gaps)
	})
}

func TestOOMKillIsFoundAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreamRuntime()
		cp := newMemoryCheckpoint()
		b := observe(t, r, cp.use)
		r.create("a")
		r.start("a")
		advance(10 * time.Second)
		r.exit("a", 137, "Error")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: time.Now(), ExitCode: 137})
		advance(10 * time.Millisecond)
		b.stop()
		r.edit("a", func(s *container.Snapshot) { s.Run.Reason, s.Run.OOMKilled = "OOMKilled", true })
		advance(time.Hour)
		b = observe(t, r, cp.use)
		advance(10 * time.Second)
		b.stop()
		require.Equal(t, []string{"a stopped"}, b.sink.reported())
		assert.True(t, b.sink.transitions[0].Run.OOMKilled)
		assert.EqualValues(t, 1, b.sink.transitions[0].Revision)
	})
}
