// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/evidence/procfs"
)

const (
	welcomeTimeout = 15 * time.Second // until the process answers; a busy node starts a program of 100 MiB in less than a second
	writeTimeout   = 5 * time.Second
	endTimeout     = 5 * time.Second // until a process whose input has ended is killed
)

var (
	// errEnded means that the process ended, or was killed, before it answered.
	errEnded = errors.New("the sampler process ended")
	// errNotAsked means that the process had ended before it was asked.
	errNotAsked = errors.New("the sampler process had ended")
)

// stream is one direction of a connection.
type stream interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// peer is one sampler process as the collector sees it: the requests under way and what ends it.
type peer struct {
	in      stream      // requests
	out     stream      // replies
	child   *child      // nil at a socket
	seccomp bool        // the process has restricted its system calls
	reading chan string // closed when no reply comes any more

	writing sync.Mutex

	mu      sync.Mutex
	next    uint64
	pending map[uint64]chan reply // nil: nobody waits for the reply any more
	last    procfs.Stats
	why     string // it ended; empty while it runs
	ending  bool   // on request
}

// newPeer exchanges the first messages.
func newPeer(ctx context.Context, in, out stream, c *child, config procfs.Config) (*peer, error) {
	p := &peer{in: in, out: out, child: c, reading: make(chan string), pending: map[uint64]chan reply{}}
	deadline := time.Now().Add(welcomeTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	_, _ = in.SetWriteDeadline(deadline), out.SetReadDeadline(deadline)
	defer context.AfterFunc(ctx, func() { _, _ = in.SetWriteDeadline(time.Now()), out.SetReadDeadline(time.Now()) })()
	var answer welcome
	err := writeFrame(in, hello{Version: version, Config: config}, maxRequestBytes)
	buffered := bufio.NewReader(out)
	if err == nil {
		err = readFrame(buffered, &answer, maxRequestBytes)
	}
	switch {
	case err != nil:
		err = fmt.Errorf("start the sampler process: %w", err)
	case answer.Error != "":
		err = fmt.Errorf("start the sampler process: it answers %.200q", answer.Error)
	case answer.Version != version:
		err = fmt.Errorf("start the sampler process: it speaks version %d of the protocol, not %d: use the same build on both sides", answer.Version, version)
	}
	if err != nil {
		p.close("it did not start")
		return nil, err
	}
	p.seccomp = answer.Seccomp
	_, _ = in.SetWriteDeadline(time.Time{}), out.SetReadDeadline(time.Time{})
	go p.read(buffered)
	return p, nil
}

// ask sends a request and waits for its reply. A process that does not answer in time is killed.
func (p *peer) ask(ctx context.Context, target evidence.Target, patience time.Duration) (reply, error) {
	id, answer := p.register()
	if answer == nil {
		return reply{}, p.endError(errNotAsked)
	}
	if p.write(request{ID: id, Target: target}) != nil {
		p.close("it takes no requests")
		return reply{}, p.endError(errNotAsked)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-answer:
		return r, nil
	case <-p.reading:
		return reply{}, p.endError(errEnded)
	case <-timer.C:
		p.close(fmt.Sprintf("a sample took more than %v", patience))
		return reply{}, errEnded
	case <-ctx.Done():
		p.abandon(id)
		_ = p.write(request{ID: id, Cancel: true})
		return reply{}, context.Cause(ctx)
	}
}

func (p *peer) register() (uint64, chan reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why != "" || p.ending {
		return 0, nil
	}
	p.next++
	answer := make(chan reply, 1)
	p.pending[p.next] = answer
	return p.next, answer
}

// abandon keeps the request as one whose reply nobody waits for.
func (p *peer) abandon(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.pending[id]; ok {
		p.pending[id] = nil
	}
}

func (p *peer) write(r request) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	_ = p.in.SetWriteDeadline(time.Now().Add(writeTimeout))
	return writeFrame(p.in, r, maxRequestBytes)
}

// read hands out replies until the process ends or answers what is no reply.
func (p *peer) read(from io.Reader) {
	for {
		var r reply
		err := readFrame(from, &r, maxReplyBytes)
		if err == nil {
			err = p.deliver(r)
		}
		if err != nil {
			why := "its output ended"
			if !errors.Is(err, io.EOF) {
				why = err.Error()
			}
			p.close(why)
			close(p.reading)
			return
		}
	}
}

// deliver hands a reply to who waits for it. A process that answers what it was not asked is none of ours any more: reading on would cost
// the collector as much as it likes to write.
func (p *peer) deliver(r reply) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer, asked := p.pending[r.ID]
	if !asked {
		return fmt.Errorf("it answers request %d, which is none", r.ID)
	}
	delete(p.pending, r.ID)
	p.last = plausible(r.Stats, p.last)
	if answer != nil {
		answer <- r // it has room for one
	}
	return nil
}

// close ends the connection, kills the process if there is one, and keeps the first reason.
func (p *peer) close(why string) {
	p.mu.Lock()
	if p.why == "" {
		p.why = why
	}
	p.mu.Unlock()
	_ = p.in.Close()
	if p.child != nil {
		p.child.kill()
	}
	_ = p.out.Close()
}

// end asks the process to end and waits for it.
func (p *peer) end() {
	p.mu.Lock()
	p.ending = true
	p.mu.Unlock()
	_ = p.in.Close()
	if p.child != nil {
		p.child.wait(endTimeout)
	}
	p.close("it was asked to end")
}

func (p *peer) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why == "" && !p.ending
}

// endError is procfs.ErrClosed if the process was asked to end, or else the given error.
func (p *peer) endError(unexpected error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ending {
		return procfs.ErrClosed
	}
	return unexpected
}

// cause returns why the process ended, with how it exited and what it wrote last.
func (p *peer) cause() string {
	p.mu.Lock()
	why := p.why
	p.mu.Unlock()
	if p.child == nil {
		return why
	}
	return why + "; " + p.child.outcome()
}

func (p *peer) stats() procfs.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

var _ stream = (*os.File)(nil)
