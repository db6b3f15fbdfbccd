// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package crifake

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ListContainers answers with bytes that were encoded when each container changed, so that a benchmark of a client does not measure
// this server: for the encoder they are unknown fields, which it copies.
func (s *Server) ListContainers(_ context.Context, r *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &runtimeapi.ListContainersResponse{}
	if id := r.GetFilter().GetId(); id != "" {
		for _, known := range s.order {
			if strings.HasPrefix(known, id) {
				answer.Containers = append(answer.Containers, proto.CloneOf(s.containers[known].item))
			}
		}
		return answer, nil
	}
	if s.list == nil {
		size := 0
		for _, e := range s.containers {
			size += len(e.wire)
		}
		s.list = make([]byte, 0, size)
		for _, id := range s.order {
			s.list = append(s.list, s.containers[id].wire...)
		}
		for _, item := range s.raw {
			s.list = append(s.list, encode(item)...)
		}
	}
	answer.ProtoReflect().SetUnknown(s.list)
	return answer, nil
}

// StreamContainers answers in messages of Options.Batch containers.
func (s *Server) StreamContainers(_ *runtimeapi.StreamContainersRequest,
	stream grpc.ServerStreamingServer[runtimeapi.StreamContainersResponse],
) error {
	if !s.options.StreamLists {
		return s.UnimplementedRuntimeServiceServer.StreamContainers(nil, stream)
	}
	for _, part := range s.batches() {
		answer := &runtimeapi.StreamContainersResponse{}
		answer.ProtoReflect().SetUnknown(part)
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) batches() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var parts [][]byte
	add := func(i int, wire []byte) {
		if i%s.options.Batch == 0 {
			parts = append(parts, nil)
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], wire...)
	}
	for i, id := range s.order {
		add(i, s.containers[id].wire)
	}
	for i, item := range s.raw {
		add(len(s.order)+i, encode(item))
	}
	return parts
}

// encode encodes an item as field 1 of ListContainersResponse, which is also field 1 of StreamContainersResponse.
func encode(item *runtimeapi.Container) []byte {
	body, err := proto.Marshal(item)
	if err != nil {
		panic(fmt.Sprintf("crifake: encode a list item: %v", err)) // a test used a string that is not UTF-8
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), body)
}

// ContainerStatus returns the status of one container. The verbose answer contains a secret, which no observer may pass on.
func (s *Server) ContainerStatus(_ context.Context, r *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.containers[r.GetContainerId()]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "an error occurred when try to find container %q: not found", r.GetContainerId())
	}
	answer := &runtimeapi.ContainerStatusResponse{Status: proto.CloneOf(e.status)}
	if r.GetVerbose() {
		info := e.verbose
		if info == "" {
			info = fmt.Sprintf(`{"sandboxID":%q,"pid":%d,"config":{"envs":[{"key":"TOKEN","value":%q}]}}`,
				e.item.PodSandboxId, e.pid, Canary)
		}
		answer.Info = map[string]string{"info": info}
	}
	return answer, nil
}

// Canary is the value of an environment variable of every container. Tests search for it where it must not appear.
const Canary = "canary-7f3d-secret"

// ListPodSandbox lists the pods.
func (s *Server) ListPodSandbox(context.Context, *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &runtimeapi.ListPodSandboxResponse{Items: make([]*runtimeapi.PodSandbox, 0, len(s.pods))}
	for _, id := range s.podOrder {
		p := s.pods[id]
		answer.Items = append(answer.Items, &runtimeapi.PodSandbox{
			Id: id, Metadata: p.metadata, CreatedAt: p.createdAt, State: runtimeapi.PodSandboxState_SANDBOX_READY,
		})
	}
	return answer, nil
}

// PodSandboxStatus returns the status of one pod.
func (s *Server) PodSandboxStatus(_ context.Context, r *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pods[r.GetPodSandboxId()]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "an error occurred when try to find sandbox %q: not found", r.GetPodSandboxId())
	}
	return &runtimeapi.PodSandboxStatusResponse{Status: p.status()}, nil
}
