// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package fileaccess

import (
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

const hasModes = true

// foreignOwner returns a name for the owner of a file, empty if it is root or the user of this process.
func foreignOwner(info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 || int64(stat.Uid) == int64(os.Geteuid()) {
		return ""
	}
	return "uid " + strconv.FormatUint(uint64(stat.Uid), 10)
}
