// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopLimit is how long Wipe gives the daemon to end by itself.
const stopLimit = 10 * time.Second

// Wipe ends the daemon and then does what WipeDir does. It does not remove the
// pods through CRI first: that takes a minute for 500 of them, needs a daemon
// that answers, and leaves the same nothing. The Containerd is of no use
// afterwards; wiping it again does nothing.
func (c *Containerd) Wipe(ctx context.Context) error {
	c.mu.Lock()
	wiped := c.wiped
	c.wiped = true
	c.mu.Unlock()
	if wiped {
		return nil
	}
	var failed []error
	stopping, cancel := context.WithTimeout(ctx, stopLimit)
	err := c.Stop(stopping)
	cancel()
	if err != nil {
		failed = append(failed, c.Kill())
	}
	failed = append(failed, c.conn.Close(), WipeDir(ctx, c.dir))
	return errors.Join(failed...)
}

// WipeDir removes what a containerd in dir left, whether this process or an
// earlier one started it: the daemon, its containers and shims, mounts below
// dir, the pods' cgroups on all hierarchies, the shims' sockets, and dir. It
// touches nothing else: processes are told by the dir's own cgroup and by the
// dir's paths in their command lines. It is an error when anything is left.
func WipeDir(ctx context.Context, dir string) error {
	dir = filepath.Clean(dir)
	if dir == "/" || !filepath.IsAbs(dir) {
		return fmt.Errorf("wipe %q: not an absolute directory of its own", dir)
	}
	var failed []error
	bundles := shimSockets(dir)
	failed = append(failed, thawCgroup(cgroupRoot(dir)))
	killed, err := killAll(ctx, dir)
	failed = append(failed, err, unmountBelow(dir), removeCgroup(cgroupRoot(dir)))
	for _, socket := range append(bundles, killed...) {
		if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	failed = append(failed, os.RemoveAll(dir))
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("wipe %s: %w", dir, err)
	}
	left, err := Leftovers(dir)
	if err != nil {
		return fmt.Errorf("wipe %s: %w", dir, err)
	}
	if len(left) > 0 {
		return fmt.Errorf("wipe %s: still there: %s", dir, strings.Join(left, "; "))
	}
	return nil
}

// reapLimit bounds the wait for init to reap what was killed. Where the first
// process of a container is no init, zombies stay; nobody can help that.
const reapLimit = 2 * time.Second

// killAll kills the processes of dir until none is left: the daemon first,
// then the containers, and the shims last so that they can reap. It returns
// the shims' sockets: of a shim that was starting or ending there is no bundle
// to tell, and one that dies in between removes nothing.
func killAll(ctx context.Context, dir string) (sockets []string, err error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var killed []process
	for {
		procs, err := processesOf(dir)
		if err != nil {
			return sockets, err
		}
		if len(procs) == 0 {
			awaitReaped(killed)
			return sockets, nil
		}
		first := slices.MinFunc(procs, func(a, b process) int { return int(a.role) - int(b.role) }).role
		for _, p := range procs {
			if p.shim != "" {
				sockets = append(sockets, shimSocket(dir, p.shim))
			}
			if p.role == first {
				_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may be gone by now
				killed = append(killed, p)
			}
		}
		select {
		case <-tick.C:
		case <-limit.Done():
			return sockets, fmt.Errorf("kill %d processes, the first %s: %w", len(procs), procs[0], context.Cause(limit))
		}
	}
}

// awaitReaped waits until processes that have ended are no zombies any more.
func awaitReaped(procs []process) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(reapLimit)
	for slices.ContainsFunc(procs, func(p process) bool { return syscall.Kill(p.pid, 0) == nil }) {
		select {
		case <-tick.C:
		case <-limit:
			return
		}
	}
}

// unmountBelow unmounts everything at or below dir, the deepest first.
func unmountBelow(dir string) error {
	mounts, err := readMounts()
	if err != nil {
		return err
	}
	var failed []error
	for _, m := range slices.Backward(mounts) { // in the order of mounting: the last one is on top
		if !within(m.point, dir) {
			continue
		}
		err := unix.Unmount(m.point, 0)
		if errors.Is(err, unix.EBUSY) {
			err = unix.Unmount(m.point, unix.MNT_DETACH)
		}
		if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: no longer a mount
			failed = append(failed, &os.PathError{Op: "umount", Path: m.point, Err: err})
		}
	}
	return errors.Join(failed...)
}

// shimSocket is the socket of the shim that was started for a container or
// sandbox. Shims of containerd 1.6 to 2.x listen there whatever the daemon's
// state directory is, so it would outlive dir. The name is the one that
// SocketAddress gives in containerd's package for shims.
func shimSocket(dir, id string) string {
	return fmt.Sprintf("/run/containerd/s/%x", sha256.Sum256([]byte(filepath.Join(socketPath(dir), kubernetesNamespace, id))))
}

// shimSockets are the sockets that exist of the shims in dir's bundles.
func shimSockets(dir string) []string {
	bundles, _ := filepath.Glob(filepath.Join(dir, "state", "io.containerd.runtime.v2.task", kubernetesNamespace, "*")) // the pattern is well-formed
	var sockets []string
	for _, bundle := range bundles {
		socket := shimSocket(dir, filepath.Base(bundle))
		if _, err := os.Lstat(socket); err == nil {
			sockets = append(sockets, socket)
		}
	}
	return sockets
}

// Leftovers lists what still exists of a containerd in dir: processes, mounts,
// cgroups, shim sockets and the directory, one line each. Namespaces need no
// line of their own: pods use the host's network, and the others live and die
// with their processes and mounts.
func Leftovers(dir string) ([]string, error) {
	dir = filepath.Clean(dir)
	var left []string
	procs, err := processesOf(dir)
	if err != nil {
		return nil, err
	}
	for _, p := range procs {
		left = append(left, "process "+p.String())
	}
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		if within(m.point, dir) {
			left = append(left, "mount "+m.point)
		}
	}
	cgroups, err := cgroupDirs(cgroupRoot(dir))
	if err != nil {
		return nil, err
	}
	for _, cgroup := range cgroups {
		left = append(left, "cgroup "+cgroup)
	}
	for _, socket := range shimSockets(dir) {
		left = append(left, "socket "+socket)
	}
	if _, err := os.Lstat(dir); err == nil {
		left = append(left, "directory "+dir)
	}
	return left, nil
}
