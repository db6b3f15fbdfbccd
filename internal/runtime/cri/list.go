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

// Requests without a filter are the same each time and are only read.
var (
	listAll   = &runtimeapi.ListContainersRequest{}
	streamAll = &runtimeapi.StreamContainersRequest{}
)

// undecoded is the option of a call whose answer is a listAnswer.
var undecoded = grpc.ForceCodecV2(listCodec{})

// List appends a summary of every container to dst. Their Items share the memory of one answer: keep none of them for longer
// than the list. Containers without an id are left out: nothing can be asked about them. Should the runtime list an id
// twice, so does List. The order is the runtime's.
func (r *Runtime) List(ctx context.Context, dst []runtime.Summary) ([]runtime.Summary, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	r.lists.Add(1)
	from := len(dst)
	made := r.dials.made.Load()
	if r.unaryLists.Load() != made+1 {
		out, err := r.stream(ctx, dst)
		switch {
		case err == nil && len(out) > from:
			r.pods.fit(len(out) - from)
			return out, nil
		case err == nil:
			// An empty stream is also what a server gives that has the method but not the feature. To believe it would be to
			// report every container as gone, so it is confirmed below, where an empty answer costs nothing.
		case status.Code(err) == codes.Unimplemented:
			// The connection may have been made by this very call.
			r.unaryLists.Store(r.dials.made.Load() + 1)
		default:
			return dst[:from], r.explain(err, "list the containers")
		}
	}
	answer := listAnswer{summaries: dst}
	if err := r.conn.Invoke(ctx, runtimeapi.RuntimeService_ListContainers_FullMethodName, listAll, &answer, undecoded); err != nil {
		return dst[:from], r.explain(err, "list the containers")
	}
	r.pods.fit(len(answer.summaries) - from)
	return answer.summaries, nil
}

// stream lists through StreamContainers. An error at any point means that what came before it is worth nothing; a server
// without the method says so at the first message, not at the call.
func (r *Runtime) stream(ctx context.Context, dst []runtime.Summary) ([]runtime.Summary, error) {
	s, err := r.client.StreamContainers(ctx, streamAll, undecoded)
	if err != nil {
		return dst, err
	}
	answer := listAnswer{summaries: dst}
	for {
		err := s.RecvMsg(&answer) // not Recv, which would decode
		if errors.Is(err, io.EOF) {
			return answer.summaries, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// Find summarizes one container by its full id.
func (r *Runtime) Find(ctx context.Context, id string) (runtime.Summary, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	request := &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{Id: id}}
	var answer listAnswer
	err := r.conn.Invoke(ctx, runtimeapi.RuntimeService_ListContainers_FullMethodName, request, &answer, undecoded)
	if err != nil {
		return runtime.Summary{}, r.explain(err, "look up container "+id)
	}
	for _, s := range answer.summaries {
		if s.ID == id { // runtimes take a prefix for an id
			return s, nil
		}
	}
	return runtime.Summary{}, fmt.Errorf("look up container %s at %s: %w", id, r.endpoint, runtime.ErrNotFound)
}

// state maps a CRI state; what CRI calls unknown and what it does not define is unknown. CRI has no paused state.
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
