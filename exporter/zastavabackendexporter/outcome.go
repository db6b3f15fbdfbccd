// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
)

const maxLoggedEvents = 10 // of one batch

// The values of the outcome attribute, ready for use.
var (
	outcomeAccepted    = outcome("accepted")
	outcomeDuplicate   = outcome("duplicate")
	outcomeQuarantined = outcome("quarantined")
	outcomeRejected    = outcome("rejected")
	outcomeRefused     = outcome("refused")
	outcomeInvalid     = outcome("invalid")
	outcomeFolded      = outcome("folded")
	outcomeSkipped     = outcome("skipped")
	outcomeDropped     = outcome("dropped")
)

func outcome(value string) metric.MeasurementOption { return attributeSet("outcome", value) }

func attributeSet(name, value string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String(name, value)))
}

func (e *backendExporter) count(ctx context.Context, n int64, of metric.MeasurementOption) {
	if n > 0 {
		e.telemetry.ExporterZastavabackendEvents.Add(ctx, n, of)
	}
}

func (e *backendExporter) countLost(ctx context.Context, n int, cause metric.MeasurementOption) {
	if n > 0 {
		e.telemetry.ExporterZastavabackendQuarantineLost.Add(ctx, int64(n), cause)
	}
}

// countConverted counts what never was part of a batch.
func (e *backendExporter) countConverted(ctx context.Context, p *payload) {
	e.count(ctx, p.skipped, outcomeSkipped)
	e.count(ctx, p.folded, outcomeFolded)
	if len(p.invalid) > 0 {
		e.count(ctx, int64(len(p.invalid)), outcomeInvalid)
		e.countLostKind(ctx, int64(len(p.invalid)), "unknown", "invalid")
		e.logger.Error("Records cannot become events; dropped",
			zap.Int("records", len(p.invalid)), zap.Errors("first", p.invalid[:min(len(p.invalid), maxLoggedEvents)]))
	}
}

// stored counts what a batch's answer says of so many events that it does not reject.
func (e *backendExporter) stored(ctx context.Context, n, duplicates int) {
	e.health.well(forEvents)
	duplicates = min(duplicates, n)
	e.count(ctx, int64(n-duplicates), outcomeAccepted)
	e.count(ctx, int64(duplicates), outcomeDuplicate)
}

// rejected gives the events of s that the answer to them rejects. It names them by id, in whichever case it likes to spell a
// UUID; where revisions of one event are in the batch, the first is meant first. An event that is named more often is
// rejected once. Where it names one that was not sent, it is not clear which it means, unless there is but one.
func (p *payload) rejected(s span, a answer) (out []refusal, known bool) {
	if len(a.rejected) == 0 {
		return nil, true
	}
	where := make(map[string][]int, s.to-s.from)
	for i := s.from; i < s.to; i++ {
		id := strings.ToLower(p.items[i].eventID)
		where[id] = append(where[id], i)
	}
	for i := range a.rejected {
		r := &a.rejected[i]
		id := strings.ToLower(r.EventID)
		items, sent := where[id]
		switch {
		case !sent && s.to-s.from > 1:
			return nil, false
		case !sent && len(out) == 0:
			items = []int{s.from}
		case len(items) == 0:
			continue
		}
		if sent {
			where[id] = items[1:]
		}
		out = append(out, refusal{span: span{items[0], items[0] + 1}, rejected: r, status: a.status, reason: clip(r.Code + ": " + r.Detail)})
	}
	return out, true
}

func each[T any](list []T, name func(T) string) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = name(list[i])
	}
	return out
}

// clipName shortens a backend's word to the length of a name.
func clipName(s string) string { return strings.ToValidUTF8(s[:min(len(s), 64)], "") }

// drop counts what the exporter itself loses.
func (e *backendExporter) drop(ctx context.Context, logs plog.Logs, cause string) {
	p := e.payload(logs)
	defer e.putBack(p)
	e.countConverted(ctx, p)
	e.count(ctx, int64(len(p.items)), outcomeDropped)
	e.countDropped(ctx, p.items, cause)
	if len(p.items) > 0 {
		e.logger.Error("Events are lost", zap.String("cause", cause), zap.Int("events", len(p.items)),
			zap.Time("oldest", p.oldest), zap.String("first_id", p.items[0].eventID))
	}
}

// countDropped counts lost events by kind.
func (e *backendExporter) countDropped(ctx context.Context, items []item, cause string) {
	kinds := map[string]int64{}
	for i := range items {
		kinds[string(items[i].kind)]++
	}
	for kind, n := range kinds {
		e.countLostKind(ctx, n, kind, cause)
	}
}

func (e *backendExporter) countLostKind(ctx context.Context, n int64, kind, cause string) {
	e.telemetry.ExporterZastavabackendDropped.Add(ctx, n, metric.WithAttributeSet(
		attribute.NewSet(attribute.String("kind", kind), attribute.String("cause", cause)),
	))
}

// observeBacklog registers the metrics of what is not delivered.
func (e *backendExporter) observeBacklog() error {
	err := errors.Join(
		e.telemetry.RegisterExporterZastavabackendOldestUndeliveredCallback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(e.backlog.oldest().Seconds())
			return nil
		}),
		e.telemetry.RegisterExporterZastavabackendOutageCapacityCallback(func(_ context.Context, o metric.Float64Observer) error {
			if seconds, known := e.backlog.capacity(); known {
				o.Observe(seconds)
			}
			return nil
		}),
		e.telemetry.RegisterExporterZastavabackendQueueBytesCallback(func(_ context.Context, o metric.Int64Observer) error {
			if queued := e.backlog.queued.Load(); queued != nil {
				o.Observe(int64(queued.Bytes))
			}
			return nil
		}),
	)
	if err != nil {
		return fmt.Errorf("register the exporter's own metrics: %w", err)
	}
	return nil
}
