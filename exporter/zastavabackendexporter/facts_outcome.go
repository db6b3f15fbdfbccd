// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"bytes"
	"context"
	"fmt"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/quarantine"
)

// kindFact is the kind under which lost facts are counted.
const kindFact = "fact"

func (f *factSender) countFacts(ctx context.Context, n int, of metric.MeasurementOption) {
	if n > 0 {
		f.telemetry.ExporterZastavabackendFacts.Add(ctx, int64(n), of)
	}
}

func (f *factSender) countLostFacts(ctx context.Context, n int, cause string) {
	if n > 0 {
		f.countLostKind(ctx, int64(n), kindFact, cause)
	}
}

// countSkipped counts facts that have no subject or call graph.
func (f *factSender) countSkipped(ctx context.Context, n int) {
	if n > 0 {
		f.countFacts(ctx, n, outcomeSkipped)
		f.logger.Warn("Facts of containers without an image, or without what callgraph_id names, are not sent", zap.Int("facts", n))
	}
}

func (f *factSender) countInvalid(ctx context.Context, n int) {
	if n > 0 {
		f.countFacts(ctx, n, outcomeInvalid)
		f.countLostFacts(ctx, n, "invalid")
		f.logger.Warn("Samples, or files in them, cannot be converted to facts; dropped", zap.Int("number", n))
	}
}

// settle puts the refused facts of a group into quarantine, and counts the outcome of all its facts.
func (f *factSender) settle(ctx context.Context, g *factGroup, refusals []refusedFacts) {
	f.countInvalid(ctx, g.invalid)
	accepted := len(g.lines)
	var entries []quarantine.Entry
	for _, r := range refusals {
		accepted -= len(r.lines)
		for _, line := range r.lines {
			entries = append(entries, quarantine.Entry{Time: f.now(), Reason: r.answer.reason, Status: r.answer.status, Envelope: g.envelope(line)})
		}
	}
	f.countFacts(ctx, accepted, outcomeAccepted)
	if len(entries) == 0 {
		return
	}
	lost := len(entries)
	if f.quarantine != nil {
		res := f.quarantine.add(entries)
		lost = len(res.Lost)
		f.countQuarantineLost(ctx, lost, causeUnwritten)
		f.countQuarantineLost(ctx, res.Evicted, causeEvicted)
	}
	f.countFacts(ctx, len(entries)-lost, outcomeQuarantined)
	f.countFacts(ctx, lost, outcomeRefused)
	f.countLostFacts(ctx, lost, "refused")
	f.logger.Error("The backend refuses facts permanently", zap.Int("facts", len(entries)), zap.Int("lost", lost), zap.Error(refusals[0].answer.err))
}

// Drop counts facts that the lane loses.
func (f *factSender) Drop(ctx context.Context, logs plog.Logs, cause string) {
	groups, skipped := f.group(logs)
	f.countSkipped(ctx, skipped)
	facts := 0
	for _, g := range groups {
		facts += len(g.lines)
		f.countInvalid(ctx, g.invalid)
	}
	f.countFacts(ctx, facts, outcomeDropped)
	f.countLostFacts(ctx, facts, cause)
	f.logger.Error("Facts are lost", zap.String("cause", cause), zap.Int("facts", facts))
}

// envelope returns a fact with its subject and call graph, as the quarantine keeps it.
func (g *factGroup) envelope(line []byte) []byte {
	out := fmt.Appendf(nil, `{"event":{"callgraphId":%s,"eventId":%s,"fact":`, quoted(g.graph), quoted(backendapi.FactsID(g.graph, g.subject.Key(), line)))
	out = append(out, bytes.TrimSpace(line)...)
	out = append(append(out, `,"subject":`...), encoded(&g.subject)...)
	return fmt.Appendf(out, `},"schemaVersion":%s}`, quoted(backendapi.FactSchemaVersion))
}
