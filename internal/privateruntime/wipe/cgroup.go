// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package wipe

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
	"time"

	"golang.org/x/sys/unix"
)

// busyLimit bounds the wait for killed processes to leave their cgroup, which happens a moment after they have ended.
const busyLimit = time.Second

// CgroupOf returns the name of the cgroup that is the parent of all containers of a runtime in dir, such as "/zastava-0123456789ab"
// for the prefix "zastava". It follows from dir alone, so that a later process finds what an earlier one left. It is one level
// deep, so that two runtimes never make and remove a common parent at the same time.
func CgroupOf(prefix, dir string) string {
	sum := sha256.Sum256([]byte(filepath.Clean(dir)))
	return "/" + prefix + "-" + hex.EncodeToString(sum[:6])
}

// CgroupDirs returns the directories of a cgroup that exist, one per hierarchy (version 1 has several, version 2 one).
func CgroupDirs(cgroup string) ([]string, error) {
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

// RemoveCgroup removes a cgroup and all below it in every hierarchy. It returns an error when processes are still inside after a
// second.
func RemoveCgroup(cgroup string) error {
	tree, err := cgroupTree(cgroup)
	failed := []error{err}
	for _, dir := range slices.Backward(tree) { // the deepest first
		err := unix.Rmdir(dir)
		for end := time.Now().Add(busyLimit); errors.Is(err, unix.EBUSY) && time.Now().Before(end); err = unix.Rmdir(dir) {
			time.Sleep(poll)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, &fs.PathError{Op: "rmdir", Path: dir, Err: err})
		}
	}
	return errors.Join(failed...)
}

// cgroupTree returns every directory of a cgroup and below it in every hierarchy, parents before children. Beside an error it
// returns what it could read.
func cgroupTree(cgroup string) ([]string, error) {
	dirs, err := CgroupDirs(cgroup)
	failed := []error{err}
	var tree []string
	for _, dir := range dirs {
		below, err := subdirs(dir)
		tree, failed = append(tree, below...), append(failed, err)
	}
	return tree, errors.Join(failed...)
}

// subdirs returns dir and every directory below it, parents before children. It skips what vanishes meanwhile.
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

// cgroupPIDs returns the processes in a cgroup and below it.
func cgroupPIDs(cgroup string) (map[int]bool, error) {
	tree, err := cgroupTree(cgroup)
	if err != nil {
		return nil, err
	}
	pids := map[int]bool{}
	for _, dir := range tree {
		content, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue // the cgroup has been removed
		}
		for field := range strings.FieldsSeq(string(content)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
				pids[pid] = true
			}
		}
	}
	return pids, nil
}

// thawCgroup resumes paused containers in a cgroup and below it: on version 1 a frozen process does not die of SIGKILL.
func thawCgroup(cgroup string) error {
	tree, err := cgroupTree(cgroup)
	failed := []error{err}
	for _, dir := range tree {
		for file, thawed := range map[string]string{"freezer.state": "THAWED", "cgroup.freeze": "0"} {
			f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
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
