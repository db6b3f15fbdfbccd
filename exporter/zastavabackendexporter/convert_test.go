// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"testing"

	"github.com/zastava-otel/zastava/internal/record"
)

// BenchmarkConvert measures the part of an export that is ours alone: from records to canonical JSON.
func BenchmarkConvert(b *testing.B) {
	const n = 256
	logs := stops(n)
	e := &eventSender{connection: &connection{decoder: record.Decoder{Tenant: "acme"}}}
	p := &payload{}
	b.ReportAllocs()
	for b.Loop() {
		e.convert(p, logs)
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/n, "ns/event")
}
