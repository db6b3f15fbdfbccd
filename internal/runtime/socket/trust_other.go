// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package socket

import "net"

// trusted trusts every socket: runtimes on this system use pipes, whose access lists the system checks.
type trusted struct{ owner *uint32 }

func (trusted) checkPath(string) (uint32, error) { return 0, nil }

func (trusted) checkPeer(string, net.Conn) error { return nil }
