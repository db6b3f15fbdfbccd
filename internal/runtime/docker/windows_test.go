// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// windowsEngine is a fake Docker Engine on Windows Server, by the public documentation of the Engine API: the values
// were written for this test.
func windowsEngine(t *testing.T, isolation string) *engine {
	t.Helper()
	e := newEngine(t)
	e.api = "1.47"
	e.respond("/version", `{"Version":"27.3.1","ApiVersion":"1.47","MinAPIVersion":"1.24","Os":"windows","Arch":"amd64",
		"KernelVersion":"10.0 20348 (20348.1.amd64fre.fe_release.210507-1500)","Components":[{"Name":"Engine","Version":"27.3.1","Details":{"Os":"windows","Arch":"amd64"}}]}`)
	e.respond("/info", `{"OSType":"windows","Architecture":"x86_64","Isolation":"`+isolation+`","ServerVersion":"27.3.1","Driver":"windowsfilter"}`)
	return e
}

// windowsInspection is a container that was ended by the console's control event: 3221225786 is STATUS_CONTROL_C_EXIT.
func windowsInspection(id, requested, platform, state string) string {
	return fmt.Sprintf(`{"Id":%q,"Created":"2025-05-06T07:08:09.1234567Z","Path":"cmd","Args":["/S","/C","serve --token %s"],"State":%s,"Image":%q,
		"Name":"/iis","RestartCount":0,"Driver":"windowsfilter","Platform":%q,"HostConfig":{"Isolation":%q,"NetworkMode":"nat"},
		"Config":{"Image":"example.test/iis:ltsc2022","Env":["TOKEN=%s"],"WorkingDir":"C:\\inetpub"}}`, id, canary, state, img, platform, requested, canary)
}

func TestInspectReportsWindowsPlatformAndIsolation(t *testing.T) {
	const ended = `{"Status":"exited","ExitCode":3221225786,"OOMKilled":false,"StartedAt":"2025-05-06T07:08:10.7654321Z","FinishedAt":"2025-05-06T08:00:00.5Z"}`
	cases := []struct {
		name, engine, requested, platform string
		os                                string
		want                              container.Isolation
	}{
		{"no mode requested on a server", "process", "", "windows", "windows", container.IsolationProcess},
		{"default requested on a desktop", "hyperv", "default", "windows", "windows", container.IsolationHyperV},
		{"Hyper-V requested on a server", "process", "hyperv", "windows", "windows", container.IsolationHyperV},
		{"an engine that does not report the platform", "process", "process", "", "windows", container.IsolationProcess},
		{"a Linux container on Windows", "hyperv", "hyperv", "linux", "linux", ""},
		{"an unknown mode", "process", canary, "windows", "windows", container.IsolationProcess},
		{"an invalid platform", "process", "", "Windows " + canary, "windows", container.IsolationProcess},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := windowsEngine(t, c.engine)
			e.respond("/containers/"+id1+"/json", windowsInspection(id1, c.requested, c.platform, ended))
			r := e.runtime()
			info, err := r.Info(t.Context())
			require.NoError(t, err)
			assert.Equal(t, "windows", info.Platform.OS)
			assert.Equal(t, "amd64", info.Platform.Arch)
			s, err := r.Inspect(t.Context(), &container.Container{ID: id1, Platform: info.Platform})
			require.NoError(t, err)
			assert.EqualValues(t, 3221225786, s.Run.ExitCode)
			assert.Equal(t, c.os, s.Container.Platform.OS)
			assert.Equal(t, c.want, s.Container.Platform.Isolation)
			assertNoCanary(t, s)
		})
	}
}

func TestWindowsListAndEventsAreRead(t *testing.T) {
	e := windowsEngine(t, "process")
	e.respond("/containers/json", "["+listItem(id1, "exited", "Exited (3221225786) 2 hours ago", "")+"]")
	nano := time.Now().Add(time.Hour).UnixNano()
	e.events = []string{
		event("start", nano, ""), event("kill", nano+1, `"signal":"15"`), event("die", nano+2, `"exitCode":"3221225786","execDuration":"3"`),
		event("start", nano+3, ""), event("kill", nano+4, `"signal":"10"`), event("die", nano+5, `"exitCode":"138"`),
	}
	r := e.informed()
	list, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, container.StateExited, list[0].State)
	got := watched(t, r, 4)
	require.Len(t, got, 4)
	assert.Equal(t, runtime.NoticeExited, got[1].Kind)
	assert.EqualValues(t, 3221225786, got[1].ExitCode)
	assert.Equal(t, "SIGTERM", got[1].StopSignal)
	assert.Empty(t, got[3].StopSignal, "10 is not a signal on Windows, and 138 stands for none")
}

func TestInfoSucceedsWhenDefaultIsolationIsRefused(t *testing.T) {
	e := newEngine(t)
	e.respond("/version", `{"Version":"29.0.0","ApiVersion":"1.52","Os":"windows","Arch":"amd64"}`)
	e.respond("/info", `{"message":"refused by the proxy"}`)
	e.status["/info"] = http.StatusForbidden
	_, err := e.runtime().Info(t.Context())
	require.NoError(t, err)
}
