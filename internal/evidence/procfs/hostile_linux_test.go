// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
)

// planted is a file of the host that a container tries to have read. It counts every open by any process.
type planted struct {
	path, sum string
	inotify   int
}

func plant(t *testing.T) planted {
	t.Helper()
	p := planted{path: filepath.Join(t.TempDir(), "planted.so")}
	content := []byte("a secret of the host")
	require.NoError(t, os.WriteFile(p.path, content, 0o755))
	sum := sha256.Sum256(content)
	p.sum = hex.EncodeToString(sum[:])
	var err error
	p.inotify, err = unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(p.inotify) })
	for _, watched := range []string{p.path, filepath.Dir(p.path)} {
		_, err = unix.InotifyAddWatch(p.inotify, watched, unix.IN_OPEN|unix.IN_ACCESS)
		require.NoError(t, err)
	}
	return p
}

// opened reports whether the file was opened since the last call.
func (p planted) opened(t *testing.T) bool {
	t.Helper()
	n, err := unix.Read(p.inotify, make([]byte, 4096))
	if errors.Is(err, unix.EAGAIN) {
		return false
	}
	require.NoError(t, err)
	return n > 0
}

// hostile is a runtime with a pod for the containers of the attacks.
type hostile struct {
	d      *privateruntime.Driver
	pod    *privateruntime.Pod
	played atomic.Uint32
}

func hostileRuntime(t *testing.T, privileged bool) *hostile {
	t.Helper()
	need(t, "go")
	c := realruntime.Containerd(t)
	const image = "zastava.local/hostile:1"
	imported(t, c, privateruntime.ImageSpec{Name: image, Files: []privateruntime.ImageFile{
		{Path: "/hostile", Source: built(t, t.TempDir(), "hostile")}, {Path: "/dev/.keep", Content: []byte("x")}, {Path: "/mnt/.keep", Content: []byte("x")},
	}})
	h := &hostile{d: c.Driver()}
	var err error
	h.pod, err = h.d.RunPod(t.Context(), privateruntime.PodSpec{Name: "hostile", Privileged: privileged})
	require.NoError(t, err)
	return h
}

// start starts a container that plays a trick.
func (h *hostile) start(ctx context.Context, trick ...string) (live, error) {
	id, err := h.d.Run(ctx, h.pod, privateruntime.ContainerSpec{
		Name: "hostile", Attempt: h.played.Add(1), Image: "zastava.local/hostile:1",
		Command: append([]string{"/hostile"}, trick...), Privileged: trick[0] == "fuse",
	})
	if err != nil {
		return live{}, err
	}
	pid, err := h.d.PID(ctx, id)
	return live{id, pid}, err
}

// setUp waits until the trick is set up.
func (l live) setUp(t *testing.T, trick ...string) {
	t.Helper()
	until(t, strings.Join(trick, " ")+" to be set up", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d/root/ready", l.pid))
		return err == nil
	})
}

// play starts a container that plays a trick, and waits until it is set up.
func (h *hostile) play(t *testing.T, trick ...string) live {
	t.Helper()
	l, err := h.start(t.Context(), trick...)
	require.NoError(t, err)
	l.setUp(t, trick...)
	return l
}

func fileNamed(t *testing.T, sample evidence.Sample, path string) evidence.File {
	t.Helper()
	for _, f := range sample.Files {
		if f.Path == path {
			return f
		}
	}
	require.Failf(t, "not in the sample", "%q is not among %d files", path, len(sample.Files))
	return evidence.File{}
}

func patternSum(n int) evidence.Datum[string] {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * 7)
	}
	sum := sha256.Sum256(p)
	return evidence.Present(hex.EncodeToString(sum[:]))
}
