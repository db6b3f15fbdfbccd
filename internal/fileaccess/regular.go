// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package fileaccess

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// ErrNotRegular is the error for a path that is no regular file: a pipe, symbolic link, directory, device or socket.
var ErrNotRegular = errors.New("it is not a regular file")

// OpenRegular opens or creates a file of ours as os.OpenFile does. It never follows a symbolic link at the last element of path, never
// waits for the other end of a pipe and never opens a device: the error is then ErrNotRegular, and nothing was changed.
func OpenRegular(path string, flag int, perm fs.FileMode) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, notRegular(path, info)
	}
	file, err := os.OpenFile(path, flag|onlyRegular, perm)
	if err != nil {
		if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() { // it was replaced meanwhile
			return nil, notRegular(path, info)
		}
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(path, info)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

func notRegular(path string, info fs.FileInfo) error {
	return fmt.Errorf("open %s, of type %s: %w", path, info.Mode().Type(), ErrNotRegular)
}
