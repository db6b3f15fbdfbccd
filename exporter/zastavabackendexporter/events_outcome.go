// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"strings"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
)

const maxLoggedEvents = 10 // per batch

// The values of the outcome attribute, as measurement options so that counting does not allocate.
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

func (e *eventSender) count(ctx context.Context, n int64, of metric.MeasurementOption) {
	if n > 0 {
		e.telemetry.ExporterZastavabackendEvents.Add(ctx, n, of)
	}
}

func (c *connection) countQuarantineLost(ctx context.Context, n int, cause metric.MeasurementOption) {
	if n > 0 {
		c.telemetry.ExporterZastavabackendQuarantineLost.Add(ctx, int64(n), cause)
	}
}

// countConverted counts the records that are not part of any batch.
func (e *eventSender) countConverted(ctx context.Context, p *payload) {
	e.count(ctx, p.skipped, outcomeSkipped)
	e.count(ctx, p.folded, outcomeFolded)
	if len(p.invalid) > 0 {
		e.count(ctx, int64(len(p.invalid)), outcomeInvalid)
		e.countLostKind(ctx, int64(len(p.invalid)), "unknown", "invalid")
		e.logger.Error("Records cannot be converted to events; dropped",
			zap.Int("records", len(p.invalid)), zap.Errors("first", p.invalid[:min(len(p.invalid), maxLoggedEvents)]))
	}
}

// countStored counts n events that the answer to their batch does not reject.
func (e *eventSender) countStored(ctx context.Context, n, duplicates int) {
	e.health.reportOK(laneEvents)
	duplicates = min(duplicates, n)
	e.count(ctx, int64(n-duplicates), outcomeAccepted)
	e.count(ctx, int64(duplicates), outcomeDuplicate)
}

// rejected returns the events of s that the answer, whose texts are masked, rejects. The answer names them by id, in upper or lower case. Where the batch
// contains several revisions of one event, the first mention means the first of them. Further mentions of an event are ignored.
// known is false where the answer names an event that was not sent: which one it means is clear only in a batch of one.
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
		out = append(out, refusal{span: span{items[0], items[0] + 1}, rejected: r, status: a.status, reason: r.Code + ": " + r.Detail})
	}
	return out, true
}

// clipName cuts a text of the backend to the length of a name.
func clipName(s string) string { return strings.ToValidUTF8(s[:min(len(s), 64)], "") }

// Drop counts events that the lane loses.
func (e *eventSender) Drop(ctx context.Context, logs plog.Logs, cause string) {
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
func (e *eventSender) countDropped(ctx context.Context, items []item, cause string) {
	kinds := map[string]int64{}
	for i := range items {
		kinds[string(items[i].kind)]++
	}
	for kind, n := range kinds {
		e.countLostKind(ctx, n, kind, cause)
	}
}

func (c *connection) countLostKind(ctx context.Context, n int64, kind, cause string) {
	c.telemetry.ExporterZastavabackendDropped.Add(ctx, n, metric.WithAttributeSet(
		attribute.NewSet(attribute.String("kind", kind), attribute.String("cause", cause)),
	))
}
