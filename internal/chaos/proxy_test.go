//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mode is what a proxy does with a connection.
type mode int32

const (
	pass      mode = iota
	refuse         // ends it at once, with a reset
	hang           // takes the request and never answers
	slow           // passes some bytes at a time
	cutAnswer      // passes the request and resets within the answer: the backend has it, and the collector does not know
	cutAsk         // resets within the request
	halfClose      // passes the request, and closes its side before the answer
	storm          // answers 429
	garbage        // answers what is neither HTTP nor TLS
)

// proxy stands before the backend.
type proxy struct {
	listener net.Listener
	target   string
	mode     atomic.Int32
	handled  atomic.Int64 // connections that met a mode other than pass

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

func newProxy(tb testing.TB, target string) *proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	p := &proxy{listener: l, target: target, conns: map[net.Conn]struct{}{}}
	p.wg.Go(p.accept)
	tb.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// set changes the mode for new connections and ends those that there are.
func (p *proxy) set(m mode) {
	p.mode.Store(int32(m))
	p.cut()
}

// cut resets every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		reset(c)
	}
}

func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.track(c)
		p.wg.Go(func() {
			defer p.release(c)
			p.handle(c)
		})
	}
}

func (p *proxy) track(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = struct{}{}
}

func (p *proxy) release(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) handle(c net.Conn) {
	m := mode(p.mode.Load())
	if m != pass {
		p.handled.Add(1)
	}
	switch m {
	case refuse:
		reset(c)
		return
	case hang:
		_, _ = io.Copy(io.Discard, c)
		return
	case storm, garbage:
		_, _ = c.Read(make([]byte, 64<<10))
		text := "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
		if m == garbage {
			text = "\x15\x03\x01\x00\x02\x02\x50 this is no answer"
		}
		_, _ = io.WriteString(c, text)
		_ = c.(*net.TCPConn).CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, c)
		return
	}
	up, err := net.Dial("tcp", p.target)
	if err != nil {
		reset(c)
		return
	}
	p.track(up)
	defer p.release(up)
	var wg sync.WaitGroup
	wg.Go(func() { // requests
		switch m {
		case slow:
			drip(up, c)
		case cutAsk:
			_, _ = io.CopyN(up, c, 200+rand.Int64N(2000))
			reset(up)
			reset(c)
		default:
			_, _ = io.Copy(up, c)
		}
		_ = up.(*net.TCPConn).CloseWrite()
	})
	switch m {
	case slow:
		drip(c, up)
	case cutAnswer:
		_, _ = io.CopyN(c, up, 1+rand.Int64N(40))
		reset(c)
	case halfClose:
		_, _ = up.Read(make([]byte, 1)) // the backend answers
		_ = c.(*net.TCPConn).CloseWrite()
	default:
		_, _ = io.Copy(c, up)
	}
	_ = c.Close()
	_ = up.Close()
	wg.Wait()
}

func drip(to io.Writer, from io.Reader) {
	buffer := make([]byte, 512)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
		if err != nil {
			return
		}
	}
}
