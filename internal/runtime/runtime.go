// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package runtime defines what the observer needs from a container runtime: its name and version, a list of its containers,
// the status of one container and, if the runtime has an event stream that is safe to read, a notice of each change. The
// packages below it implement this for each runtime API.
//
// All calls are read-only. Every call respects the deadline of its context.
package runtime

import (
	"context"
	"errors"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
)

// ErrNotFound means that the runtime does not have the container, or does not have it any more.
var ErrNotFound = errors.New("container not found")

// ErrNoStream means that this runtime has no event stream, or has it disabled. Try again later; do not reconnect at once.
var ErrNoStream = errors.New("the runtime offers no event stream")

// ErrNotSupported means that a server answers at the endpoint but does not implement the requested API, for example a
// containerd whose CRI plugin is disabled, as on a plain Docker host.
var ErrNotSupported = errors.New("the endpoint does not offer this API")

// Info describes a runtime as it reports itself.
type Info struct {
	Engine          string // containerd, cri-o, docker, podman, or another name as the runtime reports it, in lower case
	Version         string // for example 1.6.20
	APIVersion      string // of the API in use: v1, 1.41
	ShowsPause      bool   // lists and inspections distinguish paused from running (Docker); false: only notices do (CRI)
	RestartsInPlace bool   // one container may run many times (Docker); false: a restart is a new container (CRI)
	// Platform is the platform that the containers run on; fields are empty if the runtime does not report them.
	Platform container.Platform
	Owner    uint32 // uid of the user who owns the runtime's socket; 0 for root, and where sockets have no owner
}

// Summary is the entry of one container in a list: just enough to detect a change. It is small and needs no allocation of its
// own, because every list of a quiet node produces one for each container.
type Summary struct {
	ID          string
	State       container.State
	CreatedAt   int64  // ns since 1970; 0 if unknown
	Attempt     uint32 // CRI metadata.attempt
	Fingerprint uint64 // changes when the list shows any other change that needs an inspection; 0 if the runtime's lists show no more
	Item        any    // the runtime's own list item, for Describe; valid as long as the list
}

// Runtime is one container runtime behind one socket. Its methods may be called from several goroutines.
type Runtime interface {
	// Info asks the runtime for its name and version.
	Info(ctx context.Context) (Info, error)
	// List appends a summary of every container to dst and returns it. A partial list is an error, never a result.
	List(ctx context.Context, dst []Summary) ([]Summary, error)
	// Describe returns what stays the same over a container's life, from the list item and the cached pod.
	Describe(ctx context.Context, s Summary) (*container.Container, error)
	// Inspect returns the status of one container. c is the result of Describe. The snapshot points to c, or to a copy with
	// the details that only a status has; c itself is never changed. ErrNotFound if the container is gone.
	Inspect(ctx context.Context, c *container.Container) (container.Snapshot, error)
	// Close ends all connections. Calls under way fail.
	Close() error
}

// Finder is a Runtime that can list a single container: for a notice about a container that no list has shown yet.
type Finder interface {
	// Find returns the summary that List would return now. ErrNotFound if no container has this id (a sandbox may have it).
	Find(ctx context.Context, id string) (Summary, error)
}

// PIDReader is a Runtime that can return the process id of a container's main process. The call may cost the runtime more
// than an inspection, so callers make it at most once for each run.
type PIDReader interface {
	// PID returns the process id in the host's namespace; 0 if there is no process or the runtime does not report it.
	PID(ctx context.Context, id string) (uint32, error)
}

// NoticeKind is the kind of change that a notice reports.
type NoticeKind uint8

// The kinds of notice.
const (
	NoticeChanged NoticeKind = iota // an unspecified change: inspect the container
	NoticeCreated
	NoticeStarted
	NoticeExited
	NoticeOOM
	NoticePaused
	NoticeResumed
	NoticeDeleted
	NoticeHealth // the result of the health check changed (Docker)
)

// Notice is one message of a runtime's event stream about one container.
type Notice struct {
	ID       string // container id; never a sandbox's if the stream distinguishes them
	Kind     NoticeKind
	At       time.Time // the runtime's own time of the event; zero if unknown
	PID      uint32    // NoticeStarted, NoticeExited; 0 if unknown
	ExitCode uint32    // NoticeExited
	// StopSignal is the name of the signal that was requested before this exit; empty if none or unknown. NoticeExited.
	StopSignal string
	Health     string // NoticeHealth: starting, healthy or unhealthy
	// OOMKilled means that an out-of-memory kill ended the run. NoticeExited; also NoticeOOM if it arrives after the exit.
	OOMKilled bool
	// Described is the container as the stream describes it (Docker: name, image, labels). It is the only description of a
	// container that is removed before its first inspection. Nil if the stream carries none.
	Described *container.Container
	// Replayed means that the event happened before the subscription: the subscription asked for past events, or the runtime
	// sends past events to every new subscriber.
	Replayed bool
	// Snapshot is the container's status as carried by the stream (CRI). Nil if the stream carries none.
	Snapshot *container.Snapshot
}

// Watcher is a Runtime with a stream of notices.
type Watcher interface {
	// Watch subscribes, calls ready once the subscription is active and post for every notice. It blocks until ctx ends (nil)
	// or the stream breaks (an error; ErrNoStream if the runtime has none). post must not block: the goroutine that reads a
	// runtime's stream must do nothing else. ready may run in another goroutine, concurrently with the first posts; Watch does
	// not return before ready has returned.
	Watch(ctx context.Context, ready func(), post func(Notice)) error
}
