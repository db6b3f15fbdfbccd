// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// role orders the processes of a daemon's directory for their end.
type role int

const (
	roleDaemon role = iota
	roleContainer
	roleShim
)

type process struct {
	pid  int
	role role
	name string
	shim string // the id that a shim was started for
}

func (p process) String() string { return fmt.Sprintf("%d (%s)", p.pid, p.name) }

// processesOf finds the processes that belong to the containerd in dir:
// whatever is in the dir's cgroup, the daemon by its --config, shims by their
// -address, and runc by its --root. Zombies have ended and do not count.
func processesOf(dir string) ([]process, error) {
	inCgroup, err := cgroupPIDs(cgroupRoot(dir))
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
			continue // a kernel thread, a zombie, or gone
		}
		name := filepath.Base(args[0])
		switch {
		case slices.Contains(inCgroup, pid):
			found = append(found, process{pid: pid, role: roleContainer, name: name})
		case name == "containerd" && slices.Contains(args, configPath(dir)):
			found = append(found, process{pid: pid, role: roleDaemon, name: name})
		case strings.HasPrefix(name, "containerd-shim") && slices.Contains(args, socketPath(dir)):
			p := process{pid: pid, role: roleShim, name: name}
			if i := slices.Index(args, "-id"); i >= 0 && i+1 < len(args) {
				p.shim = args[i+1]
			}
			found = append(found, p)
		case name == "runc" && slices.ContainsFunc(args, func(a string) bool { return within(a, dir) }):
			found = append(found, process{pid: pid, role: roleShim, name: name})
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

// mount is a line of mountinfo, as far as it matters here.
type mount struct{ point, fsType string }

// readMounts reads /proc/self/mountinfo (proc_pid_mountinfo(5)), in the order
// of mounting.
func readMounts() ([]mount, error) {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(string(content)), nil
}

func parseMounts(content string) []mount {
	var mounts []mount
	for line := range strings.Lines(content) {
		before, after, ok := strings.Cut(line, " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(rest) < 1 {
			continue
		}
		mounts = append(mounts, mount{point: unescape(fields[4]), fsType: rest[0]})
	}
	return mounts
}

// unescape undoes the octal escapes of space, tab, newline and backslash.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}
