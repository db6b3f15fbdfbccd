// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports of FreeAddress. They are below those that systems give to whoever connects: from 32768 on Linux (ip(7)), from 49152
// elsewhere (RFC 6335). A port from there could be taken by any connection while the program that it is meant for is down,
// and a look whether that program listens could connect to itself.
const (
	firstPort = 12000
	lastPort  = 31999
)

// given are the addresses that tests of this process have: a program that is down has its own still.
var given sync.Map

// FreeAddress is a loopback address that nothing listens on. It is given once.
func FreeAddress(tb TB) string {
	tb.Helper()
	var err error
	for range 1000 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort+1))) //nolint:gosec // spread, not secret
		var l net.Listener
		if l, err = (&net.ListenConfig{}).Listen(tb.Context(), "tcp", address); err != nil {
			continue
		}
		_ = l.Close()
		if _, taken := given.LoadOrStore(address, true); !taken {
			return address
		}
	}
	tb.Fatalf("find a free port from %d to %d: %v", firstPort, lastPort, err)
	return ""
}
