// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"flag"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// maxParallel is the maximum number of parallel tests. Tests with a real engine mostly wait for it, so the number does not depend
// on the number of processors.
const maxParallel = "4"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", maxParallel); err != nil { // an argument on the command line overrides it
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/Microsoft/go-winio.ioCompletionProcessor")) // it never ends
}

func TestInfoDescribesEngine(t *testing.T) {
	t.Run("Docker", func(t *testing.T) {
		info, err := newEngine(t).runtime().Info(t.Context())
		require.NoError(t, err)
		assert.Equal(t, runtime.Info{Engine: "docker", Version: "20.10.24", APIVersion: "1.41", ShowsPause: true, RestartsInPlace: true, Platform: container.Platform{OS: "linux", Arch: "amd64"}}, info)
	})
	t.Run("Podman", func(t *testing.T) {
		e := newEngine(t)
		e.respond("/version", `{"Version":"4.3.1","ApiVersion":"1.41","Components":[{"Name":"Podman Engine"},{"Name":"Conmon"}]}`)
		info, err := e.runtime().Info(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "podman", info.Engine)
	})
	t.Run("an engine that is older than 19.03", func(t *testing.T) {
		e := newEngine(t)
		e.api = "1.24"
		_, err := e.runtime().Info(t.Context())
		require.ErrorContains(t, err, "upgrade the engine")
	})
	for newest, want := range map[string]string{"1.39": "", "1.40": "1.40", "1.56": "1.56", "1.99": "1.56"} {
		t.Run("an engine whose newest version is "+newest, func(t *testing.T) {
			e := newEngine(t)
			e.api = newest
			info, err := e.runtime().Info(t.Context())
			if want == "" {
				require.ErrorContains(t, err, "upgrade the engine")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, want, info.APIVersion)
		})
	}
	t.Run("an engine that is downgraded", func(t *testing.T) {
		e := newEngine(t)
		e.api = "1.45"
		e.respond("/containers/json", `[]`)
		r := e.runtime()
		_, err := r.List(t.Context(), nil)
		require.NoError(t, err)
		e.mu.Lock()
		e.api = "1.41"
		e.mu.Unlock()
		_, err = r.List(t.Context(), nil)
		require.Error(t, err)
		_, err = r.List(t.Context(), nil)
		require.NoError(t, err, "the version was negotiated again")
	})
	t.Run("no socket", func(t *testing.T) {
		r, err := New(Options{Endpoint: nowhere})
		require.NoError(t, err)
		_, err = r.Info(t.Context())
		require.ErrorContains(t, err, "does not exist")
	})
	t.Run("another server listens", func(t *testing.T) {
		e := newEngine(t)
		e.mu.Lock()
		delete(e.responses, "/version")
		e.mu.Unlock()
		_, err := e.runtime().Info(t.Context())
		require.ErrorIs(t, err, runtime.ErrNotSupported)
	})
}

func TestCallsFailWhenDeadlineExpires(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	r, err := New(Options{Endpoint: "tcp://" + l.Addr().String(), Timeout: 50 * time.Millisecond})
	require.NoError(t, err)
	_, err = r.List(context.Background(), nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "did not answer within 50ms")
	require.NoError(t, r.Close())
}
