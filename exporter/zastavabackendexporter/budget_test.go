// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/metadatatest"
	"github.com/zastava-otel/zastava/extension/zastavastorageextension"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/record"
)

// onDisk starts the whole exporter with a queue on disk. Retries come after an hour, so that what happens does not wait for one.
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

// closedRoad answers nothing but 503, or takes all.
type closedRoad struct {
	mu     sync.Mutex
	open   bool
	events []string
	facts  int
}

func (c *closedRoad) answer(path, body string) (int, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return 503, ""
	}
	if strings.HasPrefix(path, backendapi.FactsPath) {
		c.facts += strings.Count(body, "\n")
	} else {
		for _, part := range strings.Split(body, `"eventId":"`)[1:] {
			c.events = append(c.events, part[:36])
		}
	}
	return 202, "{}"
}

func TestFactsMakeRoomForEventsAtOnce(t *testing.T) {
	const most, files = 40, 2
	road := &closedRoad{}
	_, url := answering(t, road.answer)
	dir := t.TempDir()
	e, telemetry, stop := onDisk(t, url, dir, most, func(*Config) {})
	w := e.(*withFacts)
	all := stops(most)
	for i := range 30 {
		require.NoError(t, e.ConsumeLogs(t.Context(), onlySamples(1, files)), i)
	}
	_, facts, known := w.budget.used()
	require.True(t, known)
	require.EqualValues(t, 30, facts)
	for from := 0; from < 20; from += 5 {
		require.NoError(t, e.ConsumeLogs(t.Context(), stretch(all, from, from+5)))
	}
	soon(t, func() bool { events, facts, _ := w.budget.used(); return events == 20 && events+facts <= most })
	_, facts, _ = w.budget.used()
	assert.GreaterOrEqual(t, facts, int64(most-20-5), "no more go than have to, but for what is in a batch with them")
	gone := int64(30) - facts
	assert.Equal(t, map[string]int64{"overflow fact": gone * files}, sums(t, telemetry, "dropped"), "lifecycle before facts")
	assert.Equal(t, map[string]int64{"dropped": gone * files}, sums(t, telemetry, "facts"))
	m, err := telemetry.GetMetric("otelcol_exporter_zastavabackend_facts_queue_bytes")
	require.NoError(t, err)
	assert.Positive(t, m.Data.(metricdata.Gauge[int64]).DataPoints[0].Value)

	err = e.ConsumeLogs(t.Context(), onlySamples(20, files))
	require.ErrorIs(t, err, exporterhelper.ErrQueueIsFull)
	require.ErrorContains(t, err, "no room for facts")

	require.NoError(t, e.ConsumeLogs(t.Context(), stretch(all, 20, most)))
	soon(t, func() bool { events, facts, _ := w.budget.used(); return events == most && facts == 0 })
	assert.Equal(t, map[string]int64{"overflow fact": 30 * files}, sums(t, telemetry, "dropped"))

	stop()
	road.mu.Lock()
	road.open = true
	road.mu.Unlock()
	onDisk(t, url, dir, most, func(*Config) {})
	soon(t, func() bool { road.mu.Lock(); defer road.mu.Unlock(); return len(road.events) == most })
	assert.ElementsMatch(t, stopIDs(most), road.events, "what waited when the exporter stopped is delivered after the next start")
	assert.Zero(t, road.facts)
}

func TestAFullQueueDropsItsOldestWithoutWaitingForARetry(t *testing.T) {
	const all, most = 120, 40
	road := &closedRoad{}
	_, url := answering(t, road.answer)
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
	assert.LessOrEqual(t, lost["overflow CONTAINER_STOP"], int64(all-most+20), "no more go than have to, but for what is in a batch with them")
	stop()
	lost = sums(t, telemetry, "dropped")
	road.mu.Lock()
	road.open = true
	road.mu.Unlock()
	onDisk(t, url, dir, most, func(*Config) {})
	kept := int(all - lost["overflow CONTAINER_STOP"])
	soon(t, func() bool { road.mu.Lock(); defer road.mu.Unlock(); return len(road.events) == kept })
	road.mu.Lock()
	defer road.mu.Unlock()
	ids := stopIDs(all)
	assert.Equal(t, ids[all-1], slices.MaxFunc(road.events, func(a, b string) int { return slices.Index(ids, a) - slices.Index(ids, b) }))
	assert.Len(t, slices.Compact(slices.Sorted(slices.Values(road.events))), kept, "each once")
}

func TestWhatRetriesGiveUpIsCounted(t *testing.T) {
	road := &closedRoad{}
	_, url := answering(t, road.answer)
	for _, tt := range []struct {
		desc   string
		change func(*Config)
	}{
		{"after max_elapsed_time", func(cfg *Config) {
			cfg.RetryConfig.InitialInterval, cfg.RetryConfig.MaxElapsedTime = time.Millisecond, 20*time.Millisecond
		}},
		{"at once where there are none", func(cfg *Config) { cfg.RetryConfig.Enabled = false }},
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

// Both retry_on_failure and the backend say how long to wait at least.
func TestTheLongerOfTwoWaitsCounts(t *testing.T) {
	for _, tt := range []struct{ own, asked, want time.Duration }{
		{time.Minute, time.Second, time.Minute},
		{time.Second, time.Minute, time.Minute},
		{time.Minute, 0, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			var tries []time.Time
			road := &road{what: "events", shed: newShedding(), logger: zap.NewNop()}
			road.retry = configretry.BackOffConfig{Enabled: true, InitialInterval: tt.own, MaxInterval: tt.own, Multiplier: 1}
			road.attempt = func(context.Context, plog.Logs) error {
				if tries = append(tries, time.Now()); len(tries) == 1 {
					if tt.asked > 0 {
						return newLater(errors.New("busy"), tt.asked)
					}
					return errors.New("busy")
				}
				return nil
			}
			require.NoError(t, road.carry(t.Context(), stops(1)))
			require.Len(t, tries, 2)
			assert.Equal(t, tt.want, tries[1].Sub(tries[0]))
		})
	}
}

// A wait that ends within max_elapsed_time is over at once when the exporter stops, and the queue has what waited.
func TestStoppingWithinALongWaitLosesNothing(t *testing.T) {
	const most = time.Hour + time.Second
	s := newServer(t, status(503, "Retry-After", "3600"))
	dir := t.TempDir()
	e, telemetry, stop := onDisk(t, s.URL, dir, 100, func(cfg *Config) {
		cfg.RetryConfig.InitialInterval, cfg.RetryConfig.MaxElapsedTime = time.Millisecond, most
	})
	require.NoError(t, e.ConsumeLogs(t.Context(), stops(3)))
	soon(t, func() bool { return len(s.got()) == 1 })
	time.Sleep(1100 * time.Millisecond) // another hour would be beyond max_elapsed_time
	begun := time.Now()
	stop()
	assert.Less(t, time.Since(begun), 10*time.Second)
	assert.Empty(t, sums(t, telemetry, "dropped"))

	up := newServer(t, accept)
	onDisk(t, up.URL, dir, 100, func(*Config) {})
	soon(t, func() bool { return len(up.got()) == 1 })
	assert.ElementsMatch(t, stopIDs(3), up.got()[0].ids())
}

// Who wants room has no more go than that.
func TestNoMoreGoesThanIsWanted(t *testing.T) {
	s := newShedding()
	s.want(10)
	assert.True(t, s.goes(6))
	assert.True(t, s.goes(6))
	assert.False(t, s.goes(6), "there is room for 10")
}

// What goes before it was tried is counted as what is delivered is.
func TestEachRecordOfWhatIsDroppedIsCounted(t *testing.T) {
	e := newRig(t, newServer(t, accept).URL)
	logs := stops(3)
	logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr("GET /healthz 200")
	logs.ResourceLogs().At(0).Resource().Attributes().Remove(record.AttrRuntimeName)
	e.drop(t.Context(), logs, causeOverflow)
	assert.Equal(t, map[string]int64{"dropped": 2, "skipped": 1, "invalid": 1}, e.outcomes(t))
	assert.Equal(t, map[string]int64{"overflow CONTAINER_STOP": 2, "invalid unknown": 1}, sums(t, e.telemetry, "dropped"))
}

func TestTheOldestOfWhatWaitsGoesFirst(t *testing.T) {
	s := newShedding()
	results := make([]chan waited, 3)
	for i := range results {
		results[i] = make(chan waited, 1)
		go func() { results[i] <- s.hold(t.Context(), time.Hour, finished.Add(-time.Duration(i)*time.Hour), 10) }()
	}
	soon(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.holding) == 3 })
	s.want(11)
	assert.Equal(t, waitedToGo, <-results[2])
	assert.Equal(t, waitedToGo, <-results[1])
	assert.False(t, s.goes(1), "that was enough")
	s.stop()
	assert.Equal(t, waitedToStop, <-results[0])
	assert.Equal(t, waitedToStop, s.hold(t.Context(), time.Hour, finished, 1))
	_, err := s.makeRoom(t.Context(), 1)
	require.ErrorIs(t, err, errStopping)
}

func TestRoomThatCameByItselfCostsNothing(t *testing.T) {
	s := newShedding()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.makeRoom(ctx, 10)
	require.ErrorIs(t, err, context.Canceled)
	assert.False(t, s.goes(10), "nobody wants it any more")
	assert.Equal(t, waitedEnough, s.hold(t.Context(), time.Millisecond, finished, 10))
}

// refusing takes so many records, then refuses.
type refusing struct {
	exporter.Logs

	most int
	err  error
}

func (r *refusing) ConsumeLogs(_ context.Context, logs plog.Logs) error {
	if r.most -= logs.LogRecordCount(); r.most < 0 {
		return r.err
	}
	return nil
}

func TestWhatIsRefusedOfBothIsAskedForAgain(t *testing.T) {
	queue := queueMost{size: 4, sizer: exporterhelper.RequestSizerTypeItems}
	full, never := exporterhelper.ErrQueueIsFull, consumererror.NewPermanent(errors.New("never"))
	for _, tt := range []struct {
		desc           string
		events, facts  refusing
		again          int // records: events, then facts
		againAreEvents int
		permanent      bool
	}{
		{"nothing is", refusing{most: 99}, refusing{most: 99}, 0, 0, false},
		{"some events, with all facts", refusing{most: 6, err: full}, refusing{most: 99}, 14, 5, false},
		{"some facts", refusing{most: 99}, refusing{most: 5, err: full}, 5, 0, false},
		{"events for good, and some facts for now", refusing{err: never}, refusing{most: 5, err: full}, 5, 0, false},
		{"both for good", refusing{err: never}, refusing{err: never}, 0, 0, true},
		{"events for good only", refusing{err: never}, refusing{most: 99}, 0, 0, true},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			r := newFactsRig(t, "http://127.0.0.1:1")
			r.backlog.most, r.facts.own.most = queue, queue
			w := &withFacts{
				intake: &intake{Logs: &tt.events, backlog: r.backlog, shed: r.shed, queued: true},
				facts:  &intake{Logs: &tt.facts, backlog: &r.facts.own.backlog, shed: r.facts.own.shed, queued: true}, road: r.facts,
			}
			err := w.ConsumeLogs(t.Context(), samples(9, 1))
			if tt.again == 0 {
				assert.Equal(t, tt.permanent, consumererror.IsPermanent(err), err)
				assert.Equal(t, tt.permanent, err != nil)
				return
			}
			assert.False(t, consumererror.IsPermanent(err))
			rest := restOf(t, err)
			assert.Equal(t, tt.again, rest.LogRecordCount())
			keep(rest, func(lr plog.LogRecord) bool { return !record.IsSampled(lr) })
			assert.Equal(t, tt.againAreEvents, rest.LogRecordCount())
		})
	}
}
