// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bytes"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Limits of what is read of a process's files in /proc.
const (
	maxArgumentBytes = 32 << 10 // of cmdline
	maxArguments     = 256
	maxArgument      = 4 << 10
	maxCgroupBytes   = 32 << 10
	maxStatBytes     = 4 << 10
)

// stat is what is needed of /proc/<pid>/stat.
type stat struct {
	name  string // comm
	state byte
	start uint64 // in clock ticks after boot
}

// parseStat parses stat. The name is in parentheses and may contain any byte except NUL, parentheses and blanks included, so the last
// parenthesis ends it.
func parseStat(text []byte) (s stat, err error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return s, errors.New("parse stat: no name in parentheses")
	}
	const start = 22 - 3 // starttime is the 22nd field of stat, and the first here is the third
	n := 0
	for field := range bytes.FieldsSeq(text[end+1:]) {
		switch {
		case n == 0 && len(field) == 1:
			s.state = field[0]
		case n == 0, n == start && !number(field, 10, &s.start):
			return s, errors.New("parse stat: the state or the start is invalid")
		case n == start:
			s.name = strings.ToValidUTF8(string(text[open+1:end]), "?")
			return s, nil
		}
		n++
	}
	return s, errors.New("parse stat: too few fields")
}

// pidDepth returns in how many pid namespaces, from the one that proc shows, a process has a number: the fields of NSpid in its status.
func pidDepth(status []byte) int {
	for line := range bytes.Lines(status) {
		if pids, ok := bytes.CutPrefix(line, []byte("NSpid:")); ok {
			return len(bytes.Fields(pids))
		}
	}
	return 0
}

// parseArguments parses cmdline. The text may have been cut off at maxArgumentBytes.
func parseArguments(text []byte) (args []string, truncated bool) {
	truncated = len(text) >= maxArgumentBytes
	text = bytes.TrimRight(text, "\x00")
	if len(text) == 0 {
		return nil, truncated
	}
	for part := range bytes.SplitSeq(text, []byte{0}) {
		if len(args) == maxArguments {
			return args, true
		}
		if len(part) > maxArgument {
			part, truncated = part[:maxArgument], true
		}
		args = append(args, strings.ToValidUTF8(string(part), "?"))
	}
	return args, truncated
}

// cgroup is the place of a process in one hierarchy.
type cgroup struct{ hierarchy, path string }

// membership determines whether a process is one of a container's. If neither field is set, only the process that the runtime named is.
type membership struct {
	// cgroup: processes in it or below. Only a cgroup with the container's id in its name is sure to be the container's alone; it also proves
	// that the process that the runtime named is the container's.
	cgroup cgroup
	// pidNamespace: processes in it. It is used only without a cgroup, as the containers of a pod may share one.
	pidNamespace string
}

// named reports whether the cgroup has the container's id.
func (m membership) named() bool { return m.cgroup.path != "" }

// cgroupsOf parses a cgroup file (cgroups(7)): hierarchy:controllers:path. Version 2 comes first, then the hierarchies of version 1
// in the kernel's order.
func cgroupsOf(text string) (cgroups []cgroup) {
	for line := range strings.Lines(text) {
		hierarchy, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, place, ok := strings.Cut(rest, ":")
		if !ok || !strings.HasPrefix(place, "/") {
			continue
		}
		c := cgroup{hierarchy: hierarchy + ":" + controllers, path: strings.TrimSuffix(place, deletedMark)}
		if hierarchy == "0" {
			cgroups = append([]cgroup{c}, cgroups...)
		} else {
			cgroups = append(cgroups, c)
		}
	}
	return cgroups
}

// membershipOf returns the membership by the main process's cgroup file. The container may have moved itself into cgroups below its own, as
// systemd does, so the path is cut after the part with the container's id.
func membershipOf(text, containerID string) membership {
	if containerID == "" {
		return membership{}
	}
	for _, c := range cgroupsOf(text) {
		if at := strings.Index(c.path, containerID); at >= 0 {
			end := len(c.path)
			if slash := strings.IndexByte(c.path[at:], '/'); slash >= 0 {
				end = at + slash
			}
			return membership{cgroup: cgroup{hierarchy: c.hierarchy, path: c.path[:end]}}
		}
	}
	return membership{}
}

// has reports whether a process with that cgroup file is in the container's cgroup or below.
func (m membership) has(text string) bool {
	if !m.named() || !strings.Contains(text, m.cgroup.path) { // the second check saves parsing the file of nearly every process of a node
		return false
	}
	for _, c := range cgroupsOf(text) {
		if c.hierarchy == m.cgroup.hierarchy {
			rest, ok := strings.CutPrefix(c.path, m.cgroup.path)
			return ok && (rest == "" || rest[0] == '/')
		}
	}
	return false
}

// parsePID returns the pid that a directory of /proc is named after; 0 for other directories.
func parsePID(name string) int {
	if name == "" || name[0] < '1' || name[0] > '9' {
		return 0
	}
	pid, err := strconv.Atoi(name)
	if err != nil {
		return 0
	}
	return pid
}

var shells = []string{"sh", "ash", "bash", "dash", "ksh", "mksh", "zsh", "hush"}

// scriptOf returns the base name of the script that a shell runs, "" for any other process. The kernel passes an executed script to its
// interpreter as an argument, so that both ways to run one have the same arguments.
func scriptOf(args []string) string {
	program := strings.TrimPrefix(path.Base(args[0]), "-")
	args = args[1:]
	if program == "busybox" && len(args) > 0 {
		program, args = args[0], args[1:]
	}
	if !slices.Contains(shells, program) {
		return ""
	}
	for _, arg := range args {
		if arg == "-c" || arg == "-s" {
			return ""
		}
		if !strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "+") {
			return path.Base(arg)
		}
	}
	return ""
}
