// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend_test

import (
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

func BenchmarkPost(b *testing.B) {
	a := serve(b, nil)
	n := 0
	for b.Loop() {
		b.StopTimer()
		events := make([]backendapi.Event, backendapi.MaxEventsPerBatch)
		for i := range events {
			events[i] = backendtest.NewLife(n).Started(1)
			n++
		}
		body := zip(mustJSON(b, backendtest.Batch(events...)))
		b.StartTimer()
		require.Equal(b, http.StatusAccepted, a.postRaw(body, "Content-Encoding", "gzip").StatusCode)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkPostParallel sends full gzip batches from four clients at once, as the consumers of an exporter's queue do.
func BenchmarkPostParallel(b *testing.B) {
	const clients = 4
	a := serve(b, nil)
	n := 0
	for b.Loop() {
		b.StopTimer()
		bodies := make([][]byte, clients)
		for c := range bodies {
			events := make([]backendapi.Event, backendapi.MaxEventsPerBatch)
			for i := range events {
				events[i] = backendtest.NewLife(n).Started(1)
				n++
			}
			bodies[c] = zip(mustJSON(b, backendtest.Batch(events...)))
		}
		b.StartTimer()
		var sending sync.WaitGroup
		for _, body := range bodies {
			sending.Go(func() {
				assert.Equal(b, http.StatusAccepted, a.postRaw(body, "Content-Encoding", "gzip").StatusCode)
			})
		}
		sending.Wait()
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}
