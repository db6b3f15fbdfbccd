// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bench

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/api/events"
	eventsapi "github.com/containerd/containerd/api/services/events/v1"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// bareNative follows containerd's events. After a start it asks for the status until that shows the start.
func bareNative(ctx context.Context, b *testing.B, c *privateruntime.Containerd, work *sync.WaitGroup, r, status *reader) {
	b.Helper()
	client := runtimeapi.NewRuntimeServiceClient(c.Conn())
	sees := func(id string) {
		for ctx.Err() == nil {
			answer, err := client.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
			if err != nil { // a sandbox
				return
			}
			if answer.GetStatus().GetState() != runtimeapi.ContainerState_CONTAINER_CREATED {
				status.note(id, false, time.Now())
				return
			}
			time.Sleep(spin)
		}
	}
	s, err := eventsapi.NewEventsClient(c.Conn()).Subscribe(metadata.AppendToOutgoingContext(ctx, "containerd-namespace", "k8s.io"),
		&eventsapi.SubscribeRequest{Filters: []string{`topic=="/tasks/start"`, `topic=="/tasks/exit"`}})
	require.NoError(b, err)
	work.Go(func() {
		for {
			e, err := s.Recv()
			if err != nil {
				return
			}
			now := time.Now()
			payload, err := e.GetEvent().UnmarshalNew()
			if err != nil {
				b.Errorf("an event of containerd cannot be read: %v", err)
				return
			}
			switch m := payload.(type) {
			case *events.TaskStart:
				r.note(m.GetContainerID(), false, now)
				work.Go(func() { sees(m.GetContainerID()) })
			case *events.TaskExit:
				r.note(m.GetContainerID(), true, now)
			}
		}
	})
}

func bareCRI(ctx context.Context, b *testing.B, c *privateruntime.Containerd, work *sync.WaitGroup, r *reader) {
	b.Helper()
	s, err := runtimeapi.NewRuntimeServiceClient(c.Conn()).GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
	require.NoError(b, err)
	work.Go(func() {
		for {
			e, err := s.Recv()
			if err != nil {
				return
			}
			now := time.Now()
			switch e.GetContainerEventType() {
			case runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT:
				r.note(e.GetContainerId(), false, now)
			case runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT:
				r.note(e.GetContainerId(), true, now)
			default:
			}
		}
	})
}

// bareList lists every second and learns from it what kubelet's generic PLEG would.
func bareList(ctx context.Context, b *testing.B, c *privateruntime.Containerd, work *sync.WaitGroup, r *reader) {
	b.Helper()
	client := runtimeapi.NewRuntimeServiceClient(c.Conn())
	work.Go(func() {
		tick := time.NewTicker(relist)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			answer, err := client.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
			if err != nil {
				continue
			}
			now := time.Now()
			for _, item := range answer.GetContainers() {
				switch item.GetState() {
				case runtimeapi.ContainerState_CONTAINER_RUNNING:
					r.note(item.GetId(), false, now)
				case runtimeapi.ContainerState_CONTAINER_EXITED:
					r.note(item.GetId(), false, now)
					r.note(item.GetId(), true, now)
				default:
				}
			}
		}
	})
}
