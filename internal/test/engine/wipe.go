// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package engine

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zastava-otel/zastava/internal/privateruntime/wipe"
)

// WipeDir removes everything that a dockerd or a Podman in dir has left: the daemon, its containerd, containers and shims, mounts
// below dir, cgroups, the shims' sockets, and dir. It returns an error when anything is left.
func WipeDir(ctx context.Context, dir string) error { return wiped(dir).Wipe(ctx) }

// Leftovers lists what still exists of a dockerd or a Podman in dir, one line each.
func Leftovers(dir string) ([]string, error) { return wiped(dir).Leftovers() }

// cgroupOf returns the parent of the cgroups of all containers made in dir.
func cgroupOf(dir string) string { return wipe.CgroupOf("zastava-docker", dir) }

// wiped describes a daemon in dir for package wipe. The shims are those of the containerd that dockerd starts; Podman has none.
func wiped(dir string) wipe.Runtime {
	dir = filepath.Clean(dir)
	containerd := filepath.Join(dir, "exec", "containerd")
	return wipe.Runtime{
		Dir: dir, Cgroup: cgroupOf(dir),
		Shims:  wipe.Shims{Address: filepath.Join(containerd, "containerd.sock"), Namespace: "moby", State: filepath.Join(containerd, "daemon")},
		RoleOf: func(args []string) wipe.Role { return roleOf(args, dir) },
	}
}

// roleOf knows a process of the daemon by an argument that names dir or something below it.
func roleOf(args []string, dir string) wipe.Role {
	if !slices.ContainsFunc(args, func(a string) bool { return names(a, dir) }) {
		return wipe.RoleNone
	}
	switch name := filepath.Base(args[0]); {
	case name == "dockerd" || name == "containerd" || name == "podman":
		return wipe.RoleDaemon
	case strings.HasPrefix(name, "containerd-shim") || name == "runc" || name == "conmon":
		return wipe.RoleShim
	default:
		return wipe.RoleNone
	}
}

// names reports whether an argument is a path in dir: bare, as a unix:// address, or behind a flag and "=".
func names(arg, dir string) bool {
	_, value, _ := strings.Cut(arg, "=")
	return wipe.Within(strings.TrimPrefix(arg, "unix://"), dir) || wipe.Within(strings.TrimPrefix(value, "unix://"), dir)
}
