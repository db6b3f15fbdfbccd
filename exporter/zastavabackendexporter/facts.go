// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/record"
)

// factsGzipLevel is what the API suggests.
const factsGzipLevel = 6

// maxFactsBytes is the most that one request holds, uncompressed.
const maxFactsBytes = backendapi.MaxFactsBytes

// withFacts gives facts their own road beside that of events: their own queue and retries, so that events never wait for
// them. What the queue of facts has no room for is refused, never waited for; and where both queues have more than the budget,
// facts go.
type withFacts struct {
	*intake // events

	facts  *intake
	road   *factsRoad
	budget budget
}

func newWithFacts(ctx context.Context, set exporter.Settings, cfg *Config, e *backendExporter, events *intake) (exporter.Logs, error) {
	if cfg.CallgraphID == "" {
		set.Logger.Info("Runtime facts are off: samples of processes are not sent; set callgraph_id to send them")
		return events, nil
	}
	f, err := newFactsRoad(cfg, e)
	if err != nil {
		return nil, err
	}
	push, queue := f.push, cfg.QueueConfig
	if queue.HasValue() {
		q := *queue.Get()
		q.BlockOnOverflow = false
		queue = configoptional.Some(q)
		f.own.most = queueMost{size: q.QueueSize, sizer: q.Sizer}
		push = (&road{what: forFacts.String(), retry: cfg.RetryConfig, most: f.own.most, shed: f.own.shed, logger: e.logger, attempt: f.push, drop: f.drop}).carry
	}
	own := set
	own.ID = component.NewIDWithName(set.ID.Type(), set.ID.Name()+"-facts") // for the queue's storage and metrics
	facts, err := exporterhelper.NewLogs(ctx, own, cfg, f.own.holding(push),
		exporterhelper.WithCapabilities(consumer.Capabilities{MutatesData: false}),
		exporterhelper.WithTimeout(exporterhelper.TimeoutConfig{Timeout: 0}),
		exporterhelper.WithRetry(afterStop(cfg)),
		exporterhelper.WithQueue(queue),
	)
	if err != nil {
		return nil, fmt.Errorf("set up the delivery of facts: %w", err)
	}
	w := &withFacts{intake: events, road: f, budget: budget{e.backlog, &f.own.backlog}}
	w.facts = &intake{Logs: facts, backlog: &f.own.backlog, shed: f.own.shed, queued: queue.HasValue(), admit: w.budget.admit, drop: f.drop}
	f.own.shed.most = w.budget.excess
	events.took = func() {
		if n := w.budget.excess(); n > 0 {
			f.own.shed.want(n)
		}
	}
	return w, nil
}

// Start starts events first: they make the HTTP client.
func (w *withFacts) Start(ctx context.Context, host component.Host) error {
	if err := w.intake.Start(ctx, host); err != nil {
		return err
	}
	if err := w.road.observe(); err != nil {
		return err
	}
	return w.facts.Start(ctx, host)
}

// Shutdown ends events last, for the same reason.
func (w *withFacts) Shutdown(ctx context.Context) error {
	return errors.Join(w.facts.Shutdown(ctx), w.intake.Shutdown(ctx))
}

// ConsumeLogs takes events first. Where only facts are refused, the error asks for them alone.
func (w *withFacts) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	samples, total := 0, logs.LogRecordCount()
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				if record.IsSampled(lr) {
					samples++
				}
			}
		}
	}
	switch samples {
	case 0:
		return w.intake.ConsumeLogs(ctx, logs)
	case total:
		return w.facts.ConsumeLogs(ctx, logs)
	}
	events, facts := plog.NewLogs(), plog.NewLogs()
	logs.CopyTo(events)
	logs.CopyTo(facts)
	keep(events, func(lr plog.LogRecord) bool { return !record.IsSampled(lr) })
	keep(facts, record.IsSampled)
	eventsErr := w.intake.ConsumeLogs(ctx, events)
	if eventsErr != nil && !consumererror.IsPermanent(eventsErr) {
		if rest, ok := errors.AsType[consumererror.Logs](eventsErr); ok {
			left := rest.Data()
			facts.ResourceLogs().MoveAndAppendTo(left.ResourceLogs())
			return consumererror.NewLogs(eventsErr, left)
		}
		return eventsErr // all of it comes again; what was taken has its id
	}
	err := w.facts.ConsumeLogs(ctx, facts)
	switch {
	case err == nil || consumererror.IsPermanent(err):
		return errors.Join(eventsErr, err) // each is nil, or for good
	case eventsErr != nil: // this error cannot carry both
		w.road.logger.Error("Events are refused for good; dropped", zap.Error(eventsErr))
	}
	if rest, ok := errors.AsType[consumererror.Logs](err); ok {
		return consumererror.NewLogs(err, rest.Data())
	}
	return consumererror.NewLogs(err, facts)
}

// keep removes the records that are not wanted, and what is empty then.
func keep(logs plog.Logs, wanted func(plog.LogRecord) bool) {
	logs.ResourceLogs().RemoveIf(func(rl plog.ResourceLogs) bool {
		rl.ScopeLogs().RemoveIf(func(sl plog.ScopeLogs) bool {
			sl.LogRecords().RemoveIf(func(lr plog.LogRecord) bool { return !wanted(lr) })
			return sl.LogRecords().Len() == 0
		})
		return rl.ScopeLogs().Len() == 0
	})
}
