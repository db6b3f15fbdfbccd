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

// Fault makes calls fail, hang or take time.
type Fault struct {
	Method    string // ListContainers, ContainerStatus, …; empty for every call
	Container string // only calls about this container; empty for all
	Delay     time.Duration
	Hang      bool       // does not answer until the fault is lifted, the call is canceled or the server stops
	Code      codes.Code // fails with this code, unless OK
	After     int        // fails a stream after so many messages; 0 for at once
	Times     int        // affects only so many calls; 0 for all calls until it is lifted
}

type fault struct {
	Fault
	lifted chan struct{}
}

// faults are the active faults and the counts of calls. The server's lock guards them.
type faults struct {
	active []*fault
	calls  map[string]int
}

// Inject activates a fault until the returned function is called. Of several faults that match a call, the oldest applies.
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

// Calls returns how often a method was called, calls with a fault included.
func (s *Server) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults.calls[method]
}

// faultOf returns the fault that applies to a call, or nil, and counts the call.
func (s *Server) faultOf(method, id string) *fault {
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
				// It applies for the last time now, and cannot be lifted any more.
				return &fault{Fault: f.Fault, lifted: make(chan struct{})}
			}
		}
		return &fault{Fault: f.Fault, lifted: f.lifted}
	}
	return nil
}

// apply waits and fails as the fault demands.
func (s *Server) apply(ctx context.Context, f *fault) error {
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
	if err := s.apply(ctx, s.faultOf(path.Base(info.FullMethod), id)); err != nil {
		return nil, err
	}
	return next(ctx, request)
}

func (s *Server) interceptStream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	f := s.faultOf(path.Base(info.FullMethod), "")
	if f != nil && f.After > 0 {
		return next(server, &breaking{ServerStream: stream, server: s, fault: f})
	}
	if err := s.apply(stream.Context(), f); err != nil {
		return err
	}
	return next(server, stream)
}

// breaking is a stream with a fault after some messages.
type breaking struct {
	grpc.ServerStream
	server *Server
	fault  *fault
	sent   int
}

func (b *breaking) SendMsg(m any) error {
	if b.sent++; b.sent > b.fault.After {
		if err := b.server.apply(b.Context(), b.fault); err != nil {
			return err
		}
	}
	return b.ServerStream.SendMsg(m)
}
