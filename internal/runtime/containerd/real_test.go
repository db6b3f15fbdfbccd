// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package containerd

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/cri"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
)

func connect(t *testing.T, c *privateruntime.Containerd) Runtime {
	t.Helper()
	base, err := cri.New(cri.Options{Name: "test", Endpoint: c.Endpoint()})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, base.Close()) })
	return New(base)
}

// notices collects what a Watch posts.
type notices struct {
	mu  sync.Mutex
	all []seen
}

type seen struct {
	runtime.Notice
	read time.Time
}

func (n *notices) post(notice runtime.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, seen{notice, time.Now()})
}

// of returns the notices of one kind about a container.
func (n *notices) of(id string, kind runtime.NoticeKind) []seen {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []seen
	for _, s := range n.all {
		if s.ID == id && s.Kind == kind {
			out = append(out, s)
		}
	}
	return out
}

// one waits for a notice of this kind and returns the first.
func (n *notices) one(t *testing.T, id string, kind runtime.NoticeKind) seen {
	t.Helper()
	require.Eventually(t, func() bool { return len(n.of(id, kind)) > 0 }, 10*time.Second, 2*time.Millisecond,
		"no notice of kind %d about %s", kind, id)
	return n.of(id, kind)[0]
}

// watch starts a Watch and ends it with the test.
func watch(t *testing.T, r Runtime) (*notices, <-chan error) {
	t.Helper()
	n, ready, ended := &notices{}, make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- r.Watch(ctx, func() { close(ready) }, n.post) }()
	t.Cleanup(cancel)
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("watch ended: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("the subscription did not become active")
	}
	return n, ended
}

func find(t *testing.T, all []runtime.Summary, id string) runtime.Summary {
	t.Helper()
	for _, s := range all {
		if s.ID == id {
			return s
		}
	}
	t.Fatalf("container %s is not listed", id)
	return runtime.Summary{}
}

func inspected(t *testing.T, r Runtime, id string) (*container.Container, container.Snapshot) {
	t.Helper()
	all, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	c, err := r.Describe(t.Context(), find(t, all, id))
	require.NoError(t, err)
	snap, err := r.Inspect(t.Context(), c)
	require.NoError(t, err)
	return c, snap
}

func TestRealContainerLivesAreReported(t *testing.T) {
	c := realruntime.Containerd(t)
	d, r := c.Driver(), connect(t, c)
	info, err := r.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, runtime.Info{Engine: "containerd", Version: info.Version, APIVersion: "v1"}, info)
	assert.Contains(t, info.Version, c.Version())

	n, _ := watch(t, r)
	pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: "lives", Namespace: "shop"})
	require.NoError(t, err)
	for i, life := range privateruntime.Lives() {
		t.Run(life.Name, func(t *testing.T) {
			played, err := d.Play(t.Context(), pod, life, uint32(i))
			require.NoError(t, err)

			described, snap := inspected(t, r, played.ID)
			assert.Equal(t, life.Name, described.Name)
			assert.EqualValues(t, i, described.Attempt)
			assert.Equal(t, played.CreatedAt, described.CreatedAt)
			assert.Equal(t, container.Pod{SandboxID: pod.ID, Namespace: "shop", Name: "lives", UID: pod.UID}, described.Pod)
			assert.Equal(t, privateruntime.ProbeImage, described.Image.Reference)
			assert.Regexp(t, "^sha256:[0-9a-f]{64}$", snap.Container.Image.ID)
			assert.Equal(t, container.StateExited, snap.State)
			assert.EqualValues(t, i, snap.RestartCount)
			assert.Equal(t, container.Run{
				StartedAt: played.StartedAt, FinishedAt: played.FinishedAt, ExitCode: uint32(played.ExitCode), ExitKnown: true,
				Reason: played.Reason, OOMKilled: played.Reason == "OOMKilled",
			}, snap.Run)
			pid, err := r.PID(t.Context(), played.ID)
			require.NoError(t, err)
			assert.Zero(t, pid, "it has exited")

			n.one(t, played.ID, runtime.NoticeCreated)
			if !played.Started() { // a failed start has no event
				assert.Equal(t, "StartError", snap.Run.Reason)
				return
			}
			started, exited := n.one(t, played.ID, runtime.NoticeStarted), n.one(t, played.ID, runtime.NoticeExited)
			assert.NotZero(t, started.PID)
			assert.Equal(t, started.PID, exited.PID)
			assert.Equal(t, uint32(played.ExitCode), exited.ExitCode)
			assert.True(t, played.FinishedAt.Equal(exited.At), "finished %s, exit reported for %s", played.FinishedAt, exited.At)
			// CRI reads its clock after the start, containerd when it publishes the event: either may be first.
			assert.WithinDuration(t, played.StartedAt, started.At, time.Second)
			t.Logf("start: event %s before CRI's started_at, read %s after the event; exit: read %s after it happened",
				played.StartedAt.Sub(started.At), started.read.Sub(started.At), exited.read.Sub(exited.At))
			if played.Reason == "OOMKilled" {
				n.one(t, played.ID, runtime.NoticeOOM)
			}
		})
	}
	require.NoError(t, d.RemovePod(t.Context(), pod))
	for _, played := range d.Records() {
		n.one(t, played.ID, runtime.NoticeDeleted)
		_, err := r.Inspect(t.Context(), &container.Container{ID: played.ID})
		require.ErrorIs(t, err, runtime.ErrNotFound)
		_, err = r.Find(t.Context(), played.ID)
		require.ErrorIs(t, err, runtime.ErrNotFound)
	}
	assert.Empty(t, n.of(pod.ID, runtime.NoticeExited), "the sandbox is known")
	assert.Empty(t, n.of(pod.ID, runtime.NoticeDeleted))
}

func TestRealPauseIsReportedAndExecIsNot(t *testing.T) {
	c := realruntime.Containerd(t)
	d, r := c.Driver(), connect(t, c)
	n, _ := watch(t, r)
	pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: "one"})
	require.NoError(t, err)
	const secret = "canary-in-the-environment"
	id, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{
		Name: "api", Args: []string{"pause"}, Env: map[string]string{"TOKEN": secret},
	})
	require.NoError(t, err)

	pid, err := r.PID(t.Context(), id)
	require.NoError(t, err)
	want, err := d.PID(t.Context(), id)
	require.NoError(t, err)
	assert.EqualValues(t, want, pid)
	assert.Equal(t, pid, n.one(t, id, runtime.NoticeStarted).PID)
	_, snap := inspected(t, r, id)
	assert.Equal(t, container.StateRunning, snap.State)
	assert.Zero(t, snap.Run.FinishedAt)
	assert.NotContains(t, fmt.Sprintf("%+v %+v", snap, snap.Container), secret)

	require.NoError(t, d.Pause(t.Context(), id))
	n.one(t, id, runtime.NoticePaused)
	require.NoError(t, d.Resume(t.Context(), id))
	n.one(t, id, runtime.NoticeResumed)

	response, err := runtimeapi.NewRuntimeServiceClient(c.Conn()).ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{
		ContainerId: id, Cmd: []string{"/probe", "exit", "7"}, Timeout: 20,
	})
	require.NoError(t, err)
	require.EqualValues(t, 7, response.ExitCode)
	require.NoError(t, d.Stop(t.Context(), id, 5*time.Second))
	n.one(t, id, runtime.NoticeExited)
	assert.Len(t, n.of(id, runtime.NoticeExited), 1, "the exit of an exec is not the container's")
	assert.Len(t, n.of(id, runtime.NoticeStarted), 1)

	// A sandbox is not a container, and Find reports that.
	_, err = r.Find(t.Context(), pod.ID)
	require.ErrorIs(t, err, runtime.ErrNotFound)
	require.NoError(t, d.RemovePod(t.Context(), pod))
}

func TestRealWatchFailsWhenDaemonDies(t *testing.T) {
	c := realruntime.Containerd(t)
	d, r := c.Driver(), connect(t, c)
	_, ended := watch(t, r)
	pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: "one"})
	require.NoError(t, err)
	id, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "api", Args: []string{"pause"}})
	require.NoError(t, err)
	require.NoError(t, c.Kill())
	select {
	case err := <-ended:
		require.Error(t, err)
		require.NotErrorIs(t, err, runtime.ErrNoStream)
	case <-time.After(20 * time.Second):
		t.Fatal("the stream of a dead daemon did not end")
	}
	_, err = r.List(t.Context(), nil)
	require.Error(t, err)
	require.NoError(t, c.Restart(t.Context()))
	require.Eventually(t, func() bool { _, err := r.List(t.Context(), nil); return err == nil }, 20*time.Second, 20*time.Millisecond)

	n, _ := watch(t, r)
	_, snap := inspected(t, r, id)
	assert.Equal(t, container.StateRunning, snap.State)
	require.NoError(t, d.Stop(t.Context(), id, 5*time.Second))
	n.one(t, id, runtime.NoticeExited)
	require.NoError(t, d.RemovePod(t.Context(), pod))
}

// TestRealCRIEventStreamReportsEvents reads CRI's stream, which is not used on containerd by default, if the version has it. It
// stands in for CRI-O, which has the same stream and is not available in this test.
func TestRealCRIEventStreamReportsEvents(t *testing.T) {
	c := realruntime.Containerd(t)
	d, r := c.Driver(), connect(t, c)
	n, ready, ended := &notices{}, make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- cri.WithEvents(r.Runtime).Watch(ctx, func() { close(ready) }, n.post) }()
	if strings.HasPrefix(c.Version(), "1.6.") {
		require.ErrorIs(t, <-ended, runtime.ErrNoStream)
		return
	}
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("watch ended: %v", err)
	}
	pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: "one"})
	require.NoError(t, err)
	played, err := d.Play(t.Context(), pod, privateruntime.Life{Name: "fails", Args: []string{"exit", "3"}}, 0)
	require.NoError(t, err)
	exited := n.one(t, played.ID, runtime.NoticeExited)
	assert.EqualValues(t, 3, exited.ExitCode)
	assert.Equal(t, played.FinishedAt, exited.At)
	require.NotNil(t, exited.Snapshot)
	assert.Equal(t, "Error", exited.Snapshot.Run.Reason)
	assert.Equal(t, pod.ID, exited.Snapshot.Container.Pod.SandboxID)
	require.NoError(t, d.RemovePod(t.Context(), pod))
	n.one(t, played.ID, runtime.NoticeDeleted)
	n.mu.Lock()
	for _, s := range n.all {
		// The event of a deleted sandbox carries no status, so it looks like a container's if no list showed a container of it.
		assert.True(t, s.ID != pod.ID || s.Kind == runtime.NoticeDeleted, "kind %d about the sandbox", s.Kind)
	}
	n.mu.Unlock()
	cancel()
	require.NoError(t, <-ended)
}
