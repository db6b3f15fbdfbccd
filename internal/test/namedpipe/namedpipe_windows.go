// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package namedpipe

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/windows"
)

const (
	// bufferSize of a pipe, in bytes for each direction.
	bufferSize = 64 << 10
	// poll is the time between two checks for a client.
	poll = 2 * time.Millisecond
)

// Server serves one pipe.
type Server struct {
	name, to string
	work     sync.WaitGroup
	closing  chan struct{}

	mu     sync.Mutex
	closed bool
	served map[*client]bool
	failed error // why no more clients are accepted
}

// Name derives the name of a pipe from a path, for tests that use the path of a Unix socket on other systems.
func Name(path string) string { return fmt.Sprintf(`\\.\pipe\zastava-%x`, sha256.Sum256([]byte(path))) }

// Endpoint returns the address of a pipe as configurations have it.
func Endpoint(name string) string { return "npipe://" + strings.ReplaceAll(name, `\`, "/") }

// Listen listens on a TCP port of loopback and serves a pipe that forwards to it. The listener's Close ends both.
func Listen(name string) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen behind the pipe %s: %w", name, err)
	}
	s, err := Serve(name, l.Addr().String())
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return listener{l, s}, nil
}

type listener struct {
	net.Listener
	pipe *Server
}

func (l listener) Close() error { return errors.Join(l.pipe.Close(), l.Listener.Close()) }

// Serve serves the pipe and forwards each client to the TCP address to. It returns an error if a pipe of that name exists already, which
// Wine 8 does not detect.
func Serve(name, to string) (*Server, error) {
	s := &Server{name: name, to: to, closing: make(chan struct{}), served: map[*client]bool{}}
	first, err := newInstance(name, windows.FILE_FLAG_FIRST_PIPE_INSTANCE)
	if err != nil {
		return nil, err
	}
	s.work.Go(func() { s.accept(first) })
	return s, nil
}

// Wait waits until the pipe accepts no more clients. It returns the reason, or nil after Close.
func (s *Server) Wait() error {
	s.work.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// Close closes the pipe and the connections of all clients, and waits until they have ended.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	for c := range s.served {
		c.cut()
	}
	s.mu.Unlock()
	return s.Wait()
}

// accept accepts clients one after the other. It creates the next instance before it serves the client of this one.
func (s *Server) accept(p instance) {
	defer func() { p.close() }()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		came, err := p.connected()
		if err != nil {
			s.fail(err)
			return
		}
		if came {
			next, err := newInstance(s.name, 0)
			if err != nil {
				s.fail(err)
				return
			}
			client := p
			s.work.Go(func() { s.forward(client) })
			p = next
			continue
		}
		select {
		case <-tick.C:
		case <-s.closing:
			return
		}
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.failed = err
	}
}

// client is one client and its connection to the TCP address.
type client struct {
	instance
	conn net.Conn
}

// cut closes both directions, so that all pending reads and writes return.
func (c *client) cut() {
	_ = c.conn.Close()
	_ = windows.DisconnectNamedPipe(c.handle)
}

// forward copies bytes in both directions until either side ends.
func (s *Server) forward(p instance) {
	defer p.close()
	conn, err := net.Dial("tcp", s.to)
	if err != nil {
		_ = windows.DisconnectNamedPipe(p.handle) // refuses the client
		return
	}
	c := &client{instance: p, conn: conn}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		c.cut()
		return
	}
	s.served[c] = true
	s.mu.Unlock()
	var sending sync.WaitGroup
	sending.Go(func() {
		_, _ = io.Copy(conn, p) // until the client closes the pipe, or the far side the connection
		_ = conn.Close()
	})
	_, _ = io.Copy(p, conn)
	if !s.isClosed() {
		_ = windows.FlushFileBuffers(p.handle) // what was written is lost at the disconnection otherwise
	}
	c.cut()
	sending.Wait()
	s.mu.Lock()
	delete(s.served, c)
	s.mu.Unlock()
}

// instance is the server's end of a pipe, for one client. Its operations are asynchronous for Windows, because a synchronous write would wait
// for a pending read. The methods wait for their result.
type instance struct{ handle windows.Handle }

func newInstance(name string, flags uint32) (instance, error) {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return instance{}, fmt.Errorf("encode the name of the pipe %q: %w", name, err)
	}
	h, err := windows.CreateNamedPipe(path, windows.PIPE_ACCESS_DUPLEX|windows.FILE_FLAG_OVERLAPPED|flags,
		windows.PIPE_TYPE_BYTE|windows.PIPE_READMODE_BYTE|windows.PIPE_NOWAIT|windows.PIPE_REJECT_REMOTE_CLIENTS,
		windows.PIPE_UNLIMITED_INSTANCES, bufferSize, bufferSize, 0, nil)
	if err != nil {
		return instance{}, fmt.Errorf("create an instance of the pipe %s: %w", name, err)
	}
	return instance{handle: h}, nil
}

func (p instance) close() { _ = windows.CloseHandle(p.handle) }

// wait begins an operation on b and waits for its end.
func (p instance) wait(b []byte, begin func(*windows.Overlapped) error) (int, error) {
	event, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return 0, fmt.Errorf("create an event: %w", err)
	}
	defer func() { _ = windows.CloseHandle(event) }()
	var pinner runtime.Pinner // Windows writes to both after begin has returned
	defer pinner.Unpin()
	o := &windows.Overlapped{HEvent: event}
	pinner.Pin(o)
	if len(b) > 0 {
		pinner.Pin(&b[0])
	}
	if err := begin(o); err != nil && !errors.Is(err, windows.ERROR_IO_PENDING) {
		return 0, err
	}
	var n uint32
	err = windows.GetOverlappedResult(p.handle, o, &n, true)
	return int(n), err
}

// connected reports whether a client has connected. It does not wait, because Wine 8 completes an asynchronous ConnectNamedPipe before a
// client connects, or never.
func (p instance) connected() (bool, error) {
	switch err := windows.ConnectNamedPipe(p.handle, nil); {
	case err == nil, errors.Is(err, windows.ERROR_PIPE_LISTENING):
		return false, nil
	case errors.Is(err, windows.ERROR_PIPE_CONNECTED):
		var mode uint32 = windows.PIPE_READMODE_BYTE | windows.PIPE_WAIT
		if err := windows.SetNamedPipeHandleState(p.handle, &mode, nil, nil); err != nil {
			return false, fmt.Errorf("set the pipe to blocking mode: %w", err)
		}
		return true, nil
	case errors.Is(err, windows.ERROR_NO_DATA): // a client connected and disconnected
		_ = windows.DisconnectNamedPipe(p.handle)
		return false, nil
	default:
		return false, fmt.Errorf("check for a client: %w", err)
	}
}

// Read reads bytes of the client. It returns io.EOF after the client has closed its end.
func (p instance) Read(b []byte) (int, error) {
	n, err := p.wait(b, func(o *windows.Overlapped) error { return windows.ReadFile(p.handle, b, nil, o) })
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, windows.ERROR_BROKEN_PIPE), errors.Is(err, windows.ERROR_PIPE_NOT_CONNECTED), errors.Is(err, windows.ERROR_NO_DATA):
		return n, io.EOF
	default:
		return n, fmt.Errorf("read from the pipe: %w", err)
	}
}

// Write writes b to the client.
func (p instance) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		rest := b[done:]
		n, err := p.wait(rest, func(o *windows.Overlapped) error { return windows.WriteFile(p.handle, rest, nil, o) })
		if err != nil {
			return done, fmt.Errorf("write to the pipe: %w", err)
		}
		done += n
	}
	return done, nil
}
