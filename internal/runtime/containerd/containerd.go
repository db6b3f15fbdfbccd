// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package containerd observes a containerd: it lists and inspects containers through CRI, and receives changes from
// containerd's own event service on the same socket.
//
// It does not use CRI's event stream because containerd 2 waits for its slowest CRI subscriber during container starts and
// stops, so a paused or throttled observer would stall the node; 1.7 sends each event to only one subscriber, so an observer
// would take events from the kubelet; 1.6 has no such stream. The native service exists in all of them, delivers every event to
// every subscriber, queues for a slow reader without waiting for it, and is about 50 ms faster. Its exit events contain the
// process id, the exit code and the exact time. See docs/decisions/0005-native-containerd-events-instead-of-cri-stream.md.
//
// The native service does not distinguish sandboxes from containers and does not report why a process exited. Notices of
// sandboxes that CRI has shown are omitted. A sandbox that CRI has not shown yet results in a notice with an id that no list
// contains: the observer then calls Find, which returns runtime.ErrNotFound.
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

// namespace is the containerd namespace of the CRI plugin. containerd has no setting for it.
const namespace = "k8s.io"

// Runtime is a containerd: a CRI runtime with an event stream.
type Runtime struct {
	*cri.Runtime
}

var _ interface {
	runtime.Runtime
	runtime.Finder
	runtime.PIDReader
	runtime.Watcher
} = Runtime{}

// New adds containerd's native events to r, which must be a containerd.
func New(r *cri.Runtime) Runtime { return Runtime{r} }

// Watch follows containerd's event service and posts these notices:
//
//   - NoticeStarted: At is the time of the event, some milliseconds before CRI's started_at, which identifies the run. During
//     these milliseconds CRI may still report the container as created;
//   - NoticeExited: PID, ExitCode and At, which equals CRI's finished_at. The notice is about 50 ms earlier than CRI's status.
//     Exits of exec processes are omitted;
//   - NoticeOOM: a process in the container was killed, not necessarily the main one. One kill may cause many notices;
//   - NoticePaused, NoticeResumed, NoticeCreated, NoticeDeleted.
//
// The service replays nothing: only a list shows what happened without a subscription. Watch returns runtime.ErrNoStream if the
// server does not offer or does not allow the service, and ErrBehind if it cannot keep up with the stream.
func (r Runtime) Watch(ctx context.Context, ready func(), post func(runtime.Notice)) error {
	reader := newLag()
	return cri.Follow(ctx, r.Runtime, cri.Stream[types.Envelope]{
		Name: "containerd events",
		Open: func(ctx context.Context, conn grpc.ClientConnInterface) (grpc.ServerStreamingClient[types.Envelope], error) {
			ctx = metadata.AppendToOutgoingContext(ctx, "containerd-namespace", namespace)
			return eventsapi.NewEventsClient(conn).Subscribe(ctx, &eventsapi.SubscribeRequest{Filters: filters()})
		},
		Handle: func(e *types.Envelope) error {
			switch n, ok := notice(e); {
			case ok && !r.IsSandbox(n.ID):
				post(n)
			case !ok && n.ID != "":
				r.SetAside(1)
			}
			return reader.check(timeOf(e.GetTimestamp()))
		},
	}, ready)
}

// filters returns a filter for each topic. containerd sends an event if at least one filter matches.
func filters() []string {
	all := make([]string, 0, len(topics))
	for _, t := range topics {
		all = append(all, fmt.Sprintf("namespace==%s,topic==%q", namespace, t))
	}
	return all
}
