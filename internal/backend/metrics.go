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
}

func newMetrics() *metrics {
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
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(m.requests, m.events, m.facts, m.bytes, m.storing, m.streams, m.dropped, m.pruned,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg})
	return m
}

// countedWriter notes the status of an answer.
type countedWriter struct {
	http.ResponseWriter
	status int
}

func (c *countedWriter) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *countedWriter) Write(p []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	return c.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (c *countedWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (m *metrics) count(w http.ResponseWriter) *countedWriter {
	return &countedWriter{ResponseWriter: w}
}

func (m *metrics) done(w *countedWriter, r *http.Request) {
	route := "none"
	if _, path, ok := strings.Cut(r.Pattern, " "); ok {
		route = path
	}
	m.requests.WithLabelValues(route, strconv.Itoa(w.status)).Inc()
}
