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
	Backoff          retry.Options
	Tracker          tracker.Options
	Filter           *Filter // nil: everything
	OutboxCapacity   int     // transitions that wait for the sink; 0 = 4096
	MailboxCapacity  int     // containers with notices that wait for the loop; 0 = 4096
	InspectsAtOnce   int     // 0 = 8
	DrainTimeout     time.Duration
	RecheckAfterStop time.Duration // when a stop's reason is looked at once more; 0 = 1 s
}

// Item is what the sink gets: the transitions of one container in order, or a gap.
type Item struct {
	Transitions []container.Transition
	Gap         *container.Gap
}

// Sink takes what was observed. Deliver returns nil once the items are accepted or dropped for good (and counted), and an
// error only when ctx ended before that.
type Sink interface {
	Deliver(ctx context.Context, items []Item) error
}

// Checkpoint remembers across restarts what the sink accepted.
type Checkpoint interface {
	// Load gives what was saved last; a zero Remembered when there is nothing.
	Load(ctx context.Context) (Remembered, error)
	// Save writes changes in one batch, and when the runtime was last seen well.
	Save(ctx context.Context, changes []tracker.Change, seen time.Time) error
}

// Remembered is what a checkpoint holds.
type Remembered struct {
	Containers map[string]*tracker.Known
	Seen       time.Time // when the runtime was last seen well; zero: there is no checkpoint
	BootID     string    // of the host, when it was saved
}

// Host tells when the host was booted, so that a reboot between two runs of the observer is noticed.
type Host struct {
	BootID   string // empty: not known, no reboot is ever concluded
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

// Log is what the observer says, in state changes and faults. The fields are key, value, key, value.
type Log interface {
	Info(msg string, fields ...any)
	Warn(msg string, fields ...any)
}

// Stats is what gauges read.
type Stats struct {
	Tracked      int       // containers remembered
	Outbox       int       // transitions that wait for the sink
	LastGoodList time.Time // zero: none yet
	Streaming    bool
}

// Open connects to the runtime and asks it who it is.
type Open func(ctx context.Context) (runtime.Runtime, runtime.Info, error)
