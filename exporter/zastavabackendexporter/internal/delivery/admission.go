// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"
)

// ConsumeLogs admits logs to the queue. A delivery that is larger than the queue is admitted in parts, because the queue would wait
// for room without limit; and where the lane evicts, a full queue makes room. Errors: consumererror.Logs with the records that
// were not admitted; permanent for a record that is larger than the whole queue, which is then dropped.
func (l *Lane) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	if !l.queued { // it returns when the records are delivered, or given up
		defer l.backlog.hold(oldestOf(logs))()
		return l.queue.ConsumeLogs(ctx, logs)
	}
	size := l.limit.sizeOf(logs)
	if size <= l.limit.size || l.limit.sizer == exporterhelper.RequestSizerTypeRequests {
		return l.offer(ctx, logs, size)
	}
	if logs.LogRecordCount() == 1 {
		l.Destination.Drop(ctx, logs, CauseOverflow)
		return consumererror.NewPermanent(fmt.Errorf("a record of %d bytes is larger than the queue: raise sending_queue::queue_size above it", size))
	}
	return l.admitInParts(ctx, logs)
}

// admitInParts admits halves. One record that is larger than the queue does not keep the others out.
func (l *Lane) admitInParts(ctx context.Context, logs plog.Logs) error {
	total := logs.LogRecordCount()
	var permanent []error
	for from := 0; from < total; {
		to := min(from+max(total/2, 1), total)
		switch err := l.ConsumeLogs(ctx, slice(logs, from, to)); {
		case err == nil:
		case consumererror.IsPermanent(err):
			permanent = append(permanent, err)
		default:
			if partial, ok := errors.AsType[consumererror.Logs](err); ok { // of this half
				rest := partial.Data()
				slice(logs, to, total).ResourceLogs().MoveAndAppendTo(rest.ResourceLogs())
				return consumererror.NewLogs(err, rest)
			}
			return consumererror.NewLogs(err, slice(logs, from, total)) // without what was admitted
		}
		from = to
	}
	return errors.Join(permanent...)
}

// offer puts logs, which fit, into the queue.
func (l *Lane) offer(ctx context.Context, logs plog.Logs, size int64) error {
	if l.budget != nil {
		if err := l.budget.admit(size); err != nil {
			return err
		}
	}
	settling := 0
	for {
		err := l.queue.ConsumeLogs(ctx, logs)
		switch {
		case err == nil:
			l.backlog.arrival(size)
			if l.yielding != nil {
				l.yielding.evictExcess()
			}
			return nil
		case l.Overflow != EvictOldest || !errors.Is(err, exporterhelper.ErrQueueIsFull):
			return err
		case settling > 0:
			settling--
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(settleStep):
			}
			continue
		}
		freed, err := l.eviction.makeRoom(ctx, size)
		switch {
		case err != nil:
			return err
		case freed:
			settling = settleSteps
		}
	}
}

// The queue removes a record a moment after it was evicted. To evict more before that would lose more than needed.
const (
	settleStep  = 2 * time.Millisecond
	settleSteps = 200
)
