// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/privateruntime/wipe"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryLifeEndsAsScripted(t *testing.T) {
	c := realruntime.Containerd(t)
	d := c.Driver()
	pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: "lives"})
	require.NoError(t, err)
	for _, life := range privateruntime.Lives() {
		t.Run(life.Name, func(t *testing.T) {
			r, err := d.Play(t.Context(), pod, life, 0)
			require.NoError(t, err)
			end, ended := r.Ended()
			require.True(t, ended)
			assert.Equal(t, life.Expect, end)
			assert.False(t, r.CreatedAt.IsZero())
			assert.False(t, r.FinishedAt.IsZero())
			if life.Expect.Reason == "StartError" {
				assert.False(t, r.Started(), "started at %s", r.StartedAt)
				assert.Contains(t, r.StartError, "/no/such/command")
				return
			}
			assert.Empty(t, r.StartError)
			assert.True(t, r.StartedAt.After(r.CreatedAt))
			// Not after StartedAt: see Record.StartedAt.
			assert.True(t, r.FinishedAt.After(r.CreatedAt))
			t.Logf("ran for %s according to the runtime's times", r.FinishedAt.Sub(r.StartedAt))
		})
	}

	records := d.Records()
	require.Len(t, records, len(privateruntime.Lives()))
	require.NoError(t, d.RemovePod(t.Context(), pod))
	for _, r := range d.Records() {
		assert.False(t, r.RemovedAt.IsZero(), r.Name)
		end, _ := r.Ended()
		assert.Equal(t, r.Expect, end, r.Name)
	}
	dirs, err := wipe.CgroupDirs(pod.Cgroup())
	require.NoError(t, err)
	assert.Empty(t, dirs, "the pod's cgroup is gone with the pod")
	d.Forget()
	assert.Empty(t, d.Records())
}

func TestChildKilledForMemoryLeavesTheContainerRunning(t *testing.T) {
	d := realruntime.Containerd(t).Driver()
	pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: "forkoom"})
	require.NoError(t, err)
	id, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "parent", Args: []string{"forkoom", "1", "4"}, MemoryLimit: 32 << 20})
	require.NoError(t, err)
	r, err := d.WaitFor(t.Context(), id, "to have lost a child", func(s *cri.ContainerStatus) bool { return s.GetReason() == "OOMKilled" })
	require.NoError(t, err)
	assert.Equal(t, cri.ContainerState_CONTAINER_RUNNING, r.State)
}

func TestReadyFailsWhenTheContainerHasEnded(t *testing.T) {
	d := realruntime.Containerd(t).Driver()
	pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: "early"})
	require.NoError(t, err)
	id, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "gone", Args: []string{"exit", "4"}})
	require.NoError(t, err)
	require.ErrorContains(t, d.Ready(t.Context(), id), "ended before it was ready: exit 4, Error")
}

func TestRestartIsTheNextAttemptInTheSamePod(t *testing.T) {
	d := realruntime.Containerd(t).Driver()
	pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: "loop", Namespace: "shop", Labels: map[string]string{"app": "loop"}})
	require.NoError(t, err)
	first, err := d.Play(t.Context(), pod, privateruntime.Life{Name: "worker", Args: []string{"exit", "1"}, Expect: privateruntime.End{1, "Error"}}, 0)
	require.NoError(t, err)
	second, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "worker", Attempt: 1, Args: []string{"pause"}})
	require.NoError(t, err)

	current, err := d.Status(t.Context(), second)
	require.NoError(t, err)
	assert.Equal(t, uint32(1), current.GetMetadata().GetAttempt())
	assert.Equal(t, "1", current.GetAnnotations()["io.kubernetes.container.restartCount"])
	assert.Equal(t, cri.ContainerState_CONTAINER_RUNNING, current.GetState())
	assert.NotEqual(t, first.ID, second)
	assert.Equal(t, pod.UID, current.GetLabels()["io.kubernetes.pod.uid"])

	pid, err := d.PID(t.Context(), second)
	require.NoError(t, err)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	assert.Regexp(t, `(?m)^NSpid:\t\d+\t1$`, string(status), "the main process is PID 1 of its own namespace")
	cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	require.NoError(t, err)
	assert.Contains(t, string(cgroup), pod.Cgroup()+"/"+second)
}

func TestContainersOutliveTheDaemon(t *testing.T) {
	c := realruntime.Containerd(t)
	d := c.Driver()
	pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: "survivor"})
	require.NoError(t, err)
	id, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "service", Args: []string{"pause"}})
	require.NoError(t, err)
	before, err := d.PID(t.Context(), id)
	require.NoError(t, err)

	for name, down := range map[string]func() error{
		"killed":  c.Kill,
		"stopped": func() error { return c.Stop(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, down())
			assert.Zero(t, c.PID())
			require.NoError(t, syscall.Kill(before, 0), "the container still runs")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := d.Status(ctx, id)
			require.Error(t, err, "the daemon does not answer")
			require.NoError(t, c.Restart(t.Context()))
			after, err := d.PID(t.Context(), id)
			require.NoError(t, err)
			assert.Equal(t, before, after)
		})
	}
}

func TestFrozenDaemonAnswersNothingUntilThawed(t *testing.T) {
	c := realruntime.Containerd(t)
	client := cri.NewRuntimeServiceClient(c.Conn())
	require.NoError(t, c.Freeze())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := client.Version(ctx, &cri.VersionRequest{})
	require.ErrorContains(t, err, "DeadlineExceeded")
	socket, err := net.Dial("unix", privateruntime.SocketPath(c.Dir()))
	require.NoError(t, err, "the kernel still accepts connections")
	require.NoError(t, socket.Close())
	require.NoError(t, c.Thaw())
	_, err = client.Version(t.Context(), &cri.VersionRequest{})
	require.NoError(t, err)
}

func TestContainerStopsAfterPauseAndResume(t *testing.T) {
	d := realruntime.Containerd(t).Driver()
	pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: "paused"})
	require.NoError(t, err)
	id, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "service", Args: []string{"pause"}})
	require.NoError(t, err)
	require.NoError(t, d.Pause(t.Context(), id))
	require.ErrorContains(t, d.Pause(t.Context(), id), "pause container", "it is paused already")
	require.NoError(t, d.Resume(t.Context(), id))
	require.NoError(t, d.Ready(t.Context(), id))
	require.NoError(t, d.Stop(t.Context(), id, 10*time.Second))
	r, err := d.Wait(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, privateruntime.End{0, "Completed"}, privateruntime.End{r.ExitCode, r.Reason})
}

func TestStartRefusesUnusableDirectories(t *testing.T) {
	tests := map[string]struct {
		options privateruntime.Options
		message string
	}{
		"relative directory": {privateruntime.Options{Dir: "here"}, "must be absolute"},
		"path too long":      {privateruntime.Options{Dir: "/tmp/" + strings.Repeat("x", 100)}, "choose a shorter directory"},
	}
	if err := privateruntime.Check(t.Context(), privateruntime.Options{}); err != nil {
		t.Skip(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := privateruntime.Start(t.Context(), tt.options)
			require.ErrorContains(t, err, tt.message)
		})
	}
}

func TestHeapReturnsTheDaemonsHeap(t *testing.T) {
	c := realruntime.Containerd(t)
	heap, err := c.Heap(t.Context())
	require.NoError(t, err)
	assert.Greater(t, heap, uint64(1<<20))
	assert.Less(t, heap, uint64(1<<30))
	require.NoError(t, c.Kill())
	_, err = c.Heap(t.Context())
	require.ErrorContains(t, err, "heap profile")
}
