// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"
)

// intake is what the pipeline sees: exporterhelper's exporter with what its queue lacks. What is larger than the queue goes in
// piece by piece instead of waiting for ever; and under drop_oldest a full queue makes room.
type intake struct {
	exporter.Logs
	backlog    *backlog
	shed       *shedding
	dropOldest bool
	queued     bool                   // there is a queue
	admit      func(size int64) error // nil: what the queue has room for may come in
	took       func()                 // nil: nobody wants to know that something came in
	drop       func(ctx context.Context, logs plog.Logs, cause string)
}

func (in *intake) Start(ctx context.Context, host component.Host) error {
	if in.queued {
		host = watchedHost{Host: host, backlog: in.backlog}
	}
	return in.Logs.Start(ctx, host)
}

func (in *intake) Shutdown(ctx context.Context) error {
	in.shed.stop()
	return in.Logs.Shutdown(ctx)
}

func (in *intake) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	if !in.queued { // it is over when they are delivered, or given back
		return in.backlog.holding(in.Logs.ConsumeLogs)(ctx, logs)
	}
	size := in.backlog.most.sizeOf(logs)
	// The queue never takes what is larger than itself; of what nearly fills it, a piece at a time flows better.
	if size <= in.backlog.most.size || in.backlog.most.sizer == exporterhelper.RequestSizerTypeRequests {
		return in.offer(ctx, logs, size)
	}
	total := logs.LogRecordCount()
	if total == 1 {
		in.drop(ctx, logs, causeOverflow)
		return consumererror.NewPermanent(fmt.Errorf("a record of %d bytes is larger than the queue: raise sending_queue::queue_size above it", size))
	}
	var never []error // of records that the queue never takes; the others come in all the same
	for from := 0; from < total; {
		to := min(from+max(total/2, 1), total)
		switch err := in.ConsumeLogs(ctx, stretch(logs, from, to)); {
		case err == nil:
		case consumererror.IsPermanent(err):
			never = append(never, err)
		default:
			if rest, ok := errors.AsType[consumererror.Logs](err); ok { // of this piece
				left := rest.Data()
				stretch(logs, to, total).ResourceLogs().MoveAndAppendTo(left.ResourceLogs())
				return consumererror.NewLogs(err, left)
			}
			return consumererror.NewLogs(err, stretch(logs, from, total)) // what went in need not be sent again
		}
		from = to
	}
	return errors.Join(never...)
}

func (in *intake) offer(ctx context.Context, logs plog.Logs, size int64) error {
	if in.admit != nil {
		if err := in.admit(size); err != nil {
			return err
		}
	}
	settling := 0
	for {
		err := in.Logs.ConsumeLogs(ctx, logs)
		switch {
		case err == nil:
			in.backlog.arrival(size)
			if in.took != nil {
				in.took()
			}
			return nil
		case !in.dropOldest || !errors.Is(err, exporterhelper.ErrQueueIsFull):
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
		freed, err := in.shed.makeRoom(ctx, size)
		switch {
		case err != nil:
			return err
		case freed:
			settling = settleSteps
		}
	}
}

// The queue takes out what went a moment after it went: to ask for more before that would lose more than has to go.
const (
	settleStep  = 2 * time.Millisecond
	settleSteps = 200
)

// stretch copies the records from..to, counted through all of logs.
func stretch(logs plog.Logs, from, to int) plog.Logs {
	var items []item
	n := 0
	for r := range logs.ResourceLogs().Len() {
		scopes := logs.ResourceLogs().At(r).ScopeLogs()
		for s := range scopes.Len() {
			for l := range scopes.At(s).LogRecords().Len() {
				if n >= from && n < to {
					items = append(items, item{resource: r, scope: s, record: l})
				}
				n++
			}
		}
	}
	return remaining(logs, items)
}
