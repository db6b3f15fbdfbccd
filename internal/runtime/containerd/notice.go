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

// topics are what is subscribed to. Left out are /tasks/create, which says nothing that the start does not, /tasks/delete,
// which repeats the exit, and exec, snapshot and image events.
var topics = []string{
	"/containers/create", "/containers/delete",
	"/tasks/start", "/tasks/exit", "/tasks/oom", "/tasks/paused", "/tasks/resumed",
}

// maxID bounds an id, in bytes. containerd allows 76.
const maxID = 256

// notice turns an envelope into a notice; false: it is not about a container's life. What an event is, is told by the type
// of its payload; unknown types and payloads that cannot be read are left out, since the next list makes up for them.
func notice(e *types.Envelope) (runtime.Notice, bool) {
	if e.GetNamespace() != "" && e.GetNamespace() != namespace {
		return runtime.Notice{}, false
	}
	n := runtime.Notice{At: timeOf(e.GetTimestamp())}
	// containerd writes the bare message name; Any's own form has a host and a slash in front of it.
	url := e.GetEvent().GetTypeUrl()
	payload := e.GetEvent().GetValue()
	switch url[strings.LastIndexByte(url, '/')+1:] {
	case "containerd.events.ContainerCreate":
		var m events.ContainerCreate
		if proto.Unmarshal(payload, &m) != nil {
			return n, false
		}
		n.Kind, n.ID = runtime.NoticeCreated, m.GetID()
	case "containerd.events.ContainerDelete":
		var m events.ContainerDelete
		if proto.Unmarshal(payload, &m) != nil {
			return n, false
		}
		n.Kind, n.ID = runtime.NoticeDeleted, m.GetID()
	case "containerd.events.TaskStart":
		var m events.TaskStart
		if proto.Unmarshal(payload, &m) != nil {
			return n, false
		}
		n.Kind, n.ID, n.PID = runtime.NoticeStarted, m.GetContainerID(), m.GetPid()
	case "containerd.events.TaskExit":
		var m events.TaskExit
		if proto.Unmarshal(payload, &m) != nil {
			return n, false
		}
		// The id of the process is the container's for its main process, and the exec's for an exec.
		if m.GetID() != "" && m.GetID() != m.GetContainerID() {
			return n, false
		}
		n.Kind, n.ID, n.PID, n.ExitCode = runtime.NoticeExited, m.GetContainerID(), m.GetPid(), m.GetExitStatus()
		if at := timeOf(m.GetExitedAt()); !at.IsZero() {
			n.At = at
		}
	case "containerd.events.TaskOOM":
		var m events.TaskOOM
		if proto.Unmarshal(payload, &m) != nil {
			return n, false
		}
		n.Kind, n.ID = runtime.NoticeOOM, m.GetContainerID()
	case "containerd.events.TaskPaused":
		var m events.TaskPaused
		if proto.Unmarshal(payload, &m) != nil {
			return n, false
		}
		n.Kind, n.ID = runtime.NoticePaused, m.GetContainerID()
	case "containerd.events.TaskResumed":
		var m events.TaskResumed
		if proto.Unmarshal(payload, &m) != nil {
			return n, false
		}
		n.Kind, n.ID = runtime.NoticeResumed, m.GetContainerID()
	default:
		return n, false
	}
	return n, n.ID != "" && len(n.ID) <= maxID
}

// timeOf gives a timestamp's time, or the zero time when it is unset or none of a container's.
func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil || t.CheckValid() != nil {
		return time.Time{}
	}
	return cri.PlausibleTime(t.AsTime())
}
