// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package wipe

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	poll      = 20 * time.Millisecond
	killLimit = 20 * time.Second
	// reapLimit bounds the wait for init to reap what was killed. Where the first process of a machine (or container) does not
	// reap, zombies stay, and nothing here can change that.
	reapLimit = 2 * time.Second
)

// Role is a process's part in a runtime. Processes are killed in the order of their roles.
type Role int

// The roles.
const (
	RoleNone      Role = iota // not of the runtime
	RoleDaemon                // first, so that nothing new is started
	RoleContainer             // a process in a container
	RoleShim                  // last, so that it can reap the container; also runc and conmon
)

type process struct {
	pid  int
	role Role
	name string // of the program
	shim string // the id that a shim was started for, empty for other processes
}

func (p process) String() string { return fmt.Sprintf("%d (%s)", p.pid, p.name) }

// processes returns the processes of the runtime. It leaves out zombies: they have ended.
func (r Runtime) processes() ([]process, error) {
	inCgroup, err := cgroupPIDs(r.Cgroup)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		args := commandLine(pid)
		if len(args) == 0 {
			continue // a kernel thread, a zombie, or ended since
		}
		p := process{pid: pid, role: r.RoleOf(args), name: filepath.Base(args[0])}
		switch {
		case p.role == RoleShim:
			if i := slices.Index(args, "-id"); i >= 0 && i+1 < len(args) {
				p.shim = args[i+1]
			}
		case p.role == RoleNone && inCgroup[pid]:
			p.role = RoleContainer
		}
		if p.role != RoleNone {
			found = append(found, p)
		}
	}
	return found, nil
}

func commandLine(pid int) []string {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(content) == 0 {
		return nil
	}
	return strings.Split(strings.TrimRight(string(content), "\x00"), "\x00")
}

// killAll kills the processes, role by role, until none is left. It returns the sockets of the shims among them: a shim that was
// just starting or ending has no bundle, and a killed shim does not remove its socket.
func (r Runtime) killAll(ctx context.Context) (sockets []string, err error) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	limit, cancel := context.WithTimeout(ctx, killLimit)
	defer cancel()
	var killed []process
	for {
		processes, err := r.processes()
		if err != nil {
			return sockets, err
		}
		if len(processes) == 0 {
			awaitReaped(killed)
			return sockets, nil
		}
		first := slices.MinFunc(processes, func(a, b process) int { return int(a.role) - int(b.role) }).role
		for _, p := range processes {
			if p.shim != "" {
				sockets = append(sockets, r.Shims.socket(p.shim))
			}
			if p.role == first {
				_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may have ended by now
				killed = append(killed, p)
			}
		}
		select {
		case <-tick.C:
		case <-limit.Done():
			return sockets, fmt.Errorf("kill %d processes, the first %s: %w", len(processes), processes[0], context.Cause(limit))
		}
	}
}

// awaitReaped waits, for reapLimit at most, until no ended process is a zombie any more.
func awaitReaped(processes []process) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	limit := time.After(reapLimit)
	for slices.ContainsFunc(processes, func(p process) bool { return syscall.Kill(p.pid, 0) == nil }) {
		select {
		case <-tick.C:
		case <-limit:
			return
		}
	}
}
