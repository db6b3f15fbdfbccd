// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// TestLatePauseNoticesAreReported: notices of a pause and of its end come after inspections that showed the same.
func TestLatePauseNoticesAreReported(t *testing.T) {
	rerun(t, 2*time.Millisecond, func(r *dockerRuntime) {
		r.created("a")
		r.started("a", false)
		time.Sleep(time.Second)
		late := func(kind runtime.NoticeKind, at time.Time) {
			time.Sleep(50 * time.Millisecond)
			r.notice(runtime.Notice{ID: "a", Kind: kind, At: at})
		}
		r.set("a", container.StatePaused)
		r.notify("a", runtime.NoticePaused, 0)
		time.Sleep(time.Second)
		resumed := r.set("a", container.StateRunning)
		r.notify("a", runtime.NoticeChanged, 0) // an inspection, which shows that it runs
		time.Sleep(time.Second / 4)
		paused := r.set("a", container.StatePaused)
		r.notify("a", runtime.NoticeChanged, 0) // and one that shows that it does not
		time.Sleep(time.Second / 4)
		late(runtime.NoticeResumed, resumed)
		late(runtime.NoticePaused, paused)
		time.Sleep(time.Second)
		r.set("a", container.StateRunning)
		r.notify("a", runtime.NoticeResumed, 0)
	}, "created", "started", "paused", "unpaused", "paused", "unpaused")
}

// TestPauseBetweenTwoInspectionsIsReported: an inspection that shows nothing new does not suppress notices that come after it.
func TestPauseBetweenTwoInspectionsIsReported(t *testing.T) {
	rerun(t, 2*time.Millisecond, func(r *dockerRuntime) {
		r.created("a")
		r.started("a", false)
		time.Sleep(time.Second)
		paused := r.set("a", container.StatePaused)
		resumed := r.set("a", container.StateRunning)
		r.notify("a", runtime.NoticeChanged, 0)
		time.Sleep(100 * time.Millisecond)
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticePaused, At: paused})
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeResumed, At: resumed})
	}, "created", "started", "paused", "unpaused")
}

func TestPauseIsKeptWhenAnEarlierInspectionShowsNone(t *testing.T) {
	pause := func(r *dockerRuntime, s container.State, kind runtime.NoticeKind) {
		r.edit("a", func(snap *container.Snapshot) { snap.State = s })
		r.notify("a", kind, 0)
	}
	rerun(t, 50*time.Millisecond, func(r *dockerRuntime) {
		r.created("a")
		r.started("a", false)
		time.Sleep(time.Second)
		pause(r, container.StatePaused, runtime.NoticePaused)
		time.Sleep(time.Second)
		pause(r, container.StateRunning, runtime.NoticeResumed)
		time.Sleep(time.Second)
		r.notify("a", runtime.NoticeChanged, 0) // an inspection begins, which shows it running
		pause(r, container.StatePaused, runtime.NoticePaused)
		time.Sleep(3 * time.Minute) // lists show it paused
		pause(r, container.StateRunning, runtime.NoticeResumed)
	}, "created", "started", "paused", "unpaused", "paused", "unpaused")
}

func TestHealthNoticesAreReported(t *testing.T) {
	observeDocker(t, func(t *testing.T, r *dockerRuntime, b *fixture) {
		advance(time.Second)
		r.created("a")
		r.edit("a", func(s *container.Snapshot) { s.Health = "starting" })
		r.started("a", false)
		advance(time.Second)
		verdicts := []string{"healthy", "unhealthy", "healthy"}
		for _, v := range verdicts { // faster than they are handled
			r.edit("a", func(s *container.Snapshot) { s.Health = v })
			r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeHealth, At: time.Now(), Health: v})
		}
		advance(2 * time.Minute)
		b.stop()
		require.Equal(t, []string{"created", "started", "health_changed", "health_changed", "health_changed"}, b.account())
		for i, v := range verdicts {
			tr := b.sink.transitions[i+2]
			assert.Equal(t, v, tr.Health)
			assert.Equal(t, container.PrecisionExact, tr.Provenance.Precision)
			assert.EqualValues(t, i, tr.Ordinal)
		}
	})
}
