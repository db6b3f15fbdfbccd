// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/test/crifake"
)

const (
	created = runtimeapi.ContainerState_CONTAINER_CREATED
	running = runtimeapi.ContainerState_CONTAINER_RUNNING
	exited  = runtimeapi.ContainerState_CONTAINER_EXITED
)

func TestSnapshotMatchesEachStatus(t *testing.T) {
	const start, end = 1795375918400062875, 1795375978411600595
	zero := time.Time{}.UnixNano() // -6795364578871345152: Go's zero time, as CRI-O and cri-dockerd send it
	at := func(ns int64) time.Time { return time.Unix(0, ns).UTC() }
	for name, test := range map[string]struct {
		status *runtimeapi.ContainerStatus
		state  container.State
		run    container.Run
		oom    bool
	}{
		"created": {
			status: &runtimeapi.ContainerStatus{State: created, StartedAt: zero, FinishedAt: zero},
			state:  container.StateCreated,
		},
		"running": {
			status: &runtimeapi.ContainerStatus{State: running, StartedAt: start},
			state:  container.StateRunning, run: container.Run{StartedAt: at(start)},
		},
		"running with leftovers of an end": {
			status: &runtimeapi.ContainerStatus{State: running, StartedAt: start, FinishedAt: zero, ExitCode: 3, Reason: "x"},
			state:  container.StateRunning, run: container.Run{StartedAt: at(start)},
		},
		"running, a child was killed for memory": {
			status: &runtimeapi.ContainerStatus{State: running, StartedAt: start, Reason: "OOMKilled"},
			state:  container.StateRunning, run: container.Run{StartedAt: at(start)}, oom: true,
		},
		"completed": {
			status: &runtimeapi.ContainerStatus{State: exited, StartedAt: start, FinishedAt: end, Reason: "Completed"},
			state:  container.StateExited,
			run:    container.Run{StartedAt: at(start), FinishedAt: at(end), ExitKnown: true, Reason: "Completed"},
		},
		"killed for memory": {
			status: &runtimeapi.ContainerStatus{State: exited, StartedAt: start, FinishedAt: end, ExitCode: 137, Reason: "OOMKilled"},
			state:  container.StateExited,
			run: container.Run{
				StartedAt: at(start), FinishedAt: at(end), ExitCode: 137, ExitKnown: true, Reason: "OOMKilled", OOMKilled: true,
			},
		},
		"start failed": {
			status: &runtimeapi.ContainerStatus{State: exited, FinishedAt: end, ExitCode: 128, Reason: "StartError"},
			state:  container.StateExited,
			run:    container.Run{FinishedAt: at(end), ExitCode: 128, ExitKnown: true, Reason: "StartError"},
		},
		"ended while containerd was down": {
			status: &runtimeapi.ContainerStatus{State: exited, StartedAt: start, FinishedAt: end, ExitCode: 255, Reason: "Unknown"},
			state:  container.StateExited,
			run:    container.Run{StartedAt: at(start), FinishedAt: at(end), Reason: "Unknown"},
		},
		"exit code 255 of the program": {
			status: &runtimeapi.ContainerStatus{State: exited, StartedAt: start, FinishedAt: end, ExitCode: 255, Reason: "Error"},
			state:  container.StateExited,
			run:    container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 255, ExitKnown: true, Reason: "Error"},
		},
		"CRI-O knows no code": {
			status: &runtimeapi.ContainerStatus{State: exited, StartedAt: start, FinishedAt: end, ExitCode: -1, Reason: "Error"},
			state:  container.StateExited,
			run:    container.Run{StartedAt: at(start), FinishedAt: at(end), Reason: "Error"},
		},
		"Windows' control-C": {
			status: &runtimeapi.ContainerStatus{State: exited, StartedAt: start, FinishedAt: end, ExitCode: -1073741510},
			state:  container.StateExited,
			run:    container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 3221225786, ExitKnown: true},
		},
		"exited without a finish time": {
			status: &runtimeapi.ContainerStatus{State: exited, StartedAt: start, FinishedAt: zero, ExitCode: 1},
			state:  container.StateExited, run: container.Run{StartedAt: at(start)},
		},
		"implausible times": {
			status: &runtimeapi.ContainerStatus{State: exited, StartedAt: 5, FinishedAt: 1<<63 - 1, ExitCode: 1},
			state:  container.StateExited,
		},
		"unknown": {
			status: &runtimeapi.ContainerStatus{State: runtimeapi.ContainerState_CONTAINER_UNKNOWN, StartedAt: start},
			state:  container.StateUnknown, run: container.Run{StartedAt: at(start)},
		},
		"out of range": {
			status: &runtimeapi.ContainerStatus{State: -4},
			state:  container.StateUnknown,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &container.Container{ID: "a", CreatedAt: at(start - 1)}
			got := snapshot(c, test.status)
			assert.Equal(t, container.Snapshot{Container: c, State: test.state, Run: test.run, OOM: test.oom}, got)
			assert.Same(t, c, got.Container)
		})
	}
}

func TestRestartCountPrefersKubeletAnnotation(t *testing.T) {
	for name, test := range map[string]struct {
		annotation string
		attempt    uint32
		want       uint32
	}{
		"no annotation": {"", 4, 4},
		"annotation":    {"7", 4, 7},
		"no number":     {"many", 4, 4},
		"too large":     {"99999999999", 4, 4},
		"negative":      {"-1", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, restartCount(map[string]string{annotationRestartCount: test.annotation}, test.attempt))
		})
	}
}

func TestInspectCompletesImage(t *testing.T) {
	s, r := fake(t, crifake.Options{}, Options{})
	id := s.Fill(1, 1)[0]
	c := described(t, r, id)
	assert.Empty(t, c.Image.RepoDigests)
	snap, err := r.Inspect(t.Context(), c)
	require.NoError(t, err)
	assert.Empty(t, c.Image.RepoDigests, "the argument is not changed")
	require.Len(t, snap.Container.Image.RepoDigests, 1)
	assert.NotEmpty(t, snap.Container.Image.ManifestDigest)
	assert.Equal(t, life(t, s, id).Started, snap.Run.StartedAt)
	again, err := r.Inspect(t.Context(), snap.Container)
	require.NoError(t, err)
	assert.Same(t, snap.Container, again.Container)
}

func TestInspectReturnsErrNotFoundWhenContainerIsGone(t *testing.T) {
	s, r := fake(t, crifake.Options{}, Options{})
	id := s.Fill(1, 1)[0]
	c := described(t, r, id)
	require.NoError(t, s.Remove(id))
	_, err := r.Inspect(t.Context(), c)
	require.ErrorIs(t, err, runtime.ErrNotFound)
	require.ErrorContains(t, err, id)
}
