//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// cutter stands between the collector and a runtime's socket, and can cut all connections.
type cutter struct {
	listener net.Listener
	to       string
	work     sync.WaitGroup
	mu       sync.Mutex
	open     map[net.Conn]struct{}
}

// newCutter listens on a socket until the test ends and passes everything on to an endpoint.
func newCutter(t *testing.T, socket, endpoint string) *cutter {
	t.Helper()
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	c := &cutter{listener: l, to: strings.TrimPrefix(endpoint, "unix://"), open: map[net.Conn]struct{}{}}
	c.work.Go(c.accept)
	t.Cleanup(func() {
		_ = l.Close()
		c.cut()
		c.work.Wait()
	})
	return c
}

func (c *cutter) endpoint() string { return "unix://" + c.listener.Addr().String() }

func (c *cutter) accept() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("unix", c.to)
		if err != nil { // the runtime is down
			_ = near.Close()
			continue
		}
		c.mu.Lock()
		c.open[near], c.open[far] = struct{}{}, struct{}{}
		c.mu.Unlock()
		pass := func(to, from net.Conn) {
			_, _ = io.Copy(to, from) // until either end closes
			_, _ = to.Close(), from.Close()
			c.mu.Lock()
			delete(c.open, to)
			delete(c.open, from)
			c.mu.Unlock()
		}
		c.work.Go(func() { pass(far, near) })
		c.work.Go(func() { pass(near, far) })
	}
}

// cut ends all connections. New ones are accepted.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		_ = conn.Close()
	}
}
