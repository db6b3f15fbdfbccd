// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package criobserverreceiver

import (
	"context"
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

	"github.com/zastava-otel/zastava/internal/test/socketdir"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver/internal/metadata"
)

func TestOwnerIsValidated(t *testing.T) {
	for want, rc := range map[string]RuntimeConfig{
		"":                                {Endpoint: "unix:///run/user/1000/docker.sock", Owner: new(int64(1000))},
		"owner: -1 is not a user id":      {Endpoint: "unix:///run/user/1000/docker.sock", Owner: new(int64(-1))},
		"owner: 4294967295 is not a user": {Endpoint: "unix:///run/user/1000/docker.sock", Owner: new(int64(1<<32 - 1))},
		"owner: 1000 needs the endpoint":  {Owner: new(int64(1000))},
		"owner: 1000 is for Unix sockets": {Endpoint: "tcp://127.0.0.1:2375", Owner: new(int64(1000))},
	} {
		cfg := createDefaultConfig().(*Config)
		cfg.Runtimes = []RuntimeConfig{rc}
		if err := cfg.Validate(); want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, "runtimes[0]."+want)
		}
	}
}

func TestCheckpointOfAnotherOwnerIsNotContinued(t *testing.T) {
	root := RuntimeConfig{Endpoint: "unix:///run/docker.sock"}
	user := RuntimeConfig{Endpoint: "unix:///run/docker.sock", Owner: new(int64(1000))}
	assert.Equal(t, "/run/docker.sock", placeOf(&root))
	assert.NotEqual(t, placeOf(&root), placeOf(&user))
}

// The socket at a well-known path belongs to a local user.
func TestDetectedSocketOfAnotherUserIsRefusedWithOneLine(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make a socket of another user")
	}
	root := socketdir.New(t)
	require.NoError(t, os.Mkdir(filepath.Join(root, "run"), 0o700))
	place := filepath.Join(root, "run", "docker.sock")
	dockerAt(t, place)
	require.NoError(t, os.Chown(place, 65534, 65534))

	core, logs := observer.New(zap.InfoLevel)
	set := receivertest.NewNopSettings(metadata.Type)
	set.Logger = zap.New(core)
	cfg := createDefaultConfig().(*Config)
	cfg.HostRoot, cfg.DetectInterval = root, 5*time.Millisecond
	r, err := newReceiver(cfg, set, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	require.Eventually(t, func() bool { return logs.FilterMessageSnippet("is not observed").Len() > 0 }, time.Minute, time.Millisecond)
	time.Sleep(20 * cfg.DetectInterval)
	require.NoError(t, r.Shutdown(context.Background()))
	lines := logs.FilterMessageSnippet("is not observed").All()
	require.Len(t, lines, 1)
	for _, part := range []string{place, "uid 65534", "owner: 65534"} {
		assert.Contains(t, lines[0].ContextMap()["error"], part)
	}
	assert.Empty(t, r.running)
}
