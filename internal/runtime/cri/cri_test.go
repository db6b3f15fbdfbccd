// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/test/crifake"
)

func TestMain(m *testing.M) {
	if serve() {
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/Microsoft/go-winio.ioCompletionProcessor")) // it never ends
}

// socketPath returns a path that is short enough for a socket.
func socketPath(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "cri") //nolint:usetesting // a test's own directory has too long a name for a socket
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "c.sock")
}

// notOnWindows skips a test of Unix sockets, which Wine does not support.
func notOnWindows(tb testing.TB) {
	tb.Helper()
	if runtime.PipesSupported {
		tb.Skip("no runtime on Windows serves a Unix socket")
	}
}

// fake starts a synthetic CRI server and returns it with a connected Runtime.
func fake(tb testing.TB, server crifake.Options, options Options) (*crifake.Server, *Runtime) {
	tb.Helper()
	s, err := crifake.Start(socketPath(tb), server)
	require.NoError(tb, err)
	tb.Cleanup(s.Stop)
	return s, dialFake(tb, s, options)
}

func dialFake(tb testing.TB, s *crifake.Server, options Options) *Runtime {
	tb.Helper()
	options.Endpoint, options.Name = s.Endpoint(), "node"
	r, err := New(options)
	require.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, r.Close()) })
	return r
}

// described lists and describes one container.
func described(tb testing.TB, r *Runtime, id string) *container.Container {
	tb.Helper()
	list, err := r.List(context.Background(), nil)
	require.NoError(tb, err)
	for _, s := range list {
		if s.ID == id {
			c, err := r.Describe(context.Background(), s)
			require.NoError(tb, err)
			return c
		}
	}
	tb.Fatalf("container %s is not listed", id)
	return nil
}

func TestInfoReturnsEngineAndVersion(t *testing.T) {
	for reported, want := range map[string]string{
		"containerd": "containerd", "cri-o": "cri-o", "docker": "docker", "Frakti": "frakti",
	} {
		t.Run(want, func(t *testing.T) {
			_, r := fake(t, crifake.Options{Name: reported, Version: "1.2.3"}, Options{})
			info, err := r.Info(t.Context())
			require.NoError(t, err)
			assert.Equal(t, runtime.Info{Engine: want, Version: "1.2.3", APIVersion: "v1"}, info)
		})
	}
	assert.Equal(t, "unknown", engineName(""))
}

func TestNewFailsForInvalidOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no endpoint":                {},
		"relative path":              {Endpoint: "run/containerd.sock"},
		"another scheme":             {Endpoint: "tcp://127.0.0.1:2375"},
		"invalid label pattern":      {Endpoint: "/run/c.sock", Labels: []string{"a[b"}},
		"invalid annotation pattern": {Endpoint: "/run/c.sock", Annotations: []string{"[z"}},
		"a pipe on another system":   {Endpoint: "npipe:////./pipe/containerd-containerd"},
		"a pipe without a name":      {Endpoint: "npipe:////./pipe/"},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.PipesSupported && name == "a pipe on another system" {
				t.Skip("this is Windows")
			}
			_, err := New(o)
			require.Error(t, err)
		})
	}
}

func TestEndpointIsNormalized(t *testing.T) {
	for in, want := range map[string]string{
		"/run/containerd/containerd.sock":        "unix:///run/containerd/containerd.sock",
		"unix:///run/crio/crio.sock":             "unix:///run/crio/crio.sock",
		"unix:///host/run/k3s/containerd/c.sock": "unix:///host/run/k3s/containerd/c.sock",
	} {
		ep, err := parseEndpoint(in)
		require.NoError(t, err)
		assert.Equal(t, want, ep.String())
	}
	assert.Equal(t, "npipe:////./pipe/containerd-containerd",
		runtime.Endpoint{Scheme: "npipe", Address: `\\.\pipe\containerd-containerd`}.String())
}

func TestErrorsContainRemedy(t *testing.T) {
	t.Run("no socket", func(t *testing.T) {
		notOnWindows(t)
		r, err := New(Options{Endpoint: "/nonexistent/c.sock", Timeout: 5 * time.Second})
		require.NoError(t, err)
		defer r.Close()
		_, err = r.List(t.Context(), nil)
		require.ErrorContains(t, err, "unix:///nonexistent/c.sock")
		require.ErrorContains(t, err, "mount the directory")
	})
	t.Run("stale socket file", func(t *testing.T) {
		notOnWindows(t)
		path := socketPath(t)
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		r, err := New(Options{Endpoint: path, Timeout: 5 * time.Second})
		require.NoError(t, err)
		defer r.Close()
		_, err = r.Info(t.Context())
		require.ErrorContains(t, err, "no process listens")
	})
	t.Run("no permission", func(t *testing.T) {
		err := Explain(status14, os.ErrPermission, "list the containers", "unix:///c.sock", "10s")
		require.ErrorContains(t, err, "as root or as a member of the group")
	})
	t.Run("gone, with Docker's error text", func(t *testing.T) {
		err := Explain(status.Error(codes.Unknown, "Error: No such container: 4f"), nil, "inspect container 4f", "unix:///c.sock", "10s")
		require.ErrorIs(t, err, runtime.ErrNotFound)
	})
	t.Run("hangs", func(t *testing.T) {
		s, r := fake(t, crifake.Options{}, Options{Timeout: 50 * time.Millisecond})
		lift := s.Inject(crifake.Fault{Hang: true})
		_, err := r.List(t.Context(), nil)
		require.ErrorContains(t, err, "did not answer within 50ms")
		lift()
		require.Eventually(t, func() bool { // 50 ms may be too short for a healthy server
			_, err = r.List(t.Context(), nil)
			return err == nil
		}, 10*time.Second, 10*time.Millisecond)
	})
	t.Run("CRI plugin disabled", func(t *testing.T) {
		s, r := fake(t, crifake.Options{}, Options{})
		s.Inject(crifake.Fault{Code: unimplemented})
		_, err := r.Info(t.Context())
		require.ErrorIs(t, err, runtime.ErrNotSupported)
		require.ErrorContains(t, err, "disabled_plugins")
		_, err = r.List(t.Context(), nil)
		require.ErrorIs(t, err, runtime.ErrNotSupported)
	})
	t.Run("closed", func(t *testing.T) {
		_, r := fake(t, crifake.Options{}, Options{})
		require.NoError(t, r.Close())
		require.NoError(t, r.Close())
		_, err := r.Info(t.Context())
		require.Error(t, err)
	})
}

func TestInspectSucceedsWhenAnotherContainerHangs(t *testing.T) {
	s, r := fake(t, crifake.Options{}, Options{Timeout: time.Second})
	ids := s.Fill(2, 2)
	hung, healthy := described(t, r, ids[0]), described(t, r, ids[1])
	s.Inject(crifake.Fault{Method: "ContainerStatus", Container: ids[0], Hang: true})
	ended := make(chan error, 1)
	go func() { _, err := r.Inspect(context.Background(), hung); ended <- err }()
	_, err := r.Inspect(t.Context(), healthy)
	require.NoError(t, err)
	_, err = r.List(t.Context(), nil)
	require.NoError(t, err)
	require.ErrorContains(t, <-ended, "did not answer within")
}

func TestListSucceedsWhenRuntimeReturnsAtSamePath(t *testing.T) {
	path := socketPath(t)
	s, err := crifake.Start(path, crifake.Options{})
	require.NoError(t, err)
	r := dialFake(t, s, Options{})
	_, err = r.List(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 1, s.Calls("StreamContainers"))
	_, err = r.List(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 1, s.Calls("StreamContainers"), "an unimplemented method is not called twice")
	s.Stop()
	_, err = r.List(t.Context(), nil)
	require.Error(t, err)

	s, err = crifake.Start(path, crifake.Options{StreamLists: true})
	require.NoError(t, err)
	defer s.Stop()
	s.Fill(3, 1)
	require.Eventually(t, func() bool {
		list, err := r.List(t.Context(), nil)
		return err == nil && len(list) == 3
	}, 10*time.Second, 20*time.Millisecond)
	// The list that found the connection broken may have used the unary call.
	unary := s.Calls("ListContainers")
	_, err = r.List(t.Context(), nil)
	require.NoError(t, err)
	assert.NotZero(t, s.Calls("StreamContainers"), "the new runtime may implement it")
	assert.Equal(t, unary, s.Calls("ListContainers"))
}

func TestGRPCDoesNotDialWhenSocketIsMissing(t *testing.T) {
	path := socketPath(t)
	s, err := crifake.Start(path, crifake.Options{})
	require.NoError(t, err)
	r := dialFake(t, s, Options{})
	s.Stop()
	remedy := "the socket does not exist"
	if runtime.PipesSupported { // crifake serves a named pipe there
		remedy = "the pipe does not exist"
	}
	for range 3 {
		_, err := r.List(t.Context(), nil)
		require.ErrorContains(t, err, remedy)
		require.ErrorContains(t, WithEvents(r).Watch(t.Context(), func() {}, func(runtime.Notice) {}), remedy)
		assert.Equal(t, connectivity.Idle, r.conn.GetState(), "each attempt of gRPC would log a warning")
	}
}
