// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package fileaccess

import "golang.org/x/sys/unix"

// onlyRegular has an open fail on a symbolic link, and not wait on a pipe. os.OpenFile adds O_CLOEXEC itself.
const onlyRegular = unix.O_NOFOLLOW | unix.O_NONBLOCK
