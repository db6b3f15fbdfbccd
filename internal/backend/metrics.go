// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/backend/store"
)

// metrics are the backend's own. Labels have fixed sets of values: nothing that a client sends becomes a label.
type metrics struct {
	handler  http.Handler
	requests *prometheus.CounterVec
	events   *prometheus.CounterVec
	facts    *prometheus.CounterVec
	bytes    prometheus.Counter
	storing  prometheus.Histogram
	streams  prometheus.Gauge
	dropped  prometheus.Counter
	pruned   prometheus.Counter
	refused  *prometheus.CounterVec
}

func newMetrics(s *store.Store) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "zastava_backend_http_requests_total", Help: "Requests answered, by route and status code.",
		}, []string{"route", "code"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "zastava_backend_events_total",
			Help: "Events of well-formed batches, by outcome: accepted, duplicate, rejected, limited or failed.",
		}, []string{"outcome"}),
		facts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "zastava_backend_facts_total", Help: "Runtime facts of valid requests, by outcome: accepted, duplicate or failed.",
		}, []string{"outcome"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "zastava_backend_ingested_bytes_total", Help: "Uncompressed JSON of well-formed batches.",
		}),
		storing: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "zastava_backend_store_duration_seconds", Help: "Time to store a batch, until it is on disk.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "zastava_backend_streams", Help: "Clients that follow events now.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "zastava_backend_streams_dropped_total", Help: "Streams ended because the client did not read, or refused because there were too many.",
		}),
		pruned: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "zastava_backend_pruned_events_total", Help: "Events removed by retention.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "zastava_backend_refused_total",
			Help: "Requests refused by a limit, by reason: number, nesting, values, size, rate, tenant_busy, busy, deadline or full.",
		}, []string{"reason"}),
	}
	for _, reason := range problem.Reasons() {
		m.refused.WithLabelValues(string(reason)) // each is there from the start, as zero
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "zastava_backend_database_bytes", Help: "Size of the database's files, the write-ahead log included.",
		}, func() float64 { return float64(s.Size()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "zastava_backend_evicted_total", Help: "Events and facts removed because the database has its largest size (--max-db-bytes).",
		}, func() float64 { return float64(s.Evicted()) }),
	)
	reg.MustRegister(m.requests, m.events, m.facts, m.bytes, m.storing, m.streams, m.dropped, m.pruned, m.refused,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg})
	return m
}

func (m *metrics) done(w *answerWriter, r *http.Request) {
	route := "none"
	if _, path, ok := strings.Cut(r.Pattern, " "); ok {
		route = path
	}
	m.requests.WithLabelValues(route, strconv.Itoa(w.status)).Inc()
}
