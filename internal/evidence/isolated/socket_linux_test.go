// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence/procfs"
	"github.com/zastava-otel/zastava/internal/test/socketdir"
)

func TestSamplerAtASocketServesOneCollectorAfterTheOther(t *testing.T) {
	for name, before := range map[string][]string{"by its name": nil, "by the first argument": {"otelcol-zastava"}} {
		t.Run(name, func(t *testing.T) { serveOneAfterTheOther(t, append(before, Name)) })
	}
}

func serveOneAfterTheOther(t *testing.T, arguments []string) {
	t.Helper()
	path := filepath.Join(socketdir.New(t), "sampler.sock")
	listener := exec.CommandContext(t.Context(), "/proc/self/exe")
	listener.Args = slices.Concat(arguments, []string{commandListen, path})
	listener.Stderr = os.Stderr
	require.NoError(t, listener.Start())
	t.Cleanup(func() { _ = listener.Wait() })
	t.Cleanup(func() { _ = listener.Process.Signal(unix.SIGTERM) })
	require.Eventually(t, func() bool { _, err := os.Stat(path); return err == nil }, 10*time.Second, time.Millisecond)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o660), info.Mode().Perm())

	target := sleeper(t)
	for range 2 {
		s, err := NewSampler(Options{Config: procfs.DefaultConfig(), Socket: path})
		require.NoError(t, err)
		require.EventuallyWithT(t, func(t *assert.CollectT) { // it may not listen yet, or serve the one before
			sample, err := s.Sample(context.Background(), target)
			require.NoError(t, err)
			assert.NotEmpty(t, sample.Files)
		}, 20*time.Second, 10*time.Millisecond)
		require.NoError(t, s.Close())
	}
}

func TestSocketOfAnotherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can act as another user")
	}
	dir := socketdir.New(t)
	require.NoError(t, os.Chmod(dir, 0o777))
	path := filepath.Join(dir, "sampler.sock")
	listener := exec.CommandContext(t.Context(), "/proc/self/exe")
	listener.Args = []string{Name, commandListen, path}
	listener.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	require.NoError(t, listener.Start())
	t.Cleanup(func() { _ = listener.Wait() })
	t.Cleanup(func() { _ = listener.Process.Signal(unix.SIGTERM) })
	require.Eventually(t, func() bool { _, err := os.Stat(path); return err == nil }, 10*time.Second, time.Millisecond)
	s := newSampler(t, func(o *Options) { o.Socket = path })
	target := sleeper(t)
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		_, err := s.Sample(context.Background(), target)
		assert.ErrorContains(t, err, "belongs to user 65534")
	}, 20*time.Second, 10*time.Millisecond)
}
