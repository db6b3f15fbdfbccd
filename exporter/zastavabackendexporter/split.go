// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/record"
)

// splitter passes samples to the lane of facts and all other records to the lane of events.
type splitter struct {
	events, facts consumer.ConsumeLogsFunc
	logger        *zap.Logger
}

// consume passes on events first. Where only facts are refused, the error asks for them alone.
func (s splitter) consume(ctx context.Context, logs plog.Logs) error {
	switch countSamples(logs) {
	case 0:
		return s.events(ctx, logs)
	case logs.LogRecordCount():
		return s.facts(ctx, logs)
	}
	events, facts := plog.NewLogs(), plog.NewLogs()
	logs.CopyTo(events)
	logs.CopyTo(facts)
	keep(events, func(lr plog.LogRecord) bool { return !record.IsSampled(lr) })
	keep(facts, record.IsSampled)
	eventsErr := s.events(ctx, events)
	if eventsErr != nil && !consumererror.IsPermanent(eventsErr) {
		if partial, ok := errors.AsType[consumererror.Logs](eventsErr); ok {
			rest := partial.Data()
			facts.ResourceLogs().MoveAndAppendTo(rest.ResourceLogs())
			return consumererror.NewLogs(eventsErr, rest)
		}
		return eventsErr // all records are offered again; the ids of those that were admitted make that harmless
	}
	err := s.facts(ctx, facts)
	switch {
	case err == nil || consumererror.IsPermanent(err):
		return errors.Join(eventsErr, err) // each is nil or permanent
	case eventsErr != nil: // this error cannot carry both
		s.logger.Error("Events are refused permanently; dropped", zap.Error(eventsErr))
	}
	if partial, ok := errors.AsType[consumererror.Logs](err); ok {
		return consumererror.NewLogs(err, partial.Data())
	}
	return consumererror.NewLogs(err, facts)
}

func countSamples(logs plog.Logs) int {
	n := 0
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				if record.IsSampled(lr) {
					n++
				}
			}
		}
	}
	return n
}

// keep removes the records that are not wanted, and the resources and scopes that this empties.
func keep(logs plog.Logs, wanted func(plog.LogRecord) bool) {
	logs.ResourceLogs().RemoveIf(func(rl plog.ResourceLogs) bool {
		rl.ScopeLogs().RemoveIf(func(sl plog.ScopeLogs) bool {
			sl.LogRecords().RemoveIf(func(lr plog.LogRecord) bool { return !wanted(lr) })
			return sl.LogRecords().Len() == 0
		})
		return rl.ScopeLogs().Len() == 0
	})
}
