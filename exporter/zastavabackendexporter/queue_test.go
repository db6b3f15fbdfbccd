// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/metadatatest"
)

// queued starts the whole exporter with retries every few milliseconds.
func queued(t *testing.T, endpoint string, change func(*Config, *exporterhelper.QueueBatchConfig)) (*logsExporter, *componenttest.Telemetry) {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.ClientConfig.Endpoint, cfg.Tenant = endpoint, "acme"
	cfg.RetryConfig.InitialInterval, cfg.RetryConfig.MaxInterval = time.Millisecond, 5*time.Millisecond
	q := cfg.QueueConfig.Get()
	q.Sizer, q.NumConsumers = exporterhelper.RequestSizerTypeItems, 1
	q.Batch.Get().FlushTimeout, q.Batch.Get().MinSize = time.Millisecond, 1
	change(cfg, q)
	require.NoError(t, cfg.Validate())
	telemetry := componenttest.NewTelemetry()
	exp, err := NewFactory().CreateLogs(context.Background(), metadatatest.NewSettings(telemetry), cfg)
	require.NoError(t, err)
	require.NoError(t, exp.Start(context.Background(), componenttest.NewNopHost()))
	t.Cleanup(func() {
		require.NoError(t, exp.Shutdown(context.Background()))
		require.NoError(t, telemetry.Shutdown(context.Background()))
	})
	return exp.(*logsExporter), telemetry
}

func TestDeliveryLargerThanTheQueueIsAdmittedInParts(t *testing.T) {
	for _, tt := range []struct {
		desc  string
		sizer exporterhelper.RequestSizerType
		size  int64
	}{
		{"by items", exporterhelper.RequestSizerTypeItems, 10},
		{"by bytes", exporterhelper.RequestSizerTypeBytes, 8000},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			s := newServer(t, accept)
			in, _ := queued(t, s.URL, func(_ *Config, q *exporterhelper.QueueBatchConfig) { q.Sizer, q.QueueSize = tt.sizer, tt.size })
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			require.NoError(t, in.ConsumeLogs(ctx, stops(64)))
			var all []string
			require.Eventually(t, func() bool {
				all = nil
				for _, r := range s.got() {
					all = append(all, r.ids()...)
				}
				return len(all) == 64
			}, 10*time.Second, time.Millisecond)
			assert.Equal(t, stopIDs(64), all)
		})
	}
}

func TestRecordLargerThanTheQueueIsRefused(t *testing.T) {
	in, _ := queued(t, newServer(t, accept).URL, func(_ *Config, q *exporterhelper.QueueBatchConfig) {
		q.Sizer, q.QueueSize = exporterhelper.RequestSizerTypeBytes, 100
	})
	err := in.ConsumeLogs(t.Context(), stops(3))
	require.ErrorContains(t, err, "raise sending_queue::queue_size")
	assert.True(t, consumererror.IsPermanent(err))
}

// One record that never fits the queue has the others neither lost nor sent without limit.
func TestRecordLargerThanTheQueueDoesNotAffectOthers(t *testing.T) {
	s := newServer(t, accept)
	in, telemetry := queued(t, s.URL, func(_ *Config, q *exporterhelper.QueueBatchConfig) {
		q.Sizer, q.QueueSize = exporterhelper.RequestSizerTypeBytes, 8000
	})
	logs := stops(9)
	n := 0
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				if n++; n == 4 {
					lr.Body().SetStr(strings.Repeat("x", 9000))
				}
			}
		}
	}
	err := in.ConsumeLogs(t.Context(), logs)
	require.ErrorContains(t, err, "raise sending_queue::queue_size")
	assert.True(t, consumererror.IsPermanent(err))
	all := func() (ids []string) {
		for _, r := range s.got() {
			ids = append(ids, r.ids()...)
		}
		return ids
	}
	soon(t, func() bool { return len(all()) == 8 })
	assert.ElementsMatch(t, slices.Delete(stopIDs(9), 3, 4), all())
	assert.Equal(t, map[string]int64{"overflow CONTAINER_STOP": 1}, sums(t, telemetry, "dropped"))
}

func TestFullQueueDropsItsOldestWhenConfigured(t *testing.T) {
	var mu sync.Mutex
	down := true
	s := newServer(t, func(w http.ResponseWriter, r *request) {
		mu.Lock()
		defer mu.Unlock()
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		r.header.Set("Stored", "yes")
		accept(w, r)
	})
	const all, most = 200, 50
	in, telemetry := queued(t, s.URL, func(cfg *Config, q *exporterhelper.QueueBatchConfig) {
		cfg.DropOldest, q.QueueSize = true, most
		q.Batch.Get().MaxSize = 10
	})
	for _, logs := range oneByOne(all) {
		require.NoError(t, in.ConsumeLogs(t.Context(), logs))
	}
	mu.Lock()
	down = false
	mu.Unlock()
	newest := stopIDs(all)[all-1]
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range s.got() {
			for _, id := range r.ids() {
				if id == newest && r.header.Get("Stored") != "" {
					return in.events.OldestUndelivered() == 0
				}
			}
		}
		return false
	}, 20*time.Second, 5*time.Millisecond)

	m, err := telemetry.GetMetric("otelcol_exporter_zastavabackend_dropped")
	require.NoError(t, err)
	points := m.Data.(metricdata.Sum[int64]).DataPoints
	require.Len(t, points, 1)
	kind, _ := points[0].Attributes.Value("kind")
	cause, _ := points[0].Attributes.Value("cause")
	assert.Equal(t, "CONTAINER_STOP overflow", kind.AsString()+" "+cause.AsString())
	assert.GreaterOrEqual(t, points[0].Value, int64(all-most-10))
	m, err = telemetry.GetMetric("otelcol_exporter_zastavabackend_events")
	require.NoError(t, err)
	byOutcome := int64(0)
	for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
		byOutcome += p.Value
	}
	assert.Equal(t, int64(all), byOutcome, "each event ends in one outcome")
}

func TestOldestUndeliveredIsReportedUntilTheEventsAreGivenUp(t *testing.T) {
	down := newServer(t, status(503))
	for _, tt := range []struct {
		desc   string
		change func(*Config)
	}{
		{"with a queue", func(*Config) {}},
		{"without a queue", func(cfg *Config) { cfg.QueueConfig = configoptional.None[exporterhelper.QueueBatchConfig]() }},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			exp := startDefault(t, down.URL, tt.change, func(cfg *Config) {
				cfg.RetryConfig.InitialInterval, cfg.RetryConfig.MaxElapsedTime = time.Millisecond, 500*time.Millisecond
			})
			age := exp.(*logsExporter).events.OldestUndelivered
			assert.Zero(t, age())
			begun := time.Now()
			over := make(chan struct{})
			go func() { defer close(over); _ = exp.ConsumeLogs(t.Context(), stops(3)) }()
			soon(t, func() bool { return age() > 0 })
			assert.InDelta(t, begun.Sub(finished).Seconds(), age().Seconds(), 60)
			// Events that the exporter gave up are no backlog, and no fact waits for them.
			soon(t, func() bool { return age() == 0 })
			<-over
			require.NoError(t, exp.Shutdown(context.Background()))
		})
	}
}

type extensions struct {
	component.Host
	all map[component.ID]component.Component
}

func (e extensions) GetExtensions() map[component.ID]component.Component { return e.all }
