// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package criobserverreceiver

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"

	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/detect"
	"github.com/zastava-otel/zastava/internal/test/socketdir"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver/internal/metadata"
)

// The machine has no runtime first, then a socket that does not answer, then a runtime that is observed.
func TestDetectionLogsEachFaultOnce(t *testing.T) {
	root := socketdir.New(t)
	require.NoError(t, os.Mkdir(filepath.Join(root, "run"), 0o700))
	place := filepath.Join(root, "run", "docker.sock")

	core, logs := observer.New(zap.InfoLevel)
	set := receivertest.NewNopSettings(metadata.Type)
	set.Logger = zap.New(core)
	cfg := createDefaultConfig().(*Config)
	cfg.HostRoot, cfg.DetectInterval, cfg.Timeout = root, 5*time.Millisecond, 5*time.Second
	r, err := newReceiver(cfg, set, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	defer func() { require.NoError(t, r.Shutdown(context.Background())) }()
	loggedOnce := func(snippets ...string) {
		t.Helper()
		for _, snippet := range snippets {
			require.Eventually(t, func() bool { return logs.FilterMessageSnippet(snippet).Len() > 0 }, time.Minute, time.Millisecond, snippet)
		}
		time.Sleep(10 * cfg.DetectInterval) // further searches must not log it again
		for _, snippet := range snippets {
			assert.Equal(t, 1, logs.FilterMessageSnippet(snippet).Len(), snippet)
		}
	}

	loggedOnce("no runtime is observed yet")
	assert.Contains(t, logs.All()[0].ContextMap()["error"], "set runtimes[].endpoint")

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", place)
	require.NoError(t, err)
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, listener.Close())
	loggedOnce("does not answer")
	refused := logs.FilterMessageSnippet("does not answer").All()[0].ContextMap()
	assert.Equal(t, "unix://"+place, refused["endpoint"])
	assert.Contains(t, refused["error"], "no process listens there")

	require.NoError(t, os.Remove(place))
	dockerAt(t, place)
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.running) > 0
	}, time.Minute, time.Millisecond)
	require.NoError(t, r.errNothingObserved(nil))
}

// The containerd of a Docker host has no CRI plugin.
func TestDetectionLogsNoWarningWhenContainerdHasNoCRI(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(socketdir.New(t), "x.sock"))
	require.NoError(t, err)
	server := grpc.NewServer()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})

	core, logs := observer.New(zap.InfoLevel)
	r := dockerReceiver(t)
	r.set.Logger = zap.New(core)
	found := detect.Runtime{Name: "containerd", Engine: "containerd", Endpoint: "unix://" + listener.Addr().String()}
	err = r.probe(t.Context(), found)
	require.ErrorIs(t, err, runtime.ErrNotSupported)
	r.logUnobserved(found, err)
	require.Equal(t, 1, logs.Len())
	assert.Equal(t, zap.InfoLevel, logs.All()[0].Level)
}

// One entry has an endpoint whose directory is a symbolic link; the other one is detected.
func TestSocketIsObservedOnceWhenFoundUnderTwoPaths(t *testing.T) {
	root := socketdir.New(t)
	require.NoError(t, os.Mkdir(filepath.Join(root, "run"), 0o700))
	require.NoError(t, os.Symlink("run", filepath.Join(root, "link")))
	dockerAt(t, filepath.Join(root, "run", "docker.sock"))
	linked := "unix://" + filepath.Join(root, "link", "docker.sock")

	cfg := createDefaultConfig().(*Config)
	cfg.HostRoot, cfg.DetectInterval = root, 5*time.Millisecond
	cfg.Runtimes = []RuntimeConfig{{Name: "mine", Engine: EngineDocker, Endpoint: linked}, {}}
	r, err := newReceiver(cfg, receivertest.NewNopSettings(metadata.Type), consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	time.Sleep(20 * cfg.DetectInterval)
	require.NoError(t, r.Shutdown(context.Background()))
	assert.Equal(t, map[string]string{linked: "mine"}, r.running)
}
