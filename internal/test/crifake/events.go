// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package crifake

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// buffered is the number of events that a subscriber may be behind. Further events are dropped for it and counted, as in CRI-O. The
// server never waits for a reader, unlike containerd 2.
const buffered = 1000

// events are the subscribers, and the events that are kept for the first one. The server's lock guards them.
type events struct {
	subscribers map[chan *runtimeapi.ContainerEventResponse]chan error
	kept        []*runtimeapi.ContainerEventResponse
	dropped     int
}

// GetContainerEvents behaves as Options.Events says.
func (s *Server) GetContainerEvents(_ *runtimeapi.GetEventsRequest,
	stream grpc.ServerStreamingServer[runtimeapi.ContainerEventResponse],
) error {
	switch s.options.Events {
	case EventsUnimplemented:
		return s.UnimplementedRuntimeServiceServer.GetContainerEvents(nil, stream)
	case EventsEnd:
		return nil
	case EventsOn:
	}
	queue, cut := make(chan *runtimeapi.ContainerEventResponse, buffered), make(chan error, 1)
	s.mu.Lock()
	if s.events.subscribers == nil {
		s.events.subscribers = map[chan *runtimeapi.ContainerEventResponse]chan error{}
	}
	old := s.events.kept
	s.events.kept = nil
	s.events.subscribers[queue] = cut
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.events.subscribers, queue)
		s.mu.Unlock()
	}()
	for _, e := range old {
		if err := stream.Send(e); err != nil {
			return err
		}
	}
	for {
		select {
		case e := <-queue:
			if err := stream.Send(e); err != nil {
				return err
			}
		case err := <-cut:
			return err
		case <-s.stopped:
			return nil
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// publish sends an event to all subscribers. The caller holds mu.
func (s *Server) publish(id string, p *pod, what runtimeapi.ContainerEventType) {
	if s.options.Events != EventsOn || (len(s.events.subscribers) == 0 && s.options.KeepEvents == 0) {
		return
	}
	e := &runtimeapi.ContainerEventResponse{ContainerId: id, ContainerEventType: what, CreatedAt: s.now()}
	if p != nil && !s.options.BareEvents {
		e.PodSandboxStatus = p.status()
		for _, member := range p.members {
			e.ContainersStatuses = append(e.ContainersStatuses, proto.CloneOf(s.containers[member].status))
		}
	}
	s.send(e)
}

// Send sends an event to all subscribers, unchanged.
func (s *Server) Send(e *runtimeapi.ContainerEventResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(proto.CloneOf(e))
}

func (s *Server) send(e *runtimeapi.ContainerEventResponse) {
	if len(s.events.subscribers) == 0 {
		if s.events.kept = append(s.events.kept, e); len(s.events.kept) > s.options.KeepEvents {
			s.events.kept = s.events.kept[1:]
		}
		return
	}
	for queue := range s.events.subscribers {
		select {
		case queue <- e:
		default:
			s.events.dropped++
		}
	}
}

// Subscribers returns the number of open event streams.
func (s *Server) Subscribers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events.subscribers)
}

// Dropped returns the number of events that were dropped because a subscriber was too far behind.
func (s *Server) Dropped() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events.dropped
}

// CutStreams ends every event stream with the code; codes.OK ends them cleanly.
func (s *Server) CutStreams(code codes.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cut := range s.events.subscribers {
		select {
		case cut <- status.Error(code, "injected end of the stream"):
		default:
		}
	}
}
