// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// EventRuntime is a Runtime with CRI's own event stream, GetContainerEvents. It is meant for CRI-O and unknown runtimes.
//
// Do not use it on containerd without need: from 2.0 on, a subscriber that is paused or throttled blocks every container
// start and stop of the node after some hundred events, and in 1.7 all subscribers, the kubelet among them, take events
// away from each other. Package containerd reads a stream without these faults.
type EventRuntime struct{ *Runtime }

var _ runtime.Watcher = EventRuntime{}

// WithEvents adds CRI's event stream to a Runtime.
func WithEvents(r *Runtime) EventRuntime { return EventRuntime{r} }

// Watch follows GetContainerEvents. The stream may begin with events of up to 5 minutes ago (containerd 2) or of any age
// (containerd 1.7); they are marked as replayed. Events of sandboxes are left out where the event says that it is one's, or the sandbox is known.
func (r EventRuntime) Watch(ctx context.Context, ready func(), post func(runtime.Notice)) error {
	subscribed := time.Now()
	return Follow(ctx, r.Runtime, Stream[runtimeapi.ContainerEventResponse]{
		Name: "container events",
		Open: func(ctx context.Context, conn grpc.ClientConnInterface) (grpc.ServerStreamingClient[runtimeapi.ContainerEventResponse], error) {
			return runtimeapi.NewRuntimeServiceClient(conn).GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
		},
		Handle: func(e *runtimeapi.ContainerEventResponse) error {
			if n, ok := r.notice(e); ok {
				at := saneTime(e.GetCreatedAt())
				n.Replayed = !at.IsZero() && at.Before(subscribed)
				post(n)
			}
			return nil
		},
	}, ready)
}

// notice turns an event into a notice; false: the event is not about a container. An event that comes without the
// container's status, or with one that contradicts it, says only that something changed.
func (r EventRuntime) notice(e *runtimeapi.ContainerEventResponse) (runtime.Notice, bool) {
	id := e.GetContainerId()
	if id == "" || id == e.GetPodSandboxStatus().GetId() || r.IsSandbox(id) {
		return runtime.Notice{}, false
	}
	n := runtime.Notice{ID: id, At: saneTime(e.GetCreatedAt())}
	if e.GetContainerEventType() == runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT {
		n.Kind = runtime.NoticeDeleted
		return n, true // what status it carries is of before
	}
	for _, s := range e.GetContainersStatuses() { // of all containers of the pod
		if s.GetId() == id {
			look := snapshot(r.carried(e, s), s)
			n.Snapshot = &look
			break
		}
	}
	switch e.GetContainerEventType() {
	case runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT:
		n.Kind = runtime.NoticeCreated
	case runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT:
		n.Kind = runtime.NoticeStarted
		if n.Snapshot != nil && !n.Snapshot.Run.StartedAt.IsZero() {
			n.At = n.Snapshot.Run.StartedAt
		}
	case runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT:
		if n.Snapshot != nil && n.Snapshot.State == container.StateExited && n.Snapshot.Run.ExitKnown {
			n.Kind, n.ExitCode, n.At = runtime.NoticeExited, n.Snapshot.Run.ExitCode, n.Snapshot.Run.FinishedAt
		}
	default: // something changed
	}
	return n, true
}

// carried is the container as far as an event tells it.
func (r EventRuntime) carried(e *runtimeapi.ContainerEventResponse, s *runtimeapi.ContainerStatus) *container.Container {
	c := &container.Container{
		Runtime:     r.name,
		ID:          s.Id,
		Name:        intern(nameOf(s.Metadata, s.Labels)),
		CreatedAt:   saneTime(s.CreatedAt),
		Attempt:     s.GetMetadata().GetAttempt(),
		Labels:      r.labels.Keep(s.Labels, intern),
		Annotations: r.annotations.Keep(s.Annotations, intern),
	}
	if info := r.info.Load(); info != nil {
		c.Engine, c.Version = info.Engine, info.Version
	}
	if p := e.GetPodSandboxStatus(); p.GetId() != "" {
		c.Pod = podFrom(p.GetId(), p.GetMetadata())
	}
	return c
}
