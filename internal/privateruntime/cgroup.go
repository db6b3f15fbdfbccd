// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupRoot is the parent of the cgroups of all pods made in dir. It follows
// from dir alone, so that a later process finds what an earlier one left, and
// it is one level deep: two daemons never make and remove a common parent at
// the same time.
func cgroupRoot(dir string) string {
	sum := sha256.Sum256([]byte(filepath.Clean(dir)))
	return "/zastava-" + hex.EncodeToString(sum[:6])
}

// cgroupDirs are the directories of a cgroup that exist, one per hierarchy
// (version 1 has several, version 2 one).
func cgroupDirs(cgroup string) ([]string, error) {
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, m := range mounts {
		if m.fsType != "cgroup" && m.fsType != "cgroup2" {
			continue
		}
		dir := filepath.Join(m.point, cgroup)
		if s, err := os.Stat(dir); err == nil && s.IsDir() && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// cgroupTree is every directory of a cgroup and below it in every hierarchy,
// parents before children. What can be read is there beside an error.
func cgroupTree(cgroup string) ([]string, error) {
	dirs, err := cgroupDirs(cgroup)
	failed := []error{err}
	var all []string
	for _, dir := range dirs {
		below, err := subdirs(dir)
		all, failed = append(all, below...), append(failed, err)
	}
	return all, errors.Join(failed...)
}

// removeCgroup removes a cgroup and all below it in every hierarchy. It is an
// error when processes are still inside.
func removeCgroup(cgroup string) error {
	tree, err := cgroupTree(cgroup)
	failed := []error{err}
	for _, d := range slices.Backward(tree) { // deepest first
		if err := unix.Rmdir(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, &fs.PathError{Op: "rmdir", Path: d, Err: err})
		}
	}
	return errors.Join(failed...)
}

// subdirs is dir and every directory below it, parents before children. What
// vanishes meanwhile is skipped.
func subdirs(dir string) ([]string, error) {
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return nil
		}
		if err != nil {
			return err
		}
		if d.IsDir() {
			all = append(all, path)
		}
		return nil
	})
	return all, err
}

// cgroupPIDs are the processes anywhere below a cgroup.
func cgroupPIDs(cgroup string) ([]int, error) {
	tree, err := cgroupTree(cgroup)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, d := range tree {
		content, err := os.ReadFile(filepath.Join(d, "cgroup.procs"))
		if err != nil {
			continue // it went away
		}
		for field := range strings.FieldsSeq(string(content)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 && !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}

// thawCgroup lets paused containers below a cgroup go on: a frozen process
// does not die of SIGKILL on version 1.
func thawCgroup(cgroup string) error {
	tree, err := cgroupTree(cgroup)
	failed := []error{err}
	for _, d := range tree {
		for file, thawed := range map[string]string{"freezer.state": "THAWED", "cgroup.freeze": "0"} {
			f, err := os.OpenFile(filepath.Join(d, file), os.O_WRONLY, 0)
			if err != nil {
				continue // not the hierarchy that freezes, or a root
			}
			_, err = f.WriteString(thawed)
			if closeErr := f.Close(); err == nil {
				err = closeErr
			}
			if err != nil && !errors.Is(err, unix.ENODEV) {
				failed = append(failed, err)
			}
		}
	}
	return errors.Join(failed...)
}
