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

// EventRuntime is a Runtime with CRI's own event stream, GetContainerEvents. It is for CRI-O and unknown runtimes.
//
// Avoid it on containerd. Since 2.0, a subscriber that is paused or throttled blocks all container starts and stops of the
// node after a few hundred events. In 1.7, each event reaches only one of the subscribers, and the kubelet is one of them.
// Package containerd uses a stream without these faults.
type EventRuntime struct{ *Runtime }

var _ runtime.Watcher = EventRuntime{}

// WithEvents adds CRI's event stream to a Runtime.
func WithEvents(r *Runtime) EventRuntime { return EventRuntime{r} }

// Watch follows GetContainerEvents. The stream may begin with events that are up to 5 minutes old (containerd 2) or of any age
// (containerd 1.7); they are marked as replayed. Events of sandboxes are omitted if the event or the pod cache identifies the
// sandbox.
func (r EventRuntime) Watch(ctx context.Context, ready func(), post func(runtime.Notice)) error {
	subscribed := time.Now()
	return Follow(ctx, r.Runtime, Stream[runtimeapi.ContainerEventResponse]{
		Name: "container events",
		Open: func(ctx context.Context, conn grpc.ClientConnInterface) (grpc.ServerStreamingClient[runtimeapi.ContainerEventResponse], error) {
			return runtimeapi.NewRuntimeServiceClient(conn).GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
		},
		Handle: func(e *runtimeapi.ContainerEventResponse) error {
			if n, ok := r.notice(e); ok {
				at := plausibleTime(e.GetCreatedAt())
				n.Replayed = !at.IsZero() && at.Before(subscribed)
				post(n)
			}
			return nil
		},
	}, ready)
}

// notice converts an event into a notice. It returns false if the event is not about a container. An event without the
// container's status, or with a status that contradicts it, becomes NoticeChanged.
func (r EventRuntime) notice(e *runtimeapi.ContainerEventResponse) (runtime.Notice, bool) {
	id := e.GetContainerId()
	if !runtime.ValidID(id) {
		r.setAside(1)
		return runtime.Notice{}, false
	}
	if id == e.GetPodSandboxStatus().GetId() || r.IsSandbox(id) {
		return runtime.Notice{}, false
	}
	n := runtime.Notice{ID: id, At: plausibleTime(e.GetCreatedAt())}
	if e.GetContainerEventType() == runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT {
		n.Kind = runtime.NoticeDeleted
		return n, true // its status is from before the removal
	}
	for _, s := range e.GetContainersStatuses() { // of all containers of the pod
		if s.GetId() == id {
			snap := snapshot(r.describeEvent(e, s), s)
			n.Snapshot = &snap
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
	default: // NoticeChanged
	}
	return n, true
}

// describeEvent returns the container of an event, as far as the event and the container's status describe it.
func (r EventRuntime) describeEvent(e *runtimeapi.ContainerEventResponse, s *runtimeapi.ContainerStatus) *container.Container {
	c := &container.Container{
		Runtime:     r.name,
		ID:          s.Id,
		Name:        runtime.Intern(nameOf(s.Metadata, s.Labels)),
		CreatedAt:   plausibleTime(s.CreatedAt),
		Attempt:     s.GetMetadata().GetAttempt(),
		Labels:      r.labels.Keep(s.Labels),
		Annotations: r.annotations.Keep(s.Annotations),
	}
	if info := r.info.Load(); info != nil {
		c.Engine, c.Version, c.Owner = info.Engine, info.Version, info.Owner
	}
	if p := e.GetPodSandboxStatus(); p.GetId() != "" {
		c.Pod = podFrom(p.GetId(), p.GetMetadata())
	}
	return c
}
