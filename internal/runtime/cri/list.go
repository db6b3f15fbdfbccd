// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// Requests without a filter are shared, because gRPC only reads them.
var (
	listAll   = &runtimeapi.ListContainersRequest{}
	streamAll = &runtimeapi.StreamContainersRequest{}
)

// undecoded is the option of a call whose response is a listResponse.
var undecoded = grpc.ForceCodecV2(listCodec{})

// List appends a summary of every container to dst, in the runtime's order. The Items share the memory of the complete
// response, so none of them should be kept longer than the list. Entries without a valid id are set aside, because no call can refer
// to them. An id that the runtime lists twice appears twice.
func (r *Runtime) List(ctx context.Context, dst []runtime.Summary) ([]runtime.Summary, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	r.lists.Add(1)
	from := len(dst)
	made := r.dials.made.Load()
	if r.noStreamAt.Load() != made+1 {
		out, err := r.stream(ctx, dst)
		switch {
		case err == nil && len(out) > from:
			r.pods.resize(len(out) - from)
			return out, nil
		case err == nil:
			// A server that has the method but not the feature also returns an empty stream. Every container would then be
			// reported as removed, so the unary call below confirms it; an empty response to that is cheap.
		case status.Code(err) == codes.Unimplemented:
			// This call itself may have made the connection.
			r.noStreamAt.Store(r.dials.made.Load() + 1)
		default:
			return dst[:from], r.explain(err, "list the containers")
		}
	}
	response := listResponse{summaries: dst, bounds: r.bounds}
	err := r.conn.Invoke(ctx, runtimeapi.RuntimeService_ListContainers_FullMethodName, listAll, &response, undecoded, largest(r.bounds.list))
	if err != nil {
		return dst[:from], r.explain(response.cause(err), "list the containers")
	}
	r.setAside(response.invalid)
	r.pods.resize(len(response.summaries) - from)
	return response.summaries, nil
}

// stream lists through StreamContainers. After an error, the summaries received before it are discarded. A server without the
// method reports that at the first message, not at the call.
func (r *Runtime) stream(ctx context.Context, dst []runtime.Summary) ([]runtime.Summary, error) {
	s, err := r.client.StreamContainers(ctx, streamAll, undecoded, largest(r.bounds.list))
	if err != nil {
		return dst, err
	}
	response := listResponse{summaries: dst, bounds: r.bounds}
	for {
		err := s.RecvMsg(&response) // Recv would decode
		if errors.Is(err, io.EOF) {
			r.setAside(response.invalid)
			return response.summaries, nil
		}
		if err != nil {
			return dst, response.cause(err)
		}
	}
}

// Find returns the summary of the container with this full id.
func (r *Runtime) Find(ctx context.Context, id string) (runtime.Summary, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	request := &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{Id: id}}
	response := listResponse{bounds: r.bounds}
	err := r.conn.Invoke(ctx, runtimeapi.RuntimeService_ListContainers_FullMethodName, request, &response, undecoded, largest(r.bounds.list))
	if err != nil {
		return runtime.Summary{}, r.explain(response.cause(err), "find container "+id)
	}
	for _, s := range response.summaries {
		if s.ID == id { // runtimes also accept a prefix of an id
			return s, nil
		}
	}
	return runtime.Summary{}, fmt.Errorf("find container %s at %s: %w", id, r.endpoint, runtime.ErrNotFound)
}

// state converts a CRI state. CRI's unknown state and undefined values become StateUnknown. CRI has no paused state.
func state(s runtimeapi.ContainerState) container.State {
	switch s {
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		return container.StateCreated
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		return container.StateRunning
	case runtimeapi.ContainerState_CONTAINER_EXITED:
		return container.StateExited
	default:
		return container.StateUnknown
	}
}
