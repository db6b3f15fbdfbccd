// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

func TestInterruptionReachesBackToItsEarliestMoment(t *testing.T) {
	var g gaps
	g.interrupt(time.Time{}, container.CauseObserverDown)
	assert.False(t, g.interrupted(), "no moment, no interruption")
	assert.Equal(t, after(9), g.seenUntil(after(9)))

	g.interrupt(after(3), container.CauseStreamLost)
	g.interrupt(after(5), container.CauseMailboxOverflow)
	g.interrupt(after(2), container.CauseMailboxOverflow)
	assert.Equal(t, interruption{after(2), container.CauseStreamLost}, g.open, "the first cause, the earliest moment")
	assert.Equal(t, after(2), g.seenUntil(after(9)))
	assert.Equal(t, after(1), g.seenUntil(after(1)), "the last list was before it")

	assert.Equal(t, interruption{after(2), container.CauseStreamLost}, g.close())
	assert.False(t, g.interrupted())
	assert.Equal(t, after(9), g.seenUntil(after(9)))
}

func TestListFailureExplainsALostStreamOnly(t *testing.T) {
	for cause, want := range map[string]string{
		container.CauseStreamLost:   container.CauseListFailed,
		container.CauseObserverDown: container.CauseObserverDown,
	} {
		var g gaps
		g.interrupt(noon, cause)
		g.listFailed()
		assert.Equal(t, want, g.open.cause)
	}
	var g gaps
	g.listFailed()
	assert.False(t, g.interrupted())
}

func TestCoalescedContainersAreCountedOnce(t *testing.T) {
	var g gaps
	g.coalesce(after(3), container.CauseRemovedUnseen)
	g.coalesce(after(2), container.CauseOutboxFull)
	g.coalesce(after(4), container.CauseRemovedUnseen)
	assert.Equal(t, coalesced{3, after(2), container.CauseOutboxFull}, g.takeCoalesced())
	assert.Zero(t, g.takeCoalesced())
}

func TestRefusedGapsMergeIntoOne(t *testing.T) {
	var g gaps
	g.refused(&container.Gap{From: after(3), To: after(4), Cause: container.CauseStreamLost, Coalesced: 1})
	g.refused(&container.Gap{From: after(5), To: after(6), Cause: container.CauseListFailed, Coalesced: 2})
	g.refused(&container.Gap{From: after(1), To: after(2), Cause: container.CauseListFailed})
	assert.Equal(t, &container.Gap{From: after(1), To: after(6), Cause: container.CauseStreamLost, Coalesced: 3}, g.unreported)
}

func TestLateNotice(t *testing.T) {
	old := noon.Add(-lateAfter)
	tests := []struct {
		name string
		n    runtime.Notice
		late bool
	}{
		{"old", runtime.Notice{Kind: runtime.NoticeCreated, At: old}, true},
		{"fresh", runtime.Notice{Kind: runtime.NoticeCreated, At: old.Add(1)}, false},
		{"without a time", runtime.Notice{Kind: runtime.NoticeCreated}, false},
		{"an end, which its runtime may report late", runtime.Notice{Kind: runtime.NoticeExited, At: old}, false},
		{"a replay", runtime.Notice{Kind: runtime.NoticeCreated, At: old, Replayed: true}, false},
		{"a snapshot", runtime.Notice{Kind: runtime.NoticeStarted, At: old, Snapshot: &container.Snapshot{}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { assert.Equal(t, tt.late, late(&tt.n, noon)) })
	}
}

func TestStreamCoverage(t *testing.T) {
	s := streamState{up: true, since: noon}
	assert.False(t, s.coversSince(noon), "its server may not deliver yet")
	assert.True(t, s.coversSince(noon.Add(subscribing)))
	s.up = false
	assert.False(t, s.coversSince(after(9)))

	assert.Equal(t, noon.Add(-undelivered), endOfCoverage(streamChange{}, noon))
	assert.Equal(t, after(-9), endOfCoverage(streamChange{behind: after(-9)}, noon), "it was read late")
	assert.Equal(t, noon.Add(-undelivered), endOfCoverage(streamChange{behind: noon}, noon))
}

func TestRemovalsAreBoundedAndExpire(t *testing.T) {
	r := newRemovals(2)
	r.add("a", noon)
	r.add("b", after(30))
	r.add("c", after(30))
	assert.True(t, r.recent("a"))
	assert.False(t, r.recent("c"), "there was no room")
	r.expire(noon.Add(lateNotice))
	assert.True(t, r.recent("a"))
	r.expire(noon.Add(lateNotice + 1))
	assert.False(t, r.recent("a"))
	assert.True(t, r.recent("b"))
}
