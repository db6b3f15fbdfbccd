// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package containerd

import (
	"strings"
	"time"

	"github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/cri"
)

// topics are the topics of the subscription. It omits /tasks/create, which adds nothing to the start, /tasks/delete, which
// repeats the exit, and the events of execs, snapshots and images.
var topics = []string{
	"/containers/create", "/containers/delete",
	"/tasks/start", "/tasks/exit", "/tasks/oom", "/tasks/paused", "/tasks/resumed",
}

// A decoder sets the fields of a notice from the payload of an event. It returns false if the payload is malformed or the
// event is not about a container's main process.
type decoder func(payload []byte, n *runtime.Notice) bool

// decoders has the decoder of each event type.
var decoders = map[string]decoder{
	"containerd.events.ContainerCreate": idOnly(runtime.NoticeCreated, (*events.ContainerCreate).GetID),
	"containerd.events.ContainerDelete": idOnly(runtime.NoticeDeleted, (*events.ContainerDelete).GetID),
	"containerd.events.TaskStart":       decodeStart,
	"containerd.events.TaskExit":        decodeExit,
	"containerd.events.TaskOOM":         idOnly(runtime.NoticeOOM, (*events.TaskOOM).GetContainerID),
	"containerd.events.TaskPaused":      idOnly(runtime.NoticePaused, (*events.TaskPaused).GetContainerID),
	"containerd.events.TaskResumed":     idOnly(runtime.NoticeResumed, (*events.TaskResumed).GetContainerID),
}

// message is a pointer to a protobuf message of type M.
type message[M any] interface {
	*M
	proto.Message
}

// idOnly returns the decoder of an event M of which only the container id is needed.
func idOnly[M any, P message[M]](kind runtime.NoticeKind, id func(P) string) decoder {
	return func(payload []byte, n *runtime.Notice) bool {
		m := P(new(M))
		if proto.Unmarshal(payload, m) != nil {
			return false
		}
		n.Kind, n.ID = kind, id(m)
		return true
	}
}

func decodeStart(payload []byte, n *runtime.Notice) bool {
	var m events.TaskStart
	if proto.Unmarshal(payload, &m) != nil {
		return false
	}
	n.Kind, n.ID, n.PID = runtime.NoticeStarted, m.GetContainerID(), m.GetPid()
	return true
}

func decodeExit(payload []byte, n *runtime.Notice) bool {
	var m events.TaskExit
	if proto.Unmarshal(payload, &m) != nil {
		return false
	}
	// The process id of a container's main process is the container id. An exec has another one.
	if m.GetID() != "" && m.GetID() != m.GetContainerID() {
		return false
	}
	n.Kind, n.ID, n.PID, n.ExitCode = runtime.NoticeExited, m.GetContainerID(), m.GetPid(), m.GetExitStatus()
	if at := timeOf(m.GetExitedAt()); !at.IsZero() {
		n.At = at
	}
	return true
}

// notice converts an envelope into a notice. The type of the payload selects the decoder. It returns false if the event is not
// about a container, its type is unknown or its payload is malformed; the next list compensates for that. A notice whose id is not valid
// is returned with false, too.
func notice(e *types.Envelope) (runtime.Notice, bool) {
	if e.GetNamespace() != "" && e.GetNamespace() != namespace {
		return runtime.Notice{}, false
	}
	n := runtime.Notice{At: timeOf(e.GetTimestamp())}
	// containerd writes only the message name; the standard form of an Any has a host and a slash before it.
	url := e.GetEvent().GetTypeUrl()
	decode, ok := decoders[url[strings.LastIndexByte(url, '/')+1:]]
	if !ok || !decode(e.GetEvent().GetValue(), &n) {
		return runtime.Notice{}, false
	}
	return n, runtime.ValidID(n.ID)
}

// timeOf returns the time of a timestamp, or the zero time if it is unset or not plausible.
func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil || t.CheckValid() != nil {
		return time.Time{}
	}
	return cri.PlausibleTime(t.AsTime())
}
