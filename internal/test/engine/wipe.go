// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupOf is the parent of the cgroups of all containers made in dir. It follows from dir alone.
func cgroupOf(dir string) string {
	sum := sha256.Sum256([]byte(filepath.Clean(dir)))
	return "/zastava-docker-" + hex.EncodeToString(sum[:6])
}

// cgroupDirs are the directories of dir's cgroup that exist: one below each hierarchy of version 1, one in version 2.
func cgroupDirs(dir string) []string {
	name := cgroupOf(dir)
	found, _ := filepath.Glob("/sys/fs/cgroup/*" + name) // the patterns are well-formed
	one, _ := filepath.Glob("/sys/fs/cgroup" + name)
	return append(found, one...)
}

// WipeDir removes what a dockerd or a Podman in dir left: the daemon, its containerd, containers and shims, mounts below dir, cgroups, the
// shims' sockets, and dir. It touches nothing else: processes are told by dir's own cgroup and by dir in their command lines.
// It is an error when anything is left.
func WipeDir(ctx context.Context, dir string) error {
	dir = filepath.Clean(dir)
	if dir == "/" || !filepath.IsAbs(dir) {
		return fmt.Errorf("wipe %q: not an absolute directory of its own", dir)
	}
	failed := []error{thaw(dir)}
	sockets, err := killAll(ctx, dir)
	failed = append(failed, err, unmountBelow(dir), removeCgroups(dir))
	for _, socket := range sockets {
		if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	failed = append(failed, os.RemoveAll(dir))
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("wipe %s: %w", dir, err)
	}
	if left := Leftovers(dir); len(left) > 0 {
		return fmt.Errorf("wipe %s: still there: %s", dir, strings.Join(left, "; "))
	}
	return nil
}

// Leftovers lists what still exists of a dockerd in dir, one line each.
func Leftovers(dir string) []string {
	dir = filepath.Clean(dir)
	var left []string
	for _, p := range processesOf(dir) {
		left = append(left, fmt.Sprintf("process %d %s", p.pid, p.name))
	}
	for _, point := range mountsBelow(dir) {
		left = append(left, "mount "+point)
	}
	for _, cgroup := range cgroupDirs(dir) {
		left = append(left, "cgroup "+cgroup)
	}
	if _, err := os.Lstat(dir); err == nil {
		left = append(left, "directory "+dir)
	}
	return left
}

// process is one of a dockerd's. Those of a lower role are killed first: the daemons, so that nobody starts anything new,
// then the containers, and the shims last so that they can reap.
type process struct {
	pid    int
	name   string
	role   int
	socket string // of a shim
}

const (
	roleDaemon = iota
	roleContainer
	roleShim
)

func processesOf(dir string) []process {
	inCgroup := map[int]bool{}
	for _, root := range cgroupDirs(dir) {
		_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error { // what went away is no error
			if err != nil || entry.Name() != "cgroup.procs" {
				return nil //nolint:nilerr // as above
			}
			content, _ := os.ReadFile(path)
			for field := range strings.FieldsSeq(string(content)) {
				if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
					inCgroup[pid] = true
				}
			}
			return nil
		})
	}
	entries, _ := os.ReadDir("/proc")
	var found []process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || len(content) == 0 {
			continue // a kernel thread, a zombie, or gone
		}
		args := strings.Split(strings.TrimRight(string(content), "\x00"), "\x00")
		p := process{pid: pid, name: filepath.Base(args[0])}
		ours := slices.ContainsFunc(args, func(a string) bool {
			_, value, _ := strings.Cut(a, "=")
			a, value = strings.TrimPrefix(a, "unix://"), strings.TrimPrefix(value, "unix://")
			return within(a, dir) || within(value, dir)
		})
		switch {
		case inCgroup[pid] && p.name != "conmon":
			p.role = roleContainer
		case ours && (p.name == "dockerd" || p.name == "containerd" || p.name == "podman"):
			p.role = roleDaemon
		case ours && strings.HasPrefix(p.name, "containerd-shim"):
			p.role = roleShim
			if i := slices.Index(args, "-id"); i >= 0 && i+1 < len(args) {
				p.socket = shimSocket(dir, args[i+1])
			}
		case ours && (p.name == "runc" || p.name == "conmon"):
			p.role = roleShim
		default:
			continue
		}
		found = append(found, p)
	}
	return found
}

// shimSocket is where the shim of a container listens, whatever the daemon's own directories are: the name that SocketAddress
// gives in containerd's package for shims.
func shimSocket(dir, id string) string {
	address := filepath.Join(dir, "exec", "containerd", "containerd.sock")
	return fmt.Sprintf("/run/containerd/s/%x", sha256.Sum256([]byte(filepath.Join(address, "moby", id))))
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// killAll kills the processes of dir until none is left, and returns the shims' sockets.
func killAll(ctx context.Context, dir string) (sockets []string, err error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		procs := processesOf(dir)
		if len(procs) == 0 {
			return sockets, nil
		}
		first := slices.MinFunc(procs, func(a, b process) int { return a.role - b.role }).role
		for _, p := range procs {
			if p.socket != "" && !slices.Contains(sockets, p.socket) {
				sockets = append(sockets, p.socket)
			}
			if p.role == first {
				_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may be gone by now
			}
		}
		select {
		case <-tick.C:
		case <-limit.Done():
			return sockets, fmt.Errorf("kill %d processes, the first %d %s: %w", len(procs), procs[0].pid, procs[0].name, context.Cause(limit))
		}
	}
}

func mountsBelow(dir string) []string {
	content, _ := os.ReadFile("/proc/self/mountinfo")
	var points []string
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); len(fields) > 4 && within(fields[4], dir) {
			points = append(points, fields[4])
		}
	}
	return points
}

func unmountBelow(dir string) error {
	var failed []error
	for _, point := range slices.Backward(mountsBelow(dir)) { // in the order of mounting: the last one is on top
		err := unix.Unmount(point, 0)
		if errors.Is(err, unix.EBUSY) {
			err = unix.Unmount(point, unix.MNT_DETACH)
		}
		if err != nil && !errors.Is(err, unix.EINVAL) {
			failed = append(failed, &fs.PathError{Op: "umount", Path: point, Err: err})
		}
	}
	return errors.Join(failed...)
}

// thaw lets paused containers go on: a frozen process does not die of SIGKILL on version 1.
func thaw(dir string) error {
	var failed []error
	for _, root := range cgroupDirs(dir) {
		_ = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			value, ok := map[string]string{"freezer.state": "THAWED", "cgroup.freeze": "0"}[filepath.Base(path)]
			if err != nil || !ok {
				return nil //nolint:nilerr // it went away
			}
			if err := os.WriteFile(path, []byte(value), 0); err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, fs.ErrNotExist) {
				failed = append(failed, err)
			}
			return nil
		})
	}
	return errors.Join(failed...)
}

func removeCgroups(dir string) error {
	var failed []error
	for _, root := range cgroupDirs(dir) {
		var dirs []string
		_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, d := range slices.Backward(dirs) { // the deepest first
			err := unix.Rmdir(d)
			for range 50 { // a killed process leaves its cgroup a moment later
				if !errors.Is(err, unix.EBUSY) {
					break
				}
				time.Sleep(20 * time.Millisecond)
				err = unix.Rmdir(d)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				failed = append(failed, &fs.PathError{Op: "rmdir", Path: d, Err: err})
			}
		}
	}
	return errors.Join(failed...)
}
