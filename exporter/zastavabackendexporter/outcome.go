// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

const maxLoggedEvents = 10 // of one batch

// The values of the outcome attribute, ready for use.
var (
	outcomeAccepted  = outcome("accepted")
	outcomeDuplicate = outcome("duplicate")
	outcomeRejected  = outcome("rejected")
	outcomeRefused   = outcome("refused")
	outcomeInvalid   = outcome("invalid")
	outcomeFolded    = outcome("folded")
	outcomeSkipped   = outcome("skipped")
)

func outcome(value string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", value)))
}

func (e *backendExporter) count(ctx context.Context, n int64, of metric.MeasurementOption) {
	if n > 0 {
		e.telemetry.ExporterZastavabackendEvents.Add(ctx, n, of)
	}
}

// countConverted counts what never was part of a batch.
func (e *backendExporter) countConverted(ctx context.Context, p *payload) {
	e.count(ctx, p.skipped, outcomeSkipped)
	e.count(ctx, p.folded, outcomeFolded)
	if len(p.invalid) > 0 {
		e.count(ctx, int64(len(p.invalid)), outcomeInvalid)
		e.logger.Error("Records cannot become events; dropped",
			zap.Int("records", len(p.invalid)), zap.Errors("first", p.invalid[:min(len(p.invalid), maxLoggedEvents)]))
	}
}

// stored counts what a batch's answer says. The backend's text on rejected events may quote them, so it is not logged.
func (e *backendExporter) stored(ctx context.Context, a answer) {
	e.health.well()
	e.count(ctx, int64(a.accepted), outcomeAccepted)
	e.count(ctx, int64(a.duplicates), outcomeDuplicate)
	if len(a.rejected) == 0 {
		return
	}
	e.count(ctx, int64(len(a.rejected)), outcomeRejected)
	first := a.rejected[:min(len(a.rejected), maxLoggedEvents)]
	e.logger.Error("The backend rejected events for good; dropped", zap.Int("events", len(a.rejected)),
		zap.Strings("first_ids", each(first, func(r backendapi.Rejected) string { return clipName(r.EventID) })),
		zap.Strings("first_codes", each(first, func(r backendapi.Rejected) string { return clipName(r.Code) })))
}

// refuse counts the events of s as lost: err says why no retry can mend it.
func (e *backendExporter) refuse(ctx context.Context, p *payload, s span, err error) error {
	items := p.items[s.from:s.to]
	e.count(ctx, int64(len(items)), outcomeRefused)
	return fmt.Errorf("%d events refused, from %s to %s: %w", len(items), items[0].eventID, items[len(items)-1].eventID, err)
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
