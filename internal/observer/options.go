// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// Options of an Observer.
type Options struct {
	Name             string        // the configured name of the runtime
	PollInterval     time.Duration // between lists while no stream is healthy
	ResyncInterval   time.Duration // between lists while a stream is healthy
	Timeout          time.Duration // of each call to the runtime
	Backoff          retry.Options // between attempts to connect, to list and to subscribe
	Tracker          tracker.Options
	Filter           *Filter       // nil observes all containers
	OutboxCapacity   int           // transitions that wait for the sink; 0 = 4096
	MailboxCapacity  int           // containers with notices that wait for the loop; 0 = 4096
	InspectsAtOnce   int           // 0 = 8
	DrainTimeout     time.Duration // how long the outbox may be delivered after the end; 0 = 5 s
	RecheckAfterStop time.Duration // after which a stopped container is inspected again for the reason of its stop; 0 = 1 s
}

// Item is what the sink receives: the transitions of one container in order, or a gap.
type Item struct {
	Transitions []container.Transition
	Gap         *container.Gap
}

// Sink receives what was observed. Deliver returns nil once the items are accepted or dropped permanently (and counted), and an error
// only if ctx ended before that.
type Sink interface {
	Deliver(ctx context.Context, items []Item) error
}

// Checkpoint stores across restarts what the sink accepted.
type Checkpoint interface {
	// Load returns what was saved last; a zero Remembered if there is nothing. With an error, it returns what could be read.
	Load(ctx context.Context) (Remembered, error)
	// Save writes, in one batch, the changes and when the runtime was last seen; a zero time leaves that as it was.
	Save(ctx context.Context, changes []tracker.Change, seen time.Time) error
}

// Remembered is the content of a checkpoint.
type Remembered struct {
	Containers map[string]*tracker.Known
	Seen       time.Time // when the runtime was last seen; zero if there is no checkpoint
	BootID     string    // of the host, when it was saved
}

// Host identifies the present boot of the host, so that a reboot between two runs of the observer is noticed.
type Host struct {
	BootID   string // empty if unknown: then no reboot is ever concluded
	BootTime time.Time
}

// Telemetry counts what the observer does. Its methods must not block and may be called from several goroutines.
type Telemetry interface {
	Listed(d time.Duration, err error)
	InspectFailed()
	Transitions(kind container.Kind, n int)
	Reconnected()
	MailboxOverflowed()
	Coalesced(n int)
	Gap(cause string)
	CheckpointFailed()
}

// Log receives state changes and faults. The fields are key, value, key, value.
type Log interface {
	Info(msg string, fields ...any)
	Warn(msg string, fields ...any)
}

// Stats is the state that gauges show.
type Stats struct {
	Tracked      int       // containers remembered
	Outbox       int       // transitions that wait for the sink
	LastGoodList time.Time // zero if there was none yet
	Streaming    bool
}

// Open connects to the runtime and returns what it says of itself.
type Open func(ctx context.Context) (runtime.Runtime, runtime.Info, error)
