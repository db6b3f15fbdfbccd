// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package runtime is what an observer needs of a container runtime: who it is, which containers it has, what one of them
// is doing, and — where the runtime has a stream worth reading — a notice when something changes. The runtimes themselves
// are in the packages below it.
//
// Nothing here changes a runtime: every call is a read. Every call takes a context and keeps to its deadline.
package runtime

import (
	"context"
	"errors"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
)

// ErrNotFound means that the runtime does not know the container (any more).
var ErrNotFound = errors.New("container not found")

// ErrNoStream means that this runtime has no stream of notices, or has it switched off. Look again later; do not reconnect
// at once.
var ErrNoStream = errors.New("the runtime offers no event stream")

// ErrNotSupported means that something answers at the endpoint, but not with the API that was asked for, for example a
// containerd whose CRI plugin is disabled, as on a plain Docker host.
var ErrNotSupported = errors.New("the endpoint does not offer this API")

// Info is who a runtime says it is.
type Info struct {
	Engine          string // containerd, cri-o, docker, podman, or the name that the runtime gives, in lower case
	Version         string // for example 1.6.20
	APIVersion      string // of the API spoken: v1, 1.41
	ShowsPause      bool   // lists and inspects tell paused from running (Docker); false: only notices do (CRI)
	RestartsInPlace bool   // one container may run many times (Docker); false: a restart is a new container (CRI)
	// Platform is the machine that the containers run on, as far as the runtime reports it.
	Platform container.Platform
}

// Summary is what a list says of one container: enough to tell whether it changed. It is small and made without an
// allocation of its own, because a quiet node has as many of them per period as it has containers.
type Summary struct {
	ID          string
	State       container.State
	CreatedAt   int64  // ns since 1970; 0 = not known
	Attempt     uint32 // CRI metadata.attempt
	Fingerprint uint64 // differs when the list shows some other change that is worth an inspect; 0 where lists show none
	Item        any    // the runtime's own list item, for Describe and Inspect; dropped with the list
}

// Runtime is one container runtime behind one socket. Its methods may be called from several goroutines.
type Runtime interface {
	// Info asks the runtime who it is.
	Info(ctx context.Context) (Info, error)
	// List appends a summary of every container to dst and returns it. A partial list is an error, never a result.
	List(ctx context.Context, dst []Summary) ([]Summary, error)
	// Describe tells what stays the same over a container's life, from the list item and what is known of its pod.
	Describe(ctx context.Context, s Summary) (*container.Container, error)
	// Inspect looks at one container. c is what Describe returned for it, completed by what only an inspect tells; the
	// result points to c or to a completed copy, never to a changed c. ErrNotFound when it is gone.
	Inspect(ctx context.Context, c *container.Container) (container.Snapshot, error)
	// Close ends all connections. Calls under way fail.
	Close() error
}

// Finder is a Runtime that can summarize one container without listing all of them: for a notice about a container that
// no list has shown yet.
type Finder interface {
	// Find gives the summary that List would give now. ErrNotFound: no container has this id (a sandbox may).
	Find(ctx context.Context, id string) (Summary, error)
}

// PIDReader is a Runtime that can tell the main process of a container. It may cost the runtime more than an inspect, so
// it is asked once a run at most.
type PIDReader interface {
	// PID gives the process id in the host's namespace; 0 when there is none now or the runtime does not tell it.
	PID(ctx context.Context, id string) (uint32, error)
}

// NoticeKind is what a notice says happened.
type NoticeKind uint8

// The kinds of notice.
const (
	NoticeChanged NoticeKind = iota // something changed: look
	NoticeCreated
	NoticeStarted
	NoticeExited
	NoticeOOM
	NoticePaused
	NoticeResumed
	NoticeDeleted
	NoticeHealth // the verdict of the health check changed (Docker)
)

// Notice is one message of a runtime's event stream about one container.
type Notice struct {
	ID       string // container id; never a sandbox's where the stream tells them apart
	Kind     NoticeKind
	At       time.Time // the runtime's own time of it; zero = not told
	PID      uint32    // NoticeStarted, NoticeExited; 0 = not told
	ExitCode uint32    // NoticeExited
	// StopSignal names the signal that somebody had sent on request before this end; "" = none, or not told. NoticeExited.
	StopSignal string
	Health     string // NoticeHealth: starting, healthy or unhealthy
	// OOMKilled: an out-of-memory kill ended the run. NoticeExited, and NoticeOOM where it is told after the end.
	OOMKilled bool
	// Described is the container as far as the stream describes it (Docker: names, image, labels): all that remains to be known of
	// one that is gone before it can be looked at. Nil = not told, as in a stream in which ids may be a sandbox's.
	Described *container.Container
	// Replayed: it happened before the subscription, and the runtime told it now because it was asked to reach back, or keeps
	// what it told before for every new reader.
	Replayed bool
	// Snapshot is the container as the stream showed it, where the stream carries it (CRI). Nil: not carried.
	Snapshot *container.Snapshot
}

// Watcher is a Runtime with a stream of notices.
type Watcher interface {
	// Watch subscribes, calls ready once the subscription stands and post for every notice, and blocks until ctx ends
	// (nil) or the stream breaks (an error; ErrNoStream when there is none). post must not block: the goroutine that
	// reads a runtime's stream does nothing else. ready may be called from another goroutine, beside the first posts;
	// Watch does not return before it has.
	Watch(ctx context.Context, ready func(), post func(Notice)) error
}
