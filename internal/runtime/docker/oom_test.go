// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

func TestInspectReportsOOMKillOfChildFromEvent(t *testing.T) {
	e := newEngine(t)
	started := time.Date(2023, 11, 14, 22, 13, 21, 0, time.UTC)
	e.events = []string{event("oom", started.Add(time.Minute).UnixNano(), "")}
	e.respond("/containers/"+id1+"/json", inspection(id1, `{"Status":"running","Pid":42,"StartedAt":"2023-11-14T22:13:21Z"}`))
	r := e.runtime()
	got, err := r.Inspect(t.Context(), &container.Container{ID: id1})
	require.NoError(t, err)
	assert.False(t, got.OOM)
	watched(t, r, 1)
	got, err = r.Inspect(t.Context(), &container.Container{ID: id1})
	require.NoError(t, err)
	assert.True(t, got.OOM, "20.10 reports it only by an event")
}

// TestOOMKillIsNotReportedWhenKillWasRequested: a child process was OOM-killed, and later the container was killed on request.
func TestOOMKillIsNotReportedWhenKillWasRequested(t *testing.T) {
	e := newEngine(t)
	at := time.Date(2023, 11, 14, 22, 14, 0, 0, time.UTC)
	e.events = []string{event("kill", at.UnixNano(), `"signal":"9"`), event("pause", at.UnixNano()+1, "")}
	e.respond("/containers/"+id1+"/json", inspection(id1, `{"Status":"exited","ExitCode":137,"OOMKilled":true,"StartedAt":"2023-11-14T22:13:21Z","FinishedAt":"2023-11-14T22:14:00.1Z"}`))
	r := e.informed()
	watched(t, r, 1)
	s, err := r.Inspect(t.Context(), &container.Container{ID: id1})
	require.NoError(t, err)
	assert.False(t, s.Run.OOMKilled)
	assert.Equal(t, "Error", s.Run.Reason)
}

func TestOOMKillIsReportedWithExitOrAfterIt(t *testing.T) {
	at := time.Now().Add(time.Hour)
	play := func(events ...string) []runtime.Notice {
		e := newEngine(t)
		e.events = events
		notices := 0
		for _, raw := range events {
			if !strings.Contains(raw, `"kill"`) {
				notices++
			}
		}
		return watched(t, e.runtime(), notices)
	}
	nano := func(after time.Duration) int64 { return at.Add(after).UnixNano() }
	oom := func(after time.Duration) string { return event("oom", nano(after), "") }
	die := func(after time.Duration, code string) string {
		return event("die", nano(after), `"exitCode":"`+code+`"`)
	}

	got := play(oom(0), die(time.Millisecond, "137"))
	assert.False(t, got[0].OOMKilled, "the kill is not reported yet")
	assert.True(t, got[1].OOMKilled)
	got = play(die(0, "137"), oom(time.Millisecond))
	assert.False(t, got[0].OOMKilled)
	assert.True(t, got[1].OOMKilled)
	assert.False(t, play(oom(0), die(time.Millisecond, "1"))[1].OOMKilled, "the kill was of a child process")
	assert.False(t, play(oom(0), event("kill", nano(1), `"signal":"9"`), die(time.Millisecond, "137"))[1].OOMKilled, "the kill was requested")
	assert.False(t, play(oom(0), event("start", nano(1), ""), die(time.Millisecond, "137"))[2].OOMKilled, "the kill was in the previous run")
	assert.False(t, play(die(0, "137"), event("start", nano(1), ""), oom(2))[2].OOMKilled, "the kill is in the next run")
	assert.False(t, play(die(0, "137"), oom(time.Second+1))[1].OOMKilled, "too late for this exit")
}
