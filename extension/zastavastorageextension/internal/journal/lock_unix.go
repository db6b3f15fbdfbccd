//go:build unix

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/fileaccess"
)

// lockFile opens and locks a file. Closing it, or the end of the process, unlocks it.
func lockFile(name string) (*os.File, error) {
	file, err := fileaccess.OpenRegular(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		var readErr error
		if file, readErr = fileaccess.OpenRegular(name, os.O_RDONLY, 0); readErr != nil { // on a read-only disk the file exists already
			return nil, err
		}
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, err
	}
	return file, nil
}
