// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
)

func TestStopSignalIsReportedWithExit(t *testing.T) {
	nano := time.Now().Add(time.Hour).UnixNano()
	cases := []struct {
		name, signal, code, want string
	}{
		{"stopped in time", "15", "0", "SIGTERM"},
		{"killed", "9", "137", "SIGKILL"},
		{"a reload that it survived", "1", "3", ""},
		{"a reload that it did not", "1", "129", "SIGHUP"},
		{"no number", canary, "137", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := newEngine(t)
			e.events = []string{
				event("start", nano, ""), event("kill", nano+1, `"signal":"`+c.signal+`"`), event("die", nano+2, `"exitCode":"`+c.code+`"`),
				event("start", nano+3, ""), event("die", nano+4, `"exitCode":"1"`),
			}
			r := e.informed() // for the platform, which the signal numbers depend on
			got := watched(t, r, 4)
			require.Len(t, got, 4, "a signal alone is not posted")
			assert.Equal(t, c.want, got[1].StopSignal)
			assert.Empty(t, got[3].StopSignal, "it was of the run before")
		})
	}
}

// TestStopSignalIncludesStopSignalOfImage uses Apache's httpd as an example: it exits gracefully with 0 after SIGWINCH.
func TestStopSignalIncludesStopSignalOfImage(t *testing.T) {
	nano := time.Now().Add(time.Hour).UnixNano()
	for signal, want := range map[string]string{"SIGWINCH": "SIGWINCH", "28": "SIGWINCH", "SIGTERM": "", "": ""} {
		e := newEngine(t)
		e.respond("/containers/"+id1+"/json", `{"Id":"`+id1+`","State":{"Status":"running"},"Config":{"StopSignal":"`+signal+`"}}`)
		e.events = []string{event("kill", nano, `"signal":"28"`), event("die", nano+1, `"exitCode":"0"`)}
		r := e.informed()
		_, err := r.Inspect(t.Context(), &container.Container{ID: id1})
		require.NoError(t, err)
		assert.Equal(t, want, watched(t, r, 1)[0].StopSignal, signal)
	}
}

func TestStopSignalUsesPlatformOfEngine(t *testing.T) {
	e := newEngine(t)
	e.respond("/version", `{"Version":"26.1.5","ApiVersion":"1.41","Os":"linux","Arch":"mips64le"}`)
	nano := time.Now().Add(time.Hour).UnixNano()
	e.events = []string{event("kill", nano, `"signal":"10"`), event("die", nano+1, `"exitCode":"138"`)}
	r := e.informed()
	assert.Empty(t, watched(t, r, 1)[0].StopSignal, "10 is SIGBUS there, not SIGUSR1")
}

func TestStopSignalIsUnknownForPodman(t *testing.T) {
	e := newPodman(t)
	nano := time.Now().Add(time.Hour).UnixNano()
	e.events = []string{event("kill", nano, `"signal":"9"`), event("die", nano+1, `"containerExitCode":"0"`)}
	r := e.informed()
	assert.Empty(t, watched(t, r, 1)[0].StopSignal)
}

func TestEventsOfEarlierRunDoNotAffectLaterRun(t *testing.T) {
	at := time.Date(2023, 11, 14, 22, 13, 21, 0, time.UTC)
	e := newEngine(t)
	e.events = []string{event("oom", at.Add(-time.Minute).UnixNano(), ""), event("kill", at.Add(-time.Minute).UnixNano(), `"signal":"15"`), event("pause", at.UnixNano(), "")}
	r := e.informed()
	watched(t, r, 2)
	inspect := func(state string) container.Snapshot {
		e.respond("/containers/"+id1+"/json", inspection(id1, state))
		s, err := r.Inspect(t.Context(), &container.Container{ID: id1})
		require.NoError(t, err)
		return s
	}
	assert.False(t, inspect(`{"Status":"running","StartedAt":"2023-11-14T22:13:21Z"}`).OOM)
	assert.Empty(t, inspect(`{"Status":"exited","ExitCode":143,"StartedAt":"2023-11-14T22:13:21Z","FinishedAt":"2023-11-14T22:14:21Z"}`).Run.StopSignal)
	assert.Equal(t, "SIGTERM", inspect(`{"Status":"exited","ExitCode":143,"StartedAt":"2023-11-14T22:00:00Z","FinishedAt":"2023-11-14T22:12:21Z"}`).Run.StopSignal)
	assert.Empty(t, inspect(`{"Status":"exited","ExitCode":143,"StartedAt":"2023-11-14T22:00:00Z","FinishedAt":"2023-11-14T22:10:21Z"}`).Run.StopSignal, "it was sent after the exit")
}
