// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// home is the directory of one run: database, storage, logs, the private containerd. The program locks it until it ends, so that the next
// run recognizes the directories of killed runs.
type home struct {
	dir  string
	lock *os.File
}

const homePattern = "zastava-demo-"

func newHome(under string) (*home, error) {
	dir, err := os.MkdirTemp(under, homePattern)
	if err != nil {
		return nil, fmt.Errorf("make a directory for the demo: %w", err)
	}
	// The file has another name until it is locked, so that no sweep removes the directory before.
	unlocked := filepath.Join(dir, "lock.new")
	lock, err := lockFile(unlocked)
	if err == nil {
		err = os.Rename(unlocked, filepath.Join(dir, "lock"))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), os.RemoveAll(dir))
	}
	return &home{dir, lock}, nil
}

func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

// containerd is the private containerd's own directory.
func (h *home) containerd() string { return h.path("c") }

// close releases the lock and removes the directory, unless keep is set and the directory has logs.
func (h *home) close(keep bool) (kept bool, err error) {
	logs, err := filepath.Glob(h.path("*.log"))
	err = errors.Join(err, h.lock.Close())
	if keep && len(logs) > 0 {
		// A sweep ignores directories without a lock file.
		return true, errors.Join(err, os.Remove(h.path("lock")))
	}
	return false, errors.Join(err, os.RemoveAll(h.dir))
}

// sweep wipes the directories of runs that did not end in order (SIGKILL, power failure), and returns their number. Such a directory has
// an unlocked lock file. Only directories of this user count: in a shared /tmp, root must not follow a link that another user made.
func sweep(ctx context.Context, under string) (int, error) {
	locks, err := filepath.Glob(filepath.Join(under, homePattern+"*", "lock"))
	if err != nil {
		return 0, err
	}
	swept := 0
	var failed []error
	for _, path := range locks {
		if !isOwnDir(filepath.Dir(path)) {
			continue
		}
		lock, err := lockFile(path)
		if err != nil {
			continue // locked by another run
		}
		h := home{filepath.Dir(path), lock}
		if err := privateruntime.WipeDir(ctx, h.containerd()); err != nil {
			failed = append(failed, err, lock.Close()) // the next run retries
			continue
		}
		_, err = h.close(false)
		failed = append(failed, err)
		swept++
	}
	return swept, errors.Join(failed...)
}

func isOwnDir(dir string) bool {
	var s unix.Stat_t
	return unix.Lstat(dir, &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFDIR && int(s.Uid) == os.Geteuid()
}

func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600) //nolint:gosec // a lock of our own in TMPDIR
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
