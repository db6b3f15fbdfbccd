// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package socket

import (
	"errors"
	"net"
)

func peerOf(net.Conn) (uint32, error) { return 0, errors.ErrUnsupported }
