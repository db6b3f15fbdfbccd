// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/queuestate"
)

// The causes of a loss that a lane decides.
const (
	CauseOverflow = "overflow" // evicted to make room, or larger than the whole queue
	CauseExpired  = "expired"  // retry_on_failure gave up
)

// Destination is where a lane delivers to. Several goroutines use it.
type Destination interface {
	// Push tries once to deliver logs. Errors are those of an exporter: permanent, or retryable; a consumererror.Logs names the
	// records that are to be pushed again, and RetryAfter the shortest wait.
	Push(ctx context.Context, logs plog.Logs) error
	// Drop counts logs as lost. The lane does not push them again.
	Drop(ctx context.Context, logs plog.Logs, cause string)
}

// Overflow is what a lane does with records that its full queue has no room for.
type Overflow int

// The values of Overflow.
const (
	AsConfigured Overflow = iota // sending_queue::block_on_overflow decides: the source waits, or the records are refused
	Refuse                       // the source keeps the records and offers them later
	EvictOldest                  // the lane drops its oldest records
)

// Options describes one lane.
type Options struct {
	Name        string // what it delivers, for log messages: "events"
	Destination Destination
	Queue       configoptional.Optional[exporterhelper.QueueBatchConfig]
	Retry       configretry.BackOffConfig
	Overflow    Overflow         // ignored without a queue
	Now         func() time.Time // the clock by which records age
}

// Lane delivers log records. Without a queue, exporterhelper retries; with one, the lane does.
type Lane struct {
	Options

	queue    exporter.Logs // of exporterhelper: the queue, or the push itself where none is configured
	queued   bool          // a queue is configured
	limit    queueLimit
	backlog  *backlog
	eviction *eviction
	logger   *zap.Logger

	budget   *budget // shared with a lane that has precedence; nil if no lane has
	yielding *Lane   // the lane that makes room for this one; nil if none does
}

// NewLane creates a lane. The queue's storage and metrics are named after set.ID.
func NewLane(ctx context.Context, set exporter.Settings, cfg component.Config, o Options) (*Lane, error) {
	l := &Lane{Options: o, queued: o.Queue.HasValue(), eviction: newEviction(), logger: set.Logger}
	push, queue, retry := l.attempt, o.Queue, o.Retry
	if l.queued {
		q := *queue.Get()
		l.limit = queueLimit{size: q.QueueSize, sizer: q.Sizer}
		if o.Overflow != AsConfigured {
			q.BlockOnOverflow = false
		}
		queue = configoptional.Some(q)
		push = l.deliver
		// exporterhelper's retry sees an error only when the lane stops. It must not find then that the interrupted wait would
		// have exceeded max_elapsed_time: it would drop what the queue is to keep.
		retry.MaxElapsedTime = 0
	}
	l.backlog = &backlog{now: o.Now, limit: l.limit}
	var err error
	l.queue, err = exporterhelper.NewLogs(ctx, set, cfg, push,
		exporterhelper.WithCapabilities(consumer.Capabilities{MutatesData: false}),
		// The HTTP client has the timeout, for each request of its own.
		exporterhelper.WithTimeout(exporterhelper.TimeoutConfig{Timeout: 0}),
		exporterhelper.WithRetry(retry),
		exporterhelper.WithQueue(queue),
	)
	if err != nil {
		return nil, fmt.Errorf("create the queue of %s: %w", o.Name, err)
	}
	return l, nil
}

// Start starts the queue. It delivers at once what a queue on disk kept.
func (l *Lane) Start(ctx context.Context, host component.Host) error {
	if l.queued {
		host = queuestate.Watch(host, l.backlog.setQueueState)
	}
	return l.queue.Start(ctx, host)
}

// Shutdown interrupts every wait and stops the queue. A queue in memory is drained first, as far as the backend accepts it.
func (l *Lane) Shutdown(ctx context.Context) error {
	l.eviction.stop()
	return l.queue.Shutdown(ctx)
}

// Capabilities returns those of the queue, which changes records where it batches them.
func (l *Lane) Capabilities() consumer.Capabilities { return l.queue.Capabilities() }

// OldestUndelivered returns the age of the oldest record that is not delivered, 0 if there is none.
func (l *Lane) OldestUndelivered() time.Duration { return l.backlog.oldest() }

// OutageCapacity returns for how many seconds more the queue has room for what arrives at the present rate. It returns false where
// that is not known: without a queue on disk, and in the first second.
func (l *Lane) OutageCapacity() (seconds float64, known bool) { return l.backlog.capacity() }

// QueueBytes returns the size of the queue in bytes. It returns false without a queue on disk.
func (l *Lane) QueueBytes() (size int64, known bool) {
	queued := l.backlog.queued.Load()
	if queued == nil {
		return 0, false
	}
	return int64(queued.Bytes), true
}

// QueueUsed returns the size of the queue in the unit of its limit. It returns false without a queue on disk.
func (l *Lane) QueueUsed() (size int64, known bool) { return l.backlog.used() }
