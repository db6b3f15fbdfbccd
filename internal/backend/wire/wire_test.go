// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backend/wire"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func reader(tb testing.TB) *wire.Reader {
	tb.Helper()
	r, err := wire.NewReader(wire.Limits{Events: backendapi.MaxEventsPerBatch, Bytes: backendapi.MaxBatchBytes})
	require.NoError(tb, err)
	return r
}

// FuzzParse checks that any body gives a batch that can be stored and listed, or a problem with a 4xx status.
func FuzzParse(f *testing.F) {
	r := reader(f)
	l := backendtest.NewLife(0)
	for _, b := range []backendapi.Batch{
		backendtest.Batch(l.Started(1)), backendtest.Batch(l.Stopped(2, 1, 137, "OOMKilled"), l.Event(backendapi.KindRemove, 3)),
	} {
		raw, err := json.Marshal(b)
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Add([]byte(`{"batchId":"","events":[{}]}`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		oracle.Bound(t, oracle.Parsing(len(body)))
		b, p := r.Parse(t.Context(), body, backendtest.Tenant)
		if p != nil {
			require.Nil(t, b)
			require.GreaterOrEqual(t, p.Status, 400)
			require.Less(t, p.Status, 500)
			require.LessOrEqual(t, len(p.Errors), 20)
			return
		}
		require.NotEmpty(t, b.Records)
		for i := range b.Records {
			rec := &b.Records[i]
			require.True(t, json.Valid(rec.Body))
			require.Equal(t, backendtest.Tenant, rec.Event.Tenant)
			require.False(t, rec.Event.When.IsZero())
		}
	})
}

// BenchmarkParse checks and decodes a full batch.
func BenchmarkParse(b *testing.B) {
	r := reader(b)
	events := make([]backendapi.Event, backendapi.MaxEventsPerBatch)
	for i := range events {
		events[i] = backendtest.NewLife(i).Stopped(2, 1, 137, "OOMKilled")
	}
	raw, err := json.Marshal(backendtest.Batch(events...))
	require.NoError(b, err)
	for b.Loop() {
		_, p := r.Parse(b.Context(), raw, backendtest.Tenant)
		require.Nil(b, p)
	}
	b.ReportMetric(float64(b.N*len(events))/b.Elapsed().Seconds(), "events/s")
}
