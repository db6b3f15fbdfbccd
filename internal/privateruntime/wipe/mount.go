// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package wipe

import (
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is a line of mountinfo, as far as it matters here.
type mount struct{ point, fsType string }

// readMounts reads /proc/self/mountinfo (proc_pid_mountinfo(5)), in the order of mounting.
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

// unescape decodes the octal escapes of space, tab, newline and backslash.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

// unmountBelow unmounts everything at or below dir, the last mounted first.
func unmountBelow(dir string) error {
	mounts, err := readMounts()
	if err != nil {
		return err
	}
	var failed []error
	for _, m := range slices.Backward(mounts) {
		if !Within(m.point, dir) {
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
