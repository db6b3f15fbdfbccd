//go:build linux || darwin || freebsd

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavastorageextension

import "golang.org/x/sys/unix"

// freeBytes returns the free space of a file system that this process may use.
func freeBytes(directory string) (int64, bool) {
	var stat unix.Statfs_t
	if unix.Statfs(directory, &stat) != nil {
		return 0, false
	}
	return int64(stat.Bavail) * int64(stat.Bsize), true //nolint:unconvert // the types differ by system
}
