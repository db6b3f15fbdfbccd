// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/privateruntime/wipe"
)

// stopLimit is how long Wipe waits for the daemon to end after SIGTERM.
const stopLimit = 10 * time.Second

// Wipe ends the daemon and then does what WipeDir does. It does not remove the pods through CRI first: that takes a minute for 500
// of them, needs a daemon that answers, and has the same result. The Containerd cannot be used afterwards; wiping it again does
// nothing.
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

// WipeDir removes everything that a containerd in dir has left, whether this process or an earlier one started it: the daemon, its
// containers and shims, mounts below dir, the pods' cgroups, the shims' sockets, and dir. It returns an error when anything is left.
func WipeDir(ctx context.Context, dir string) error { return wiped(dir).Wipe(ctx) }

// Leftovers lists what still exists of a containerd in dir, one line each.
func Leftovers(dir string) ([]string, error) { return wiped(dir).Leftovers() }

// wiped describes a containerd in dir for package wipe.
func wiped(dir string) wipe.Runtime {
	dir = filepath.Clean(dir)
	return wipe.Runtime{
		Dir: dir, Cgroup: cgroupRoot(dir),
		Shims:  wipe.Shims{Address: socketPath(dir), Namespace: kubernetesNamespace, State: filepath.Join(dir, "state")},
		RoleOf: func(args []string) wipe.Role { return roleOf(args, dir) },
	}
}

// roleOf knows the daemon by its --config, shims by their -address, and runc by its --root.
func roleOf(args []string, dir string) wipe.Role {
	name := filepath.Base(args[0])
	switch {
	case name == "containerd" && slices.Contains(args, configPath(dir)):
		return wipe.RoleDaemon
	case strings.HasPrefix(name, "containerd-shim") && slices.Contains(args, socketPath(dir)):
		return wipe.RoleShim
	case name == "runc" && slices.ContainsFunc(args, func(a string) bool { return wipe.Within(a, dir) }):
		return wipe.RoleShim
	default:
		return wipe.RoleNone
	}
}

// cgroupRoot returns the parent of the cgroups of all pods of a containerd in dir.
func cgroupRoot(dir string) string { return wipe.CgroupOf("zastava", dir) }
