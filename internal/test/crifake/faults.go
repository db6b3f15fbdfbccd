// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package crifake

import (
	"context"
	"path"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Fault is something that goes wrong with a call.
type Fault struct {
	Method    string // ListContainers, ContainerStatus, …; "" = every call
	Container string // only calls about this container; "" = all
	Delay     time.Duration
	Hang      bool       // does not answer until the fault is taken back, the call is given up or the server stops
	Code      codes.Code // fails with this code; OK = does not fail
	After     int        // of a stream: fails after so many messages; 0 = at once
	Times     int        // goes away after so many calls; 0 = stays until taken back
}

type fault struct {
	Fault
	lifted chan struct{}
}

// faults is what goes wrong, and what was called. The server's lock guards it.
type faults struct {
	active []*fault
	calls  map[string]int
}

// Inject lets a fault happen until the returned function is called. Of several that match the oldest counts.
func (s *Server) Inject(f Fault) (lift func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	added := &fault{Fault: f, lifted: make(chan struct{})}
	s.faults.active = append(s.faults.active, added)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if i := slices.Index(s.faults.active, added); i >= 0 {
			s.faults.active = slices.Delete(s.faults.active, i, i+1)
			close(added.lifted)
		}
	}
}

// Calls tells how often a method was called, faults included.
func (s *Server) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults.calls[method]
}

// met finds the fault for a call and counts the call.
func (s *Server) met(method, id string) *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.calls == nil {
		s.faults.calls = map[string]int{}
	}
	s.faults.calls[method]++
	for i, f := range s.faults.active {
		if (f.Method != "" && f.Method != method) || (f.Container != "" && f.Container != id) {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.faults.active = slices.Delete(s.faults.active, i, i+1)
				// It happens once more, now; nobody can lift it any more.
				return &fault{Fault: f.Fault, lifted: make(chan struct{})}
			}
		}
		return &fault{Fault: f.Fault, lifted: f.lifted}
	}
	return nil
}

// suffer waits and fails as the fault says.
func (s *Server) suffer(ctx context.Context, f *fault) error {
	if f == nil {
		return nil
	}
	var hang <-chan time.Time
	if !f.Hang {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		hang = timer.C
	}
	select {
	case <-hang:
	case <-f.lifted:
	case <-s.stopped:
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.Code != codes.OK {
		return status.Error(f.Code, "injected fault")
	}
	return nil
}

func (s *Server) interceptUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	var id string
	if r, ok := request.(interface{ GetContainerId() string }); ok {
		id = r.GetContainerId()
	}
	if err := s.suffer(ctx, s.met(path.Base(info.FullMethod), id)); err != nil {
		return nil, err
	}
	return next(ctx, request)
}

func (s *Server) interceptStream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	f := s.met(path.Base(info.FullMethod), "")
	if f != nil && f.After > 0 {
		return next(server, &breaking{ServerStream: stream, server: s, fault: f})
	}
	if err := s.suffer(stream.Context(), f); err != nil {
		return err
	}
	return next(server, stream)
}

// breaking is a stream whose fault comes after some messages.
type breaking struct {
	grpc.ServerStream
	server *Server
	fault  *fault
	sent   int
}

func (b *breaking) SendMsg(m any) error {
	if b.sent++; b.sent > b.fault.After {
		if err := b.server.suffer(b.Context(), b.fault); err != nil {
			return err
		}
	}
	return b.ServerStream.SendMsg(m)
}
