// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package proxy is a proxy between two parts under test. It does to their connections what networks, proxies and crashing servers do,
// according to a Mode for new connections.
//
// A connection that it cuts is reset, not closed in order. None of its goroutines and connections outlives the test. It does not
// parse what it forwards, so over TLS it cuts the handshake where it would cut an early answer.
package proxy

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy forwards connections to one address.
type Proxy struct {
	listener net.Listener
	to       string
	mode     atomic.Int32
	met      atomic.Int64
	silenced atomic.Int64 // connections made before this number lose everything that is sent on them
	made     atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	work  sync.WaitGroup
}

// Loopback is the address of a free TCP port on loopback, for Start.
const Loopback = "127.0.0.1:0"

// Start listens at one address until the test ends, and forwards connections to another. Each address is host:port, or unix:// and the
// path of a socket. The target may start later.
func Start(tb testing.TB, at, to string) *Proxy {
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

// Address returns the address on which it listens, in the form of Start's arguments.
func (p *Proxy) Address() string {
	if a := p.listener.Addr(); a.Network() == "unix" {
		return "unix://" + a.String()
	}
	return p.listener.Addr().String()
}

// Set changes the mode for new connections, and resets the existing ones.
func (p *Proxy) Set(m Mode) {
	p.mode.Store(int32(m))
	p.Cut()
}

// Met returns the number of connections in another mode than Pass.
func (p *Proxy) Met() int64 { return p.met.Load() }

// Cut resets every existing connection. New ones are served as before.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns { // mark all first: when one side ends, its goroutine closes the other
		abrupt(c)
	}
	for c := range p.conns {
		_ = c.Close()
	}
}

// Silence has the connections that there are lose everything, in both directions and without an end, as a firewall or a NAT gateway does
// that forgot them. New connections are taken as before.
func (p *Proxy) Silence() { p.silenced.Store(p.made.Load()) }

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

// abrupt makes the peer read an error, where TCP has one, when the connection is closed.
func abrupt(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}

// reset closes a connection abruptly.
func reset(c net.Conn) {
	abrupt(c)
	_ = c.Close()
}

// closeWrite closes one direction, which TCP and Unix sockets support.
func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
