// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Mode is what a proxy does to a connection.
type Mode int32

// The modes. All but Pass are faults, Refuse the first and Garbage the last.
const (
	Pass      Mode = iota
	Refuse         // resets it at once
	Hang           // reads the request and never answers
	Slow           // forwards some bytes at a time
	CutAnswer      // forwards the request and resets within the answer: the server has the request, and the client does not know
	CutAsk         // resets within the request
	HalfClose      // forwards the request and closes its side before the answer
	Storm          // answers 429
	Garbage        // answers neither HTTP nor TLS
)

// Faults returns all modes but Pass.
func Faults() []Mode {
	return []Mode{Refuse, Hang, Slow, CutAnswer, CutAsk, HalfClose, Storm, Garbage}
}

// String returns a description for test names.
func (m Mode) String() string {
	return [...]string{
		"passed", "refused", "no answer", "slow", "cut within the answer", "cut within the request", "half closed", "429", "no HTTP",
	}[m]
}

// The answers of Storm and Garbage.
const (
	storm   = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	garbage = "\x15\x03\x01\x00\x02\x02\x50 this is no answer"
)

// handle serves a connection according to the mode. It returns when both sides are closed.
func (p *Proxy) handle(c net.Conn) {
	m := Mode(p.mode.Load())
	if m != Pass {
		p.met.Add(1)
	}
	switch m {
	case Refuse:
		reset(c)
	case Hang:
		_, _ = io.Copy(io.Discard, c)
	case Storm:
		answer(c, storm)
	case Garbage:
		answer(c, garbage)
	default:
		p.pass(c, m)
	}
}

// answer answers the first bytes, and waits until the client has read the answer before it closes the connection.
func answer(c net.Conn, text string) {
	_, _ = c.Read(make([]byte, 64<<10))
	_, _ = io.WriteString(c, text)
	closeWrite(c)
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, c)
}

func (p *Proxy) pass(c net.Conn, m Mode) {
	network, address := parse(p.to)
	up, err := (&net.Dialer{}).DialContext(context.Background(), network, address) // loopback: it does not hang
	if err != nil {
		reset(c)
		return
	}
	p.track(up)
	defer p.release(up)
	number := p.made.Add(1)
	lost := func() bool { return number <= p.silenced.Load() }
	var asking sync.WaitGroup
	asking.Go(func() {
		switch m {
		case Slow:
			drip(up, c)
		case CutAsk:
			_, _ = io.CopyN(up, c, 200+rand.Int64N(2000))
			reset(up)
			reset(c)
		default:
			_, _ = io.Copy(lossy{up, lost}, c)
		}
		closeWrite(up)
	})
	switch m {
	case Slow:
		drip(c, up)
	case CutAnswer:
		_, _ = io.CopyN(c, up, 1+rand.Int64N(40))
		reset(c)
	case HalfClose:
		_, _ = up.Read(make([]byte, 1)) // the server answers
		closeWrite(c)
	default:
		_, _ = io.Copy(lossy{c, lost}, up)
		if lost() {
			asking.Wait() // the client must not see that the server closed
		}
	}
	_ = c.Close()
	_ = up.Close()
	asking.Wait()
}

// drip forwards a few bytes at a time.
func drip(to io.Writer, from io.Reader) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	buffer := make([]byte, 512)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
			<-tick.C
		}
		if err != nil {
			return
		}
	}
}

// lossy is a connection that loses what is written to it once lost says so.
type lossy struct {
	io.Writer

	lost func() bool
}

func (l lossy) Write(p []byte) (int, error) {
	if l.lost() {
		return len(p), nil
	}
	return l.Writer.Write(p)
}
