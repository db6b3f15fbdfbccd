// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shell returns a daemon that runs a script in a new directory.
func shell(t *testing.T, script string) *Daemon {
	t.Helper()
	dir := t.TempDir()
	d := &Daemon{Name: "shelld", Dir: dir, Program: "/bin/sh", Args: []string{"-c", script}, Env: []string{"WORD=spoken"}, LogFile: filepath.Join(dir, "log")}
	t.Cleanup(func() { require.NoError(t, d.End(context.Background(), syscall.SIGKILL)) })
	return d
}

func TestLaunchWaitsUntilTheDaemonIsReadyAndWorksAgainAfterEnd(t *testing.T) {
	d := shell(t, "touch ready; exec sleep 60")
	ready := func(context.Context) error { _, err := os.Stat(filepath.Join(d.Dir, "ready")); return err }
	for range 2 {
		require.NoError(t, d.Launch(t.Context(), ready))
		assert.NotZero(t, d.PID())
		ended := d.Ended()
		require.NoError(t, d.End(t.Context(), syscall.SIGTERM))
		<-ended
		assert.Zero(t, d.PID())
		assert.Nil(t, d.Ended())
		require.NoError(t, d.End(t.Context(), syscall.SIGTERM), "the daemon is down")
		require.NoError(t, os.Remove(filepath.Join(d.Dir, "ready")))
	}
}

func TestLaunchFailsWithTheEndOfTheLog(t *testing.T) {
	never := func(context.Context) error { return errors.New("not yet") }
	t.Run("when the daemon ends", func(t *testing.T) {
		err := shell(t, "echo $WORD; exit 3").Launch(t.Context(), never)
		require.ErrorContains(t, err, "wait for shelld: it ended by itself (exit status 3); its log ends with:\nspoken")
	})
	t.Run("when the context ends", func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("too slow"))
		defer cancel()
		require.ErrorContains(t, shell(t, "exec sleep 60").Launch(ctx, never), "wait for shelld: too slow (last answer: not yet)")
	})
	t.Run("when there is no program", func(t *testing.T) {
		d := shell(t, "")
		d.Program = "/no/such/program"
		require.ErrorContains(t, d.Launch(t.Context(), never), "start /no/such/program")
	})
}

func TestEndReportsADaemonThatIgnoresTheSignal(t *testing.T) {
	d := shell(t, "trap '' TERM; touch ready; while :; do sleep 0.05; done")
	require.NoError(t, d.Launch(t.Context(), func(context.Context) error { _, err := os.Stat(filepath.Join(d.Dir, "ready")); return err }))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, d.End(ctx, syscall.SIGTERM), "wait for shelld to end after terminated")
}
