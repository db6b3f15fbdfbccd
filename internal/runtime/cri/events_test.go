// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/test/crifake"
)

// watching is a running Watch.
type watching struct {
	mu      sync.Mutex
	notices []runtime.Notice
	ready   chan struct{}
	ended   chan error
	cancel  context.CancelFunc
}

func watch(t *testing.T, r *Runtime) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching{ready: make(chan struct{}), ended: make(chan error, 1), cancel: cancel}
	go func() {
		w.ended <- WithEvents(r).Watch(ctx, func() { close(w.ready) }, func(n runtime.Notice) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.notices = append(w.notices, n)
		})
	}()
	t.Cleanup(func() {
		cancel()
		// A test that received the error has sent nil for it.
		require.NoError(t, <-w.ended)
	})
	return w
}

// end waits for the stream to break.
func (w *watching) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-w.ended:
		w.ended <- nil
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the stream did not end")
		return nil
	}
}

func (w *watching) active(t *testing.T) {
	t.Helper()
	select {
	case <-w.ready:
	case err := <-w.ended:
		w.ended <- nil
		t.Fatalf("ended before it was active: %v", err)
	case <-time.After(10 * time.Second):
		t.Fatal("never ready")
	}
}

// after waits for n notices and returns them.
func (w *watching) after(t *testing.T, n int) []runtime.Notice {
	t.Helper()
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.notices) >= n
	}, 10*time.Second, time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]runtime.Notice(nil), w.notices...)
}

func isReady(w *watching) bool {
	select {
	case <-w.ready:
		return true
	default:
		return false
	}
}

func TestWatchReturnsErrNoStreamWhenStreamIsMissing(t *testing.T) {
	for name, mode := range map[string]crifake.EventMode{
		"unimplemented, as cri-dockerd": crifake.EventsUnimplemented,
		"ends at once, as CRI-O":        crifake.EventsEnd,
	} {
		t.Run(name, func(t *testing.T) {
			_, r := fake(t, crifake.Options{Events: mode}, Options{})
			w := watch(t, r)
			require.ErrorIs(t, w.end(t), runtime.ErrNoStream)
			assert.False(t, isReady(w))
		})
	}
	t.Run("not allowed", func(t *testing.T) {
		s, r := fake(t, crifake.Options{Events: crifake.EventsOn}, Options{})
		s.Inject(crifake.Fault{Method: "GetContainerEvents", Code: codes.PermissionDenied})
		require.ErrorIs(t, watch(t, r).end(t), runtime.ErrNoStream)
	})
}

func TestWatchOmitsSandboxEvents(t *testing.T) {
	s, r := fake(t, crifake.Options{Name: "cri-o", Events: crifake.EventsOn, SandboxEvents: true}, Options{})
	_, err := r.Info(t.Context())
	require.NoError(t, err)
	w := watch(t, r)
	w.active(t)
	sandbox := s.RunPod("shop", "api-1")
	other, err := s.Create(sandbox, "sidecar", 0)
	require.NoError(t, err)
	id, err := s.Create(sandbox, "api", 3)
	require.NoError(t, err)
	require.NoError(t, s.Start(id))
	started := life(t, s, id)
	require.NoError(t, s.Exit(id, 137, "OOMKilled"))
	ended := life(t, s, id)
	require.NoError(t, s.Remove(id))

	all := w.after(t, 5)
	require.Len(t, all, 5)
	assert.Equal(t, other, all[0].ID)
	var kinds []runtime.NoticeKind
	for _, n := range all[1:] {
		assert.Equal(t, id, n.ID)
		kinds = append(kinds, n.Kind)
	}
	assert.Equal(t, []runtime.NoticeKind{
		runtime.NoticeCreated, runtime.NoticeStarted, runtime.NoticeExited, runtime.NoticeDeleted,
	}, kinds)
	assert.Equal(t, container.StateCreated, all[1].Snapshot.State)
	assert.Equal(t, "api", all[1].Snapshot.Container.Name, "its own status, not the sidecar's")
	assert.Equal(t, sandbox, all[1].Snapshot.Container.Pod.SandboxID)
	assert.Equal(t, "cri-o", all[1].Snapshot.Container.Engine)
	assert.EqualValues(t, 3, all[1].Snapshot.RestartCount)
	assert.Equal(t, started.Started, all[2].At)
	assert.Equal(t, ended.Finished, all[3].At)
	assert.EqualValues(t, 137, all[3].ExitCode)
	assert.True(t, all[3].Snapshot.Run.OOMKilled)
	assert.Nil(t, all[4].Snapshot)
	w.cancel()
	require.NoError(t, w.end(t))
}

func TestWatchReportsEventsWithoutStatuses(t *testing.T) {
	s, r := fake(t, crifake.Options{Events: crifake.EventsOn, BareEvents: true, SandboxEvents: true}, Options{})
	id := s.Fill(1, 1)[0]
	described(t, r, id)
	w := watch(t, r)
	w.active(t)
	require.NoError(t, s.Exit(id, 3, "Error"))
	require.NoError(t, s.RemovePod(life(t, s, id).Sandbox))
	all := w.after(t, 2)
	require.Len(t, all, 2, "the sandbox is known from the list")
	assert.Equal(t, runtime.NoticeChanged, all[0].Kind, "a stop without a status has no exit code")
	assert.Nil(t, all[0].Snapshot)
	assert.Equal(t, runtime.NoticeDeleted, all[1].Kind)
}

func TestWatchMarksEarlierEventsAsReplayed(t *testing.T) {
	s, r := fake(t, crifake.Options{Events: crifake.EventsOn, KeepEvents: 100}, Options{})
	id := s.Fill(1, 1)[0]
	w := watch(t, r)
	all := w.after(t, 2)
	w.active(t)
	assert.Equal(t, id, all[0].ID)
	assert.True(t, all[0].At.Before(time.Now()))
	assert.True(t, all[0].Replayed && all[1].Replayed)
	require.NoError(t, s.Exit(id, 0, "Completed"))
	all = w.after(t, 3)
	assert.Equal(t, runtime.NoticeExited, all[2].Kind)
	assert.False(t, all[2].Replayed)
}

func TestWatchPostsNoticesWhenReadyBlocks(t *testing.T) {
	s, r := fake(t, crifake.Options{Events: crifake.EventsOn}, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	blocked, got, ended := make(chan struct{}), make(chan runtime.Notice, 100), make(chan error, 1)
	entered := make(chan struct{})
	go func() {
		ended <- WithEvents(r).Watch(ctx, func() { close(entered); <-blocked }, func(n runtime.Notice) { got <- n })
	}()
	<-entered
	s.Fill(1, 1)
	assert.Equal(t, runtime.NoticeCreated, (<-got).Kind)
	cancel()
	close(blocked)
	require.NoError(t, <-ended)
}

func TestWatchReturnsOtherErrorWhenStreamBreaks(t *testing.T) {
	t.Run("fails", func(t *testing.T) {
		s, r := fake(t, crifake.Options{Events: crifake.EventsOn}, Options{})
		w := watch(t, r)
		w.active(t)
		s.CutStreams(codes.Unavailable)
		err := w.end(t)
		require.Error(t, err)
		require.NotErrorIs(t, err, runtime.ErrNoStream)
	})
	t.Run("ends after a message", func(t *testing.T) {
		s, r := fake(t, crifake.Options{Events: crifake.EventsOn}, Options{})
		w := watch(t, r)
		w.active(t)
		s.Fill(1, 1)
		w.after(t, 2)
		s.CutStreams(codes.OK)
		err := w.end(t)
		require.ErrorContains(t, err, "ended the stream")
		require.NotErrorIs(t, err, runtime.ErrNoStream)
	})
	t.Run("runtime dies", func(t *testing.T) {
		s, err := crifake.Start(socketPath(t), crifake.Options{Events: crifake.EventsOn})
		require.NoError(t, err)
		w := watch(t, dialFake(t, s, Options{}))
		w.active(t)
		s.Stop()
		err = w.end(t)
		require.Error(t, err)
	})
	t.Run("runtime hangs before it is active", func(t *testing.T) {
		s, r := fake(t, crifake.Options{Events: crifake.EventsOn}, Options{Timeout: 50 * time.Millisecond})
		s.Inject(crifake.Fault{Method: "Version", Hang: true})
		w := watch(t, r)
		require.ErrorContains(t, w.end(t), "did not answer within 50ms")
		assert.False(t, isReady(w))
	})
	t.Run("no socket", func(t *testing.T) {
		notOnWindows(t)
		r, err := New(Options{Endpoint: "/nonexistent/c.sock"})
		require.NoError(t, err)
		defer r.Close()
		err = WithEvents(r).Watch(t.Context(), func() {}, func(runtime.Notice) {})
		require.ErrorContains(t, err, "no such file")
	})
}

func TestNoticeAcceptsMalformedEvents(t *testing.T) {
	_, r := fake(t, crifake.Options{}, Options{})
	watcher := WithEvents(r)
	for name, e := range map[string]*runtimeapi.ContainerEventResponse{
		"empty":     {},
		"a sandbox": {ContainerId: "s", PodSandboxStatus: &runtimeapi.PodSandboxStatus{Id: "s"}},
	} {
		_, ok := watcher.notice(e)
		assert.False(t, ok, name)
	}
	n, ok := watcher.notice(&runtimeapi.ContainerEventResponse{
		ContainerId: "a", ContainerEventType: 99, CreatedAt: -1, ContainersStatuses: []*runtimeapi.ContainerStatus{nil, {Id: "a"}},
	})
	require.True(t, ok)
	assert.Equal(t, runtime.NoticeChanged, n.Kind)
	assert.Zero(t, n.At)
	n, ok = watcher.notice(&runtimeapi.ContainerEventResponse{
		ContainerId: "a", ContainerEventType: runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT,
		ContainersStatuses: []*runtimeapi.ContainerStatus{{Id: "a", State: running, StartedAt: 1795375918400062875}},
	})
	require.True(t, ok)
	assert.Equal(t, runtime.NoticeChanged, n.Kind, "the status contradicts the event")
}
