// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/delivery"
	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/metadatatest"
	"github.com/zastava-otel/zastava/extension/zastavastorageextension"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/record"
)

// onDisk starts the whole exporter with a queue on disk. Retries take place after an hour, so that no test depends on one.
func onDisk(t *testing.T, url, directory string, size int64, change func(*Config)) (e exporter.Logs, telemetry *componenttest.Telemetry, stop func()) {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.ClientConfig.Endpoint, cfg.Tenant, cfg.CallgraphID = url, "acme", "graph"
	cfg.RetryConfig.InitialInterval, cfg.RetryConfig.MaxInterval = time.Hour, time.Hour
	id := component.MustNewID("disk")
	q := cfg.QueueConfig.Get()
	q.Sizer, q.QueueSize, q.NumConsumers, q.StorageID = exporterhelper.RequestSizerTypeItems, size, 2, &id
	q.Batch.Get().FlushTimeout, q.Batch.Get().MinSize, q.Batch.Get().MaxSize = time.Millisecond, 1, 5
	change(cfg)
	require.NoError(t, cfg.Validate())
	f := zastavastorageextension.NewFactory()
	storage := f.CreateDefaultConfig().(*zastavastorageextension.Config)
	storage.Directory = directory
	ext := startStorage(t, f, storage)
	telemetry = componenttest.NewTelemetry()
	e, err := NewFactory().CreateLogs(context.Background(), metadatatest.NewSettings(telemetry), cfg)
	require.NoError(t, err)
	require.NoError(t, e.Start(context.Background(), extensions{componenttest.NewNopHost(), map[component.ID]component.Component{id: ext}}))
	stop = sync.OnceFunc(func() { require.NoError(t, e.Shutdown(context.Background())) })
	t.Cleanup(func() {
		stop()
		require.NoError(t, telemetry.Shutdown(context.Background()))
	})
	return e, telemetry, stop
}

// switchedBackend answers 503 until it is up, and accepts everything then.
type switchedBackend struct {
	mu     sync.Mutex
	up     bool
	events []string
	facts  int
}

func (b *switchedBackend) answer(path, body string) (int, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.up {
		return 503, ""
	}
	if strings.HasPrefix(path, backendapi.FactsPath) {
		b.facts += strings.Count(body, "\n")
	} else {
		for _, part := range strings.Split(body, `"eventId":"`)[1:] {
			b.events = append(b.events, part[:36])
		}
	}
	return 202, "{}"
}

func TestFactsAreEvictedAtOnceWhenEventsNeedRoom(t *testing.T) {
	const most, files = 40, 2
	backend := &switchedBackend{}
	_, url := answering(t, backend.answer)
	dir := t.TempDir()
	e, telemetry, stop := onDisk(t, url, dir, most, func(*Config) {})
	used := func() (events, facts int64, known bool) {
		x := e.(*logsExporter)
		events, eventsKnown := x.events.QueueUsed()
		facts, factsKnown := x.facts.QueueUsed()
		return events, facts, eventsKnown && factsKnown
	}
	all := stops(most)
	for i := range 30 {
		require.NoError(t, e.ConsumeLogs(t.Context(), onlySamples(1, files)), i)
	}
	_, facts, known := used()
	require.True(t, known)
	require.EqualValues(t, 30, facts)
	for from := 0; from < 20; from += 5 {
		require.NoError(t, e.ConsumeLogs(t.Context(), part(all, from, from+5)))
	}
	soon(t, func() bool { events, facts, _ := used(); return events == 20 && events+facts <= most })
	_, facts, _ = used()
	assert.GreaterOrEqual(t, facts, int64(most-20-5), "no more are evicted than necessary, except what shares a batch with them")
	evicted := int64(30) - facts
	assert.Equal(t, map[string]int64{"overflow fact": evicted * files}, sums(t, telemetry, "dropped"), "lifecycle before facts")
	assert.Equal(t, map[string]int64{"dropped": evicted * files}, sums(t, telemetry, "facts"))
	m, err := telemetry.GetMetric("otelcol_exporter_zastavabackend_facts_queue_bytes")
	require.NoError(t, err)
	assert.Positive(t, m.Data.(metricdata.Gauge[int64]).DataPoints[0].Value)

	err = e.ConsumeLogs(t.Context(), onlySamples(20, files))
	require.ErrorIs(t, err, exporterhelper.ErrQueueIsFull)
	require.ErrorContains(t, err, "no room for facts")

	require.NoError(t, e.ConsumeLogs(t.Context(), part(all, 20, most)))
	soon(t, func() bool { events, facts, _ := used(); return events == most && facts == 0 })
	assert.Equal(t, map[string]int64{"overflow fact": 30 * files}, sums(t, telemetry, "dropped"))

	stop()
	backend.mu.Lock()
	backend.up = true
	backend.mu.Unlock()
	onDisk(t, url, dir, most, func(*Config) {})
	soon(t, func() bool { backend.mu.Lock(); defer backend.mu.Unlock(); return len(backend.events) == most })
	assert.ElementsMatch(t, stopIDs(most), backend.events, "undelivered events are delivered after the next start")
	assert.Zero(t, backend.facts)
}

func TestFullQueueDropsItsOldestWithoutWaitingForARetry(t *testing.T) {
	const all, most = 120, 40
	backend := &switchedBackend{}
	_, url := answering(t, backend.answer)
	dir := t.TempDir()
	e, telemetry, stop := onDisk(t, url, dir, most, func(cfg *Config) { cfg.DropOldest = true })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // of an hour between retries
	defer cancel()
	for _, logs := range oneByOne(all) {
		require.NoError(t, e.ConsumeLogs(ctx, logs))
	}
	lost := sums(t, telemetry, "dropped")
	assert.Len(t, lost, 1)
	assert.GreaterOrEqual(t, lost["overflow CONTAINER_STOP"], int64(all-most))
	assert.LessOrEqual(t, lost["overflow CONTAINER_STOP"], int64(all-most+20), "no more are evicted than necessary, except what shares a batch with them")
	stop()
	lost = sums(t, telemetry, "dropped")
	backend.mu.Lock()
	backend.up = true
	backend.mu.Unlock()
	onDisk(t, url, dir, most, func(*Config) {})
	kept := int(all - lost["overflow CONTAINER_STOP"])
	soon(t, func() bool { backend.mu.Lock(); defer backend.mu.Unlock(); return len(backend.events) == kept })
	backend.mu.Lock()
	defer backend.mu.Unlock()
	ids := stopIDs(all)
	assert.Equal(t, ids[all-1], slices.MaxFunc(backend.events, func(a, b string) int { return slices.Index(ids, a) - slices.Index(ids, b) }))
	assert.Len(t, slices.Compact(slices.Sorted(slices.Values(backend.events))), kept, "each once")
}

func TestRecordsAreCountedAsExpiredWhenRetriesEnd(t *testing.T) {
	backend := &switchedBackend{}
	_, url := answering(t, backend.answer)
	for _, tt := range []struct {
		desc   string
		change func(*Config)
	}{
		{"after max_elapsed_time", func(cfg *Config) {
			cfg.RetryConfig.InitialInterval, cfg.RetryConfig.MaxElapsedTime = time.Millisecond, 20*time.Millisecond
		}},
		{"at once without retries", func(cfg *Config) { cfg.RetryConfig.Enabled = false }},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			e, telemetry, _ := onDisk(t, url, t.TempDir(), 100, tt.change)
			require.NoError(t, e.ConsumeLogs(t.Context(), samples(3, 2)))
			soon(t, func() bool { return len(sums(t, telemetry, "dropped")) == 2 })
			soon(t, func() bool { return sums(t, telemetry, "dropped")["expired fact"] == 6 })
			assert.Equal(t, map[string]int64{"expired CONTAINER_STOP": 3, "expired fact": 6}, sums(t, telemetry, "dropped"))
			assert.Equal(t, map[string]int64{"dropped": 3}, sums(t, telemetry, "events"))
		})
	}
}

// The stop interrupts a wait at once, also where the wait would end within max_elapsed_time, and the queue keeps the records.
func TestQueueKeepsRecordsWhenTheExporterStopsWithinALongWait(t *testing.T) {
	const most = time.Hour + time.Second
	s := newServer(t, status(503, "Retry-After", "3600"))
	dir := t.TempDir()
	e, telemetry, stop := onDisk(t, s.URL, dir, 100, func(cfg *Config) {
		cfg.RetryConfig.InitialInterval, cfg.RetryConfig.MaxElapsedTime = time.Millisecond, most
	})
	require.NoError(t, e.ConsumeLogs(t.Context(), stops(3)))
	soon(t, func() bool { return len(s.got()) == 1 })
	time.Sleep(1100 * time.Millisecond) // another hour would exceed max_elapsed_time
	begun := time.Now()
	stop()
	assert.Less(t, time.Since(begun), 10*time.Second)
	assert.Empty(t, sums(t, telemetry, "dropped"))

	up := newServer(t, accept)
	onDisk(t, up.URL, dir, 100, func(*Config) {})
	soon(t, func() bool { return len(up.got()) == 1 })
	assert.ElementsMatch(t, stopIDs(3), up.got()[0].ids())
}

// Records that are dropped before any attempt are counted as delivered ones are.
func TestDropCountsEveryRecordByKind(t *testing.T) {
	e := newRig(t, newServer(t, accept).URL)
	logs := stops(3)
	logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr("GET /healthz 200")
	logs.ResourceLogs().At(0).Resource().Attributes().Remove(record.AttrRuntimeName)
	e.Drop(t.Context(), logs, delivery.CauseOverflow)
	assert.Equal(t, map[string]int64{"dropped": 2, "skipped": 1, "invalid": 1}, e.outcomes(t))
	assert.Equal(t, map[string]int64{"overflow CONTAINER_STOP": 2, "invalid unknown": 1}, sums(t, e.telemetry, "dropped"))
}
