// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// peerOf returns the uid of the process that serves a connection, as it was when that process began to listen (unix(7), SO_PEERCRED).
func peerOf(conn net.Conn) (uint32, error) {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var credentials *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		credentials, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, failed
	}
	return credentials.Uid, nil
}
