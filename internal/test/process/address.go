// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports of FreeAddress are below the ephemeral ones: from 32768 on Linux (ip(7)), from 49152 elsewhere (RFC 6335). Any outgoing
// connection could use an ephemeral port while the program with this address is down, and a check whether the program listens could
// connect to itself.
const (
	firstPort = 12000
	lastPort  = 31999
)

// used are the addresses that tests of this process have. A program keeps its address while it is down.
var used sync.Map

// FreeAddress returns a loopback address, host:port, on which nothing listens. It never returns an address twice.
func FreeAddress(tb TB) string {
	tb.Helper()
	var err error
	for range 1000 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort+1)))
		var l net.Listener
		if l, err = (&net.ListenConfig{}).Listen(tb.Context(), "tcp", address); err != nil {
			continue
		}
		_ = l.Close()
		if _, taken := used.LoadOrStore(address, true); !taken {
			return address
		}
	}
	tb.Fatalf("find a free port from %d to %d: %v", firstPort, lastPort, err)
	return ""
}
