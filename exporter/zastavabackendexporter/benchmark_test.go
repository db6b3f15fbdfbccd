// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configcompression"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/exporter/otlphttpexporter"
)

// discard starts a server that discards requests and answers as each API answers a success.
func discard(b *testing.B) (url string, received *atomic.Int64) {
	b.Helper()
	received = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		received.Add(n)
		if r.URL.Path == "/v1/logs" {
			w.Header().Set("Content-Type", "application/x-protobuf")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"accepted":1,"duplicates":0}`)
	}))
	b.Cleanup(srv.Close)
	return srv.URL, received
}

// countRequests starts a server that discards requests and counts them.
func countRequests(b *testing.B) (url string, requests *atomic.Int64) {
	b.Helper()
	requests = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path != "/v1/logs" {
			w.WriteHeader(http.StatusAccepted)
		}
		requests.Add(1)
	}))
	b.Cleanup(srv.Close)
	return srv.URL, requests
}

func startExporter(b *testing.B, f exporter.Factory, cfg component.Config) exporter.Logs {
	b.Helper()
	exp, err := f.CreateLogs(context.Background(), exportertest.NewNopSettings(f.Type()), cfg)
	require.NoError(b, err)
	require.NoError(b, exp.Start(context.Background(), componenttest.NewNopHost()))
	b.Cleanup(func() { require.NoError(b, exp.Shutdown(context.Background())) })
	return exp
}

// BenchmarkExport sends the same records through this exporter and through the collector's otlphttp exporter, in turn and
// in the same run, to a server that discards them: the same number of records in a request, gzip both, no queue. It reports
// events/s and bytes on the wire of each, and the ratio of the first. "defaults" uses each exporter's own gzip level; "level=6"
// sets it for both.
func BenchmarkExport(b *testing.B) {
	for _, size := range []int{1, 16, 256} {
		name := "events=" + strconv.Itoa(size)
		b.Run(name+"/defaults", func(b *testing.B) { benchmarkExport(b, size, 0) })
		b.Run(name+"/level=6", func(b *testing.B) { benchmarkExport(b, size, 6) })
	}
}

func benchmarkExport(b *testing.B, size int, level configcompression.Level) {
	b.Helper()
	noQueue := configoptional.None[exporterhelper.QueueBatchConfig]()

	ourURL, ourBytes := discard(b)
	ours := createDefaultConfig().(*Config)
	ours.ClientConfig.Endpoint, ours.Tenant, ours.QueueConfig = ourURL, "acme", noQueue
	ours.ClientConfig.CompressionParams.Level = level
	our := startExporter(b, NewFactory(), ours)

	theirURL, theirBytes := discard(b)
	theirs := otlphttpexporter.NewFactory().CreateDefaultConfig().(*otlphttpexporter.Config)
	theirs.ClientConfig.Endpoint, theirs.QueueConfig = theirURL, noQueue
	theirs.ClientConfig.CompressionParams.Level = level
	their := startExporter(b, otlphttpexporter.NewFactory(), theirs)

	logs := stops(size)
	logs.MarkReadOnly()
	send := func(exp exporter.Logs, times int) time.Duration {
		began := time.Now()
		for range times {
			if err := exp.ConsumeLogs(context.Background(), logs); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(began)
	}
	send(our, 3) // connections, pools
	send(their, 3)
	ourBytes.Store(0)
	theirBytes.Store(0)

	// Both take turns of a few requests, so that other load of the machine affects both alike.
	const turn = 8
	var ourTime, theirTime time.Duration
	requests := 0
	for b.Loop() {
		ourTime += send(our, turn)
		theirTime += send(their, turn)
		requests += turn
	}
	events := float64(requests * size)
	b.ReportMetric(0, "ns/op") // the sum of both is meaningless
	b.ReportMetric(events/ourTime.Seconds(), "events/s")
	b.ReportMetric(events/theirTime.Seconds(), "otlphttp-events/s")
	b.ReportMetric(theirTime.Seconds()/ourTime.Seconds(), "ratio")
	b.ReportMetric(float64(ourBytes.Load())/events, "B/event")
	b.ReportMetric(float64(theirBytes.Load())/events, "otlphttp-B/event")
}
