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

var noon = time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)

// after returns the moment n seconds after noon.
func after(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }

// pending returns what is pending after notices of starts and ends, at these seconds after noon.
func pending(starts, ends []int) *pendingNotices {
	p := &pendingNotices{}
	for _, at := range starts {
		p.add(&runtime.Notice{Kind: runtime.NoticeStarted, At: after(at)})
	}
	for _, at := range ends {
		p.add(&runtime.Notice{Kind: runtime.NoticeExited, At: after(at), ExitCode: uint32(at)})
	}
	return p
}

func TestPendingEndOfARun(t *testing.T) {
	p := pending([]int{1, 3, 5}, []int{2, 4})
	assert.EqualValues(t, 2, p.runs.end(after(1), after(3)).code)
	assert.EqualValues(t, 4, p.runs.end(after(3), time.Time{}).code)
	assert.Nil(t, p.runs.end(after(5), time.Time{}), "the last run goes on")
	assert.Nil(t, p.runs.end(after(2), after(3)), "no end between the two")
	assert.Nil(t, (&pendingNotices{}).runs.end(noon, time.Time{}), "nothing is pending")

	run := p.runs.end(after(1), after(3)).of(container.Run{StartedAt: after(1)})
	assert.Equal(t, container.Run{StartedAt: after(1), FinishedAt: after(2), ExitCode: 2, ExitKnown: true, Reason: "Error"}, run)
	oom := (&runEnd{at: after(2), code: 137, oom: true}).of(run)
	assert.Equal(t, "OOMKilled", oom.Reason)
	assert.True(t, oom.OOMKilled)
}

func TestPendingRunsBetweenTwoKnownOnes(t *testing.T) {
	tests := []struct {
		name                     string
		complete, ended, started time.Time
		missed                   uint32
		all                      bool
	}{
		{"one", noon, after(2), after(5), 1, true},
		{"two", noon, after(2), after(7), 2, true},
		{"none", noon, after(4), after(5), 0, true},
		{"the notice of the start is not there yet", noon, after(2), after(9), 0, false},
		{"the stream was interrupted since", after(3), after(2), after(5), 0, false},
		{"without a stream", time.Time{}, after(2), after(5), 0, false},
		{"the end is not known", noon, time.Time{}, after(5), 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			missed, all := pending([]int{1, 3, 5, 7}, nil).runs.between(tt.complete, tt.ended, tt.started)
			assert.Equal(t, tt.missed, missed)
			assert.Equal(t, tt.all, all)
		})
	}
}

func TestNewestPendingRun(t *testing.T) {
	tests := []struct {
		name         string
		starts, ends []int
		after        int
		state        container.State
		started      time.Time
	}{
		{"no run", nil, nil, 0, container.StateCreated, time.Time{}},
		{"one that goes on", []int{1}, nil, 0, container.StateRunning, after(1)},
		{"one that ended", []int{1}, []int{2}, 0, container.StateExited, after(1)},
		{"one after one that ended", []int{1, 3}, []int{2}, 0, container.StateRunning, after(3)},
		{"an end without a start", nil, []int{2}, 0, container.StateExited, time.Time{}},
		{"all is of a known run", []int{1}, []int{2}, 2, container.StateCreated, time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run, state := pending(tt.starts, tt.ends).runs.newest(after(tt.after))
			assert.Equal(t, tt.state, state)
			assert.Equal(t, tt.started, run.StartedAt)
		})
	}
}

func TestPendingRunsAreBounded(t *testing.T) {
	p := &pendingNotices{}
	for i := range 100 {
		p.add(&runtime.Notice{Kind: runtime.NoticeStarted, At: after(2 * i)})
		p.add(&runtime.Notice{Kind: runtime.NoticeExited, At: after(2*i + 1)})
	}
	require.Len(t, p.runs.starts, maxPendingRuns)
	require.Len(t, p.runs.ends, maxPendingRuns)
	assert.Equal(t, after(198), p.runs.starts[maxPendingRuns-1], "the newest are kept")
	_, all := p.runs.between(noon, after(1), after(198))
	assert.False(t, all, "the starts do not reach back so far")
	_, all = p.runs.between(noon, after(169), after(198))
	assert.True(t, all)
}

func TestPendingNoticesThatAStatusShowedAreDropped(t *testing.T) {
	p := pending([]int{1, 3}, []int{2, 4})
	p.add(&runtime.Notice{Kind: runtime.NoticeDeleted, At: after(5)})
	p.drop(after(3), false)
	assert.Equal(t, []time.Time{after(3)}, p.runs.starts)
	require.Len(t, p.runs.ends, 1)
	assert.Equal(t, after(4), p.runs.ends[0].at)
	assert.Equal(t, after(2), p.endOf(after(1)), "the newest of the dropped ends is remembered")
	p.drop(after(3), true)
	assert.Empty(t, p.runs.starts)
	assert.Empty(t, p.runs.ends)
	assert.Equal(t, after(5), p.removedAt(), "no status shows a removal")
	assert.Equal(t, after(4), p.endOf(after(3)))

	p = pending([]int{1}, nil)
	p.drop(after(1), true)
	assert.Nil(t, p.runs)
	assert.Zero(t, p.removedAt())
}

func TestOtherNoticesArePendingForNothing(t *testing.T) {
	p := &pendingNotices{replayedOnly: true}
	for _, kind := range []runtime.NoticeKind{runtime.NoticeChanged, runtime.NoticeOOM, runtime.NoticePaused, runtime.NoticeHealth} {
		n := &runtime.Notice{Kind: kind, Replayed: true}
		p.noticed(n)
		p.add(n)
	}
	assert.Equal(t, pendingNotices{replayedOnly: true}, *p)
	p.noticed(&runtime.Notice{Kind: runtime.NoticeExited})
	assert.Equal(t, pendingNotices{started: true}, *p, "what ended had begun, and this notice is no replay")
}
