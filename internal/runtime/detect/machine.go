// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Machine is the machine that this process runs on.
type Machine struct{}

var _ FileSystem = Machine{}

// Lstat is os.Lstat.
func (Machine) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }

// Readlink is os.Readlink.
func (Machine) Readlink(name string) (string, error) { return os.Readlink(name) }

// ReadDir is os.ReadDir.
func (Machine) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// Pipe opens a named pipe for a moment, on Windows.
func (Machine) Pipe(name string) bool { return pipeExists(name) }

// isNotDirectory reports whether err means that a parent in a path is not a directory, so that the path cannot exist.
func isNotDirectory(err error) bool { return errors.Is(err, syscall.ENOTDIR) }
