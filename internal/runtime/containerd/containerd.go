// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package containerd observes a containerd: lists and inspects through CRI, and hears of changes through containerd's own
// event service on the same socket.
//
// Why not CRI's event stream: containerd 2 waits for its slowest CRI subscriber inside container starts and stops, so that a
// paused or throttled observer would stall the node; 1.7 deals each event to one subscriber only, so that an observer would
// take them from the kubelet; 1.6 has no such stream. The native service exists in all of them, delivers every event to
// everyone, queues for a slow reader without waiting for it, and speaks about 50 ms sooner, with the process id, the exit
// code and the exact time of an exit.
//
// What it does not know is the difference between a sandbox and a container, or why a process ended. Notices of sandboxes
// that CRI has shown are left out. A sandbox that it has not shown yet comes through as a notice with an id that no list
// has: the observer asks (runtime.Finder) and is told that there is no such container.
package containerd

import (
	"context"
	"fmt"

	eventsapi "github.com/containerd/containerd/api/services/events/v1"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/cri"
)

// namespace is where containerd's CRI plugin keeps pods and containers. It is not configurable in containerd.
const namespace = "k8s.io"

// Runtime is a containerd: a CRI runtime with a stream.
type Runtime struct {
	*cri.Runtime
}

var _ interface {
	runtime.Runtime
	runtime.Finder
	runtime.PIDReader
	runtime.Watcher
} = Runtime{}

// New adds containerd's native events to a CRI runtime that is known to be a containerd.
func New(r *cri.Runtime) Runtime { return Runtime{r} }

// Watch follows containerd's event service. What it posts:
//
//   - NoticeStarted: At is when containerd announced the start, some milliseconds before CRI's started_at, which is what a
//     run is identified by; CRI may still call the container created for that long;
//   - NoticeExited: PID, ExitCode and At, which equals CRI's finished_at, some 50 ms before CRI says so. Ends of exec
//     processes are left out;
//   - NoticeOOM: a process in the container was killed, which need not be the main one. One kill may be told many times;
//   - NoticePaused, NoticeResumed, NoticeCreated, NoticeDeleted.
//
// There is no replay: what happened before the subscription, or while there was none, is for a list to find. A server that
// does not offer or allow the service is runtime.ErrNoStream. ErrBehind ends a stream that cannot be kept up with.
func (r Runtime) Watch(ctx context.Context, ready func(), post func(runtime.Notice)) error {
	behind := newLag()
	return cri.Follow(ctx, r.Runtime, cri.Stream[types.Envelope]{
		Name: "containerd events",
		Open: func(ctx context.Context, conn grpc.ClientConnInterface) (grpc.ServerStreamingClient[types.Envelope], error) {
			ctx = metadata.AppendToOutgoingContext(ctx, "containerd-namespace", namespace)
			return eventsapi.NewEventsClient(conn).Subscribe(ctx, &eventsapi.SubscribeRequest{Filters: filters()})
		},
		Handle: func(e *types.Envelope) error {
			if n, ok := notice(e); ok && !r.IsSandbox(n.ID) {
				post(n)
			}
			return behind.check(timeOf(e.GetTimestamp()))
		},
	}, ready)
}

// filters selects the topics that notice understands. An event passes when one filter matches.
func filters() []string {
	all := make([]string, 0, len(topics))
	for _, t := range topics {
		all = append(all, fmt.Sprintf("namespace==%s,topic==%q", namespace, t))
	}
	return all
}
