// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package proxy stands between two parts under test and does to their connections what networks, proxies and dying servers
// do: a Mode is what happens to a connection made from now on.
//
// It promises that each mode shows: a connection that is cut is reset, not closed in order; and that no goroutine or connection
// of it outlives the test. It does not look into what it passes, so over TLS an answer that is cut early is a handshake that is.
package proxy

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
)

// TB is the part of testing.TB that Start uses.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
	Context() context.Context
}

// Proxy passes connections on to one address.
type Proxy struct {
	listener net.Listener
	to       string
	mode     atomic.Int32
	met      atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	work  sync.WaitGroup
}

// Loopback listens on a free TCP port of loopback.
const Loopback = "127.0.0.1:0"

// Start listens at one address until the test ends, and passes what comes on to another. Each is host:port, or unix:// and the
// path of a socket. What it is to pass to need not be there yet.
func Start(tb TB, at, to string) *Proxy {
	tb.Helper()
	network, address := parse(at)
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), network, address)
	if err != nil {
		tb.Fatalf("listen before %s: %v", to, err)
	}
	p := &Proxy{listener: l, to: to, conns: map[net.Conn]struct{}{}}
	p.work.Go(p.accept)
	tb.Cleanup(func() {
		_ = l.Close()
		p.Cut()
		p.work.Wait()
	})
	return p
}

func parse(address string) (network, rest string) {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		return "unix", path
	}
	return "tcp", address
}

// Address is where it listens, written as for Start.
func (p *Proxy) Address() string {
	if a := p.listener.Addr(); a.Network() == "unix" {
		return "unix://" + a.String()
	}
	return p.listener.Addr().String()
}

// Set changes what happens to new connections, and ends those that there are.
func (p *Proxy) Set(m Mode) {
	p.mode.Store(int32(m))
	p.Cut()
}

// Met counts the connections that met another mode than Pass.
func (p *Proxy) Met() int64 { return p.met.Load() }

// Cut resets every connection. New ones are taken as before.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns { // first: the end of one has what serves it close the other
		abrupt(c)
	}
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.track(c)
		p.work.Go(func() {
			defer p.release(c)
			p.handle(c)
		})
	}
}

func (p *Proxy) track(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = struct{}{}
}

func (p *Proxy) release(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// abrupt has the other end read an error, where TCP has one, when the connection is closed.
func abrupt(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}

// reset ends a connection abruptly.
func reset(c net.Conn) {
	abrupt(c)
	_ = c.Close()
}

// closeWrite ends one direction, which TCP and Unix sockets can.
func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
