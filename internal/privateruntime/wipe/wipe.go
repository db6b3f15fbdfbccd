// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package wipe removes everything that a private container runtime has left: its processes, mounts, cgroups, the sockets of its
// shims, and its directory. It touches nothing else. It knows a process of the runtime by the runtime's own cgroup or by the
// runtime's directory in the process's command line, so it also works for a runtime that an earlier process started.
package wipe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Runtime describes a private runtime.
type Runtime struct {
	// Dir is the runtime's own directory: absolute, not "/", and with everything that the runtime writes in it.
	Dir string
	// Cgroup is the parent of the cgroups of all containers, as CgroupOf returns it.
	Cgroup string
	// Shims are the shims of its containerd; zero for a runtime without shims.
	Shims Shims
	// RoleOf classifies a process by its command line, which has at least one argument. It returns RoleNone for a process that does
	// not belong to the runtime. Processes in Cgroup that it returns RoleNone for are containers.
	RoleOf func(args []string) Role
}

// Wipe kills the processes, unmounts what is mounted below Dir, and removes the cgroups, the shims' sockets and Dir. It returns an
// error when anything is left. Wiping what is already gone is no error.
func (r Runtime) Wipe(ctx context.Context) error {
	r.Dir = filepath.Clean(r.Dir)
	if r.Dir == "/" || !filepath.IsAbs(r.Dir) {
		return fmt.Errorf("wipe %q: not an absolute directory of its own", r.Dir)
	}
	sockets := r.Shims.sockets() // before the shims end and their bundles go
	failed := []error{thawCgroup(r.Cgroup)}
	killed, err := r.killAll(ctx)
	failed = append(failed, err, unmountBelow(r.Dir), RemoveCgroup(r.Cgroup))
	for _, socket := range append(sockets, killed...) {
		if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	failed = append(failed, os.RemoveAll(r.Dir))
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("wipe %s: %w", r.Dir, err)
	}
	left, err := r.Leftovers()
	if err != nil {
		return fmt.Errorf("wipe %s: %w", r.Dir, err)
	}
	if len(left) > 0 {
		return fmt.Errorf("wipe %s: still there: %s", r.Dir, strings.Join(left, "; "))
	}
	return nil
}

// Leftovers lists what still exists of the runtime, one line each: processes, mounts, cgroups, shim sockets and the directory.
// Namespaces are not listed: they exist only as long as their processes and mounts.
func (r Runtime) Leftovers() ([]string, error) {
	r.Dir = filepath.Clean(r.Dir)
	var left []string
	processes, err := r.processes()
	if err != nil {
		return nil, err
	}
	for _, p := range processes {
		left = append(left, "process "+p.String())
	}
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		if Within(m.point, r.Dir) {
			left = append(left, "mount "+m.point)
		}
	}
	cgroups, err := CgroupDirs(r.Cgroup)
	if err != nil {
		return nil, err
	}
	for _, cgroup := range cgroups {
		left = append(left, "cgroup "+cgroup)
	}
	for _, socket := range r.Shims.sockets() {
		left = append(left, "socket "+socket)
	}
	if _, err := os.Lstat(r.Dir); err == nil {
		left = append(left, "directory "+r.Dir)
	}
	return left, nil
}

// Within reports whether path is dir or below it.
func Within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}
