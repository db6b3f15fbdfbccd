// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"testing"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// turn pauses or resumes the container without a word.
func (r *rerunning) turn(id string, state container.State) (at time.Time) {
	r.do(func() {
		s := r.containers[id]
		s.State = state
		r.containers[id] = s
	})
	time.Sleep(time.Millisecond)
	return time.Now()
}

// TestPausesToldLate: notices of a pause and of its end come after looks that showed the same.
func TestPausesToldLate(t *testing.T) {
	rerun(t, 2*time.Millisecond, func(r *rerunning) {
		r.born("a")
		r.run("a", false)
		time.Sleep(time.Second)
		late := func(kind runtime.NoticeKind, at time.Time) {
			time.Sleep(50 * time.Millisecond)
			r.notice(runtime.Notice{ID: "a", Kind: kind, At: at})
		}
		r.turn("a", container.StatePaused)
		r.tell("a", runtime.NoticePaused, 0)
		time.Sleep(time.Second)
		resumed := r.turn("a", container.StateRunning)
		r.tell("a", runtime.NoticeChanged, 0) // a look, which shows that it runs
		time.Sleep(time.Second / 4)
		paused := r.turn("a", container.StatePaused)
		r.tell("a", runtime.NoticeChanged, 0) // and one that shows that it does not
		time.Sleep(time.Second / 4)
		late(runtime.NoticeResumed, resumed)
		late(runtime.NoticePaused, paused)
		time.Sleep(time.Second)
		r.turn("a", container.StateRunning)
		r.tell("a", runtime.NoticeResumed, 0)
	}, "created", "started", "paused", "unpaused", "paused", "unpaused")
}

// TestPauseBetweenTwoLooksIsTold: a look that shows nothing new takes nothing from notices that come after it.
func TestPauseBetweenTwoLooksIsTold(t *testing.T) {
	rerun(t, 2*time.Millisecond, func(r *rerunning) {
		r.born("a")
		r.run("a", false)
		time.Sleep(time.Second)
		paused := r.turn("a", container.StatePaused)
		resumed := r.turn("a", container.StateRunning)
		r.tell("a", runtime.NoticeChanged, 0)
		time.Sleep(100 * time.Millisecond)
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticePaused, At: paused})
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeResumed, At: resumed})
	}, "created", "started", "paused", "unpaused")
}
