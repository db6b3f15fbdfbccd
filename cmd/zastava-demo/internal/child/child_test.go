// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package child

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sh(t *testing.T, script string, env ...string) *Child {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	c, err := Start("shell", filepath.Join(t.TempDir(), "log"), "/bin/sh", []string{"-c", script}, env)
	require.NoError(t, err)
	return c
}

func TestFaultShowsTheLastLines(t *testing.T) {
	c := sh(t, "for i in $(seq 30); do echo line $i; done; echo $WORD >&2; exit 3", "WORD=spoken")
	<-c.Ended()
	err := c.Fault()
	require.ErrorContains(t, err, "the shell ended by itself (exit status 3)")
	assert.Contains(t, err.Error(), "line 30\n  spoken")
	assert.NotContains(t, err.Error(), "line 5\n")
	require.NoError(t, c.Stop(time.Second), "stopping what has ended")
}

func TestStopKillsAChildThatIgnoresSIGTERM(t *testing.T) {
	t.Run("in order", func(t *testing.T) {
		require.NoError(t, sh(t, "exec sleep 60").Stop(10*time.Second))
	})
	t.Run("by force", func(t *testing.T) {
		c := sh(t, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
		require.Eventually(t, func() bool { return Tail(c.log, 1) == "  ready" }, 10*time.Second, 5*time.Millisecond)
		require.ErrorContains(t, c.Stop(50*time.Millisecond), "did not stop within 50ms and was killed")
	})
}

func TestStartFailsWithoutProgramOrDirectory(t *testing.T) {
	_, err := Start("ghost", filepath.Join(t.TempDir(), "log"), "/no/such/program", nil, nil)
	require.ErrorContains(t, err, "start the ghost")
	_, err = Start("ghost", filepath.Join(t.TempDir(), "no", "log"), "/bin/true", nil, nil)
	require.ErrorContains(t, err, "start the ghost")
}

func TestWaitOKReturnsWhenTheChildAnswers(t *testing.T) {
	left := 3
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if left--; left >= 0 {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()

	c := sh(t, "exec sleep 60")
	require.NoError(t, c.WaitOK(t.Context(), client, server.URL))
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, errors.New("too slow"))
	defer cancel()
	require.ErrorContains(t, c.WaitOK(ctx, client, "http://127.0.0.1:1/"), "wait for the shell: too slow (last try: ")
	require.NoError(t, c.Stop(10*time.Second))
	require.ErrorContains(t, c.WaitOK(t.Context(), client, "http://127.0.0.1:1/"), "ended by itself")
}
