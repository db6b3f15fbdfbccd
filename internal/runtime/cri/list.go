// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"errors"
	"fmt"
	"io"

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

// List appends a summary of every container to dst. Items that have no id are left out: nothing can be asked about them.
// Should the runtime list an id twice, so does List. The order is the runtime's.
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
	answer, err := r.client.ListContainers(ctx, listAll)
	if err != nil {
		return dst[:from], r.explain(err, "list the containers")
	}
	return summarize(dst, answer.GetContainers()), nil
}

// stream lists through StreamContainers. An error at any point means that what came before it is worth nothing; a server
// without the method says so at the first Recv, not at the call.
func (r *Runtime) stream(ctx context.Context, dst []runtime.Summary) ([]runtime.Summary, error) {
	s, err := r.client.StreamContainers(ctx, streamAll)
	if err != nil {
		return dst, err
	}
	for {
		part, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
		dst = summarize(dst, part.GetContainers())
	}
}

// Find summarises one container by its full id.
func (r *Runtime) Find(ctx context.Context, id string) (runtime.Summary, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	answer, err := r.client.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{Id: id}})
	if err != nil {
		return runtime.Summary{}, r.explain(err, "look up container "+id)
	}
	for _, c := range answer.GetContainers() {
		if c.GetId() == id { // runtimes take a prefix for an id
			return summary(c), nil
		}
	}
	return runtime.Summary{}, fmt.Errorf("look up container %s at %s: %w", id, r.endpoint, runtime.ErrNotFound)
}

func summarize(dst []runtime.Summary, items []*runtimeapi.Container) []runtime.Summary {
	for _, c := range items {
		if c.GetId() != "" {
			dst = append(dst, summary(c))
		}
	}
	return dst
}

func summary(c *runtimeapi.Container) runtime.Summary {
	return runtime.Summary{
		ID:        c.Id,
		State:     state(c.State),
		CreatedAt: saneNanos(c.CreatedAt),
		Attempt:   c.GetMetadata().GetAttempt(),
		Item:      c,
	}
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
