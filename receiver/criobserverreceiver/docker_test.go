// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/detect"
	"github.com/zastava-otel/zastava/internal/test/socketdir"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver/internal/metadata"
)

func TestAPIIsChosenByEngineAndEndpoint(t *testing.T) {
	cases := map[RuntimeConfig]Engine{
		{Endpoint: "unix:///run/docker.sock"}:                                    EngineDocker,
		{Endpoint: "/run/user/1000/podman/podman.sock"}:                          EngineDocker,
		{Endpoint: "npipe:////./pipe/docker_engine", Engine: EngineAuto}:         EngineDocker,
		{Endpoint: `\\.\pipe\docker_engine`}:                                     EngineDocker,
		{Endpoint: "tcp://host:2376"}:                                            EngineDocker,
		{Endpoint: "unix:///run/x.sock", Engine: EngineDocker}:                   EngineDocker,
		{Endpoint: "unix:///run/docker.sock", Engine: EngineCRI}:                 EngineCRI,
		{Endpoint: "unix:///run/containerd/containerd.sock", Engine: EngineCRIO}: EngineCRI,
		{Endpoint: "unix:///run/containerd/containerd.sock"}:                     EngineAuto,
		{Endpoint: "npipe:////./pipe/containerd-containerd", Engine: EngineAuto}: EngineAuto,
	}
	for rc, want := range cases {
		assert.Equal(t, want, rc.api(), "%s %s", rc.Engine, rc.Endpoint)
	}
}

func TestDetectedRuntimeFitsTheConfiguredEngine(t *testing.T) {
	docker := detect.Runtime{Engine: "docker"}
	containerd := detect.Runtime{Engine: "containerd"}
	assert.True(t, fits(RuntimeConfig{}, docker))
	assert.True(t, fits(RuntimeConfig{Engine: EngineDocker}, docker))
	assert.False(t, fits(RuntimeConfig{Engine: EngineCRI}, docker))
	assert.False(t, fits(RuntimeConfig{Engine: EngineDocker}, containerd))
	assert.Equal(t, EngineDocker, engineFor(RuntimeConfig{}, docker))
	assert.Equal(t, EngineAuto, engineFor(RuntimeConfig{Engine: EngineAuto}, containerd))
}

// dockerSocket starts a Docker API without containers at a socket with a neutral name and returns its path.
func dockerSocket(t *testing.T) string {
	t.Helper()
	path := filepath.Join(socketdir.New(t), "x.sock")
	dockerAt(t, path)
	return path
}

// dockerAt starts a Docker API without containers at path.
func dockerAt(t *testing.T, path string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	require.NoError(t, err)
	s := &httptest.Server{Listener: l, Config: &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		switch {
		case strings.HasSuffix(q.URL.Path, "/_ping"):
		case strings.HasSuffix(q.URL.Path, "/version"):
			_, _ = w.Write([]byte(`{"Version":"20.10.24","ApiVersion":"1.41"}`))
		default:
			_, _ = w.Write([]byte(`[]`))
		}
	})}}
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
}

func dockerReceiver(t *testing.T) *criObserver {
	t.Helper()
	r, err := newReceiver(createDefaultConfig().(*Config), receivertest.NewNopSettings(metadata.Type), consumertest.NewNop())
	require.NoError(t, err)
	r.cfg.Timeout = 5 * time.Second
	r.status = newStatus(componenttest.NewNopHost())
	t.Cleanup(r.tel.shutdown)
	return r
}

func TestAPIIsDetectedWhenTheSocketHasANeutralName(t *testing.T) {
	r := dockerReceiver(t)
	rt, info, err := r.opener(RuntimeConfig{Endpoint: dockerSocket(t)}, "x", zap.NewNop())(t.Context())
	require.NoError(t, err)
	defer func() { assert.NoError(t, rt.Close()) }()
	assert.Equal(t, "docker", info.Engine)
	assert.True(t, info.RestartsInPlace)
	assert.Implements(t, (*runtime.Watcher)(nil), rt)
	assert.False(t, r.criOnDocker.Load(), "this is Docker itself")
}

func TestStreamIsHiddenWhenItIsOff(t *testing.T) {
	r := dockerReceiver(t)
	rt, _, err := r.opener(RuntimeConfig{Engine: EngineDocker, Endpoint: dockerSocket(t), Stream: StreamOff}, "x", zap.NewNop())(t.Context())
	require.NoError(t, err)
	defer func() { assert.NoError(t, rt.Close()) }()
	assert.NotImplements(t, (*runtime.Watcher)(nil), rt)
	assert.Implements(t, (*runtime.Finder)(nil), rt)
}

func TestProbeFailsWhenTheAPIIsAnother(t *testing.T) {
	r := dockerReceiver(t)
	require.NoError(t, r.probe(t.Context(), detect.Runtime{Engine: "docker", Endpoint: "unix://" + dockerSocket(t)}))
	require.Error(t, r.probe(t.Context(), detect.Runtime{Engine: "docker", Endpoint: "unix:///nonexistent/docker.sock"}))
	require.Error(t, r.probe(t.Context(), detect.Runtime{Engine: "containerd", Endpoint: "unix://" + dockerSocket(t)}))
}

func TestPlainTCPIsLoggedOnce(t *testing.T) {
	r := dockerReceiver(t)
	core, logs := observer.New(zap.WarnLevel)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	endpoint := "tcp://" + l.Addr().String()
	require.NoError(t, l.Close())
	open := r.opener(RuntimeConfig{Endpoint: endpoint}, "x", zap.New(core))
	for range 3 {
		_, _, err := open(t.Context())
		require.Error(t, err)
	}
	assert.Equal(t, 1, logs.FilterMessageSnippet("plain text").Len())
	_, _, err = r.opener(RuntimeConfig{Endpoint: endpoint, TLS: &configtls.ClientConfig{ServerName: "engine"}}, "x", zap.New(core))(t.Context())
	require.Error(t, err)
	assert.Equal(t, 1, logs.Len(), "not with TLS")
}
