// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavastorageextension

import "golang.org/x/sys/windows"

// freeBytes returns the free space of a file system that this process may use.
func freeBytes(directory string) (int64, bool) {
	name, err := windows.UTF16PtrFromString(directory)
	if err != nil {
		return 0, false
	}
	var free uint64
	if windows.GetDiskFreeSpaceEx(name, &free, nil, nil) != nil {
		return 0, false
	}
	return int64(free), true
}
