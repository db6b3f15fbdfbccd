// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"encoding/json"
	"testing"
	"time"

	api "github.com/moby/moby/api/types/container"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func TestInspectReturnsSnapshotOfEachStatus(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, s)
		require.NoError(t, err)
		return v
	}
	const start, end = "2023-11-14T22:13:21.5Z", "2023-11-14T22:14:00.25Z"
	cases := []struct {
		name  string
		state string
		want  container.Snapshot
	}{
		{"created", `{"Status":"created","StartedAt":"0001-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z"}`, container.Snapshot{State: container.StateCreated}},
		{
			"running", `{"Status":"running","Running":true,"Pid":42,"StartedAt":"` + start + `","FinishedAt":"0001-01-01T00:00:00Z"}`,
			container.Snapshot{State: container.StateRunning, Run: container.Run{StartedAt: at(start), PID: 42}},
		},
		{
			"running again", `{"Status":"running","Running":true,"Pid":42,"StartedAt":"` + end + `","FinishedAt":"` + start + `"}`,
			container.Snapshot{State: container.StateRunning, Run: container.Run{StartedAt: at(end), FinishedAt: at(start), PID: 42}},
		},
		{
			"paused", `{"Status":"paused","Running":true,"Paused":true,"Pid":42,"StartedAt":"` + start + `"}`,
			container.Snapshot{State: container.StatePaused, Run: container.Run{StartedAt: at(start), PID: 42}},
		},
		{
			"healthy", `{"Status":"running","Pid":42,"StartedAt":"` + start + `","Health":{"Status":"healthy","Log":[{"Output":"` + canary + `"}]}}`,
			container.Snapshot{State: container.StateRunning, Run: container.Run{StartedAt: at(start), PID: 42}, Health: "healthy"},
		},
		{
			"health without a check", `{"Status":"running","Pid":42,"StartedAt":"` + start + `","Health":{"Status":""}}`,
			container.Snapshot{State: container.StateRunning, Run: container.Run{StartedAt: at(start), PID: 42}},
		},
		{
			"a child OOM-killed", `{"Status":"running","Pid":42,"OOMKilled":true,"StartedAt":"` + start + `"}`,
			container.Snapshot{State: container.StateRunning, Run: container.Run{StartedAt: at(start), PID: 42}, OOM: true},
		},
		{
			"exited", `{"Status":"exited","ExitCode":3,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 3, ExitKnown: true, Reason: "Error"}},
		},
		{
			"completed", `{"Status":"exited","ExitCode":0,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitKnown: true, Reason: "Completed"}},
		},
		{
			"OOM-killed", `{"Status":"exited","ExitCode":137,"OOMKilled":true,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 137, ExitKnown: true, Reason: "OOMKilled", OOMKilled: true}},
		},
		{
			"completed after a child was OOM-killed", `{"Status":"exited","ExitCode":0,"OOMKilled":true,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitKnown: true, Reason: "Completed"}},
		},
		{
			"restarting", `{"Status":"restarting","Running":true,"Restarting":true,"ExitCode":1,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 1, ExitKnown: true, Reason: "Error"}},
		},
		{
			"restarting for the third time", `{"Status":"restarting","ExitCode":1,"StartedAt":"` + start + `","FinishedAt":"` + end + `"},"RestartCount":3,"Ignored":{}`,
			container.Snapshot{State: container.StateExited, RestartCount: 2, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 1, ExitKnown: true, Reason: "Error"}},
		},
		{
			"Windows, unsigned", `{"Status":"exited","ExitCode":3221225786,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 3221225786, ExitKnown: true, Reason: "Error"}},
		},
		{
			"Windows, signed", `{"Status":"exited","ExitCode":-1073741510,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 3221225786, ExitKnown: true, Reason: "Error"}},
		},
		{
			"start failed", `{"Status":"created","ExitCode":127,"Error":"exec: ` + canary + `: not found","StartedAt":"0001-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{ExitCode: 127, ExitKnown: true, Reason: "StartError"}},
		},
		{
			"a later start failed", `{"Status":"exited","ExitCode":127,"Error":"exec: ` + canary + `: not found","StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end)}},
		},
		{
			"start failed without a code", `{"Status":"created","ExitCode":0,"Error":"` + canary + `","StartedAt":"0001-01-01T00:00:00Z"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{ExitKnown: true, Reason: "StartError"}},
		},
		{
			"start failed without an error", `{"Status":"created","ExitCode":128,"StartedAt":"0001-01-01T00:00:00Z"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{ExitCode: 128, ExitKnown: true, Reason: "StartError"}},
		},
		{
			"running, with a finish time after its start", `{"Status":"running","Pid":42,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateRunning, Run: container.Run{StartedAt: at(start), PID: 42}},
		},
		{
			"restarting, with a count of 0", `{"Status":"restarting","ExitCode":1,"StartedAt":"` + start + `","FinishedAt":"` + end + `"},"RestartCount":0,"Ignored":{}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 1, ExitKnown: true, Reason: "Error"}},
		},
		{"removed before its first run", `{"Status":"removing","StartedAt":"0001-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z"}`, container.Snapshot{State: container.StateCreated}},
		{
			"dead", `{"Status":"dead","Dead":true,"ExitCode":1,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 1, ExitKnown: true, Reason: "Error"}},
		},
		{"1970", `{"Status":"running","Pid":42,"StartedAt":"1970-01-01T00:00:00Z"}`, container.Snapshot{State: container.StateRunning, Run: container.Run{PID: 42}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := newEngine(t)
			e.respond("/containers/"+id1+"/json", inspection(id1, c.state))
			e.respond("/images/"+img+"/json", `{"Id":"`+img+`","RepoDigests":["example.test/web@`+mfd+`"],"Config":{"Env":["PASSWORD=`+canary+`"]}}`)
			known := &container.Container{ID: id1, Name: "old-name", CreatedAt: at("2023-11-14T22:13:20Z")}
			got, err := e.runtime().Inspect(t.Context(), known)
			require.NoError(t, err)
			assert.Equal(t, "old-name", known.Name, "the argument is not changed")
			assert.Equal(t, "web", got.Container.Name)
			assert.Equal(t, at("2023-11-14T22:13:20.123456789Z"), got.Container.CreatedAt)
			assert.Equal(t, container.Image{Reference: "example.test/web:1", ID: img, RepoDigests: []string{"example.test/web@" + mfd}, ManifestDigest: mfd}, got.Container.Image)
			assertNoCanary(t, got)
			c.want.Container = got.Container
			assert.Equal(t, c.want, got)
		})
	}
}

func TestInspectReturnsErrNotFoundWhenContainerIsGone(t *testing.T) {
	_, err := newEngine(t).runtime().Inspect(t.Context(), &container.Container{ID: id1})
	require.ErrorIs(t, err, runtime.ErrNotFound)
	_, err = newEngine(t).runtime().Inspect(t.Context(), &container.Container{ID: "../version"})
	require.ErrorIs(t, err, runtime.ErrNotFound, "an id that is a path is never requested")
	_, err = newEngine(t).runtime().Find(t.Context(), id1)
	require.Error(t, err)
}

func TestInspectKeepsKubernetesContainerName(t *testing.T) {
	e := newEngine(t)
	e.respond("/containers/"+id1+"/json", inspection(id1, `{"Status":"running","StartedAt":"2023-11-14T22:13:21.5Z"}`))
	got, err := e.runtime().Inspect(t.Context(), &container.Container{ID: id1, Name: "api", Attempt: 3, Pod: container.Pod{UID: "u1"}})
	require.NoError(t, err)
	assert.Equal(t, "api", got.Container.Name)
	assert.EqualValues(t, 3, got.RestartCount)
}

func TestPIDIsReadFromInspection(t *testing.T) {
	e := newEngine(t)
	e.respond("/containers/"+id1+"/json", inspection(id1, `{"Status":"running","Pid":42,"StartedAt":"2023-11-14T22:13:21.5Z"}`))
	pid, err := e.runtime().PID(t.Context(), id1)
	require.NoError(t, err)
	assert.EqualValues(t, 42, pid)
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte(inspection(id1, `{"Status":"exited","ExitCode":-1073741510,"StartedAt":"2023-11-14T22:13:21.5Z","FinishedAt":"2023-11-14T22:14:00Z"}`)))
	f.Add([]byte(inspection(id1, `{"Status":"created","ExitCode":127,"Error":"`+canary+`"}`)))
	f.Add([]byte(`{"State":{"Status":"running","Health":{"Status":"` + canary + `"}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		oracle.Bound(t, oracle.Parsing(len(raw)))
		var in api.InspectResponse
		if json.Unmarshal(raw, &in) != nil {
			return
		}
		s := snapshot(&container.Container{ID: id1}, &in, peer{})
		if s.Container == nil || s.State > container.StateExited || knownHealth(s.Health) != s.Health {
			t.Fatalf("%+v", s)
		}
		for _, at := range []time.Time{s.Run.StartedAt, s.Run.FinishedAt, s.Container.CreatedAt} {
			if !at.IsZero() && (at.Before(earliest) || at.After(latest)) {
				t.Fatalf("an implausible time: %v", at)
			}
		}
	})
}
