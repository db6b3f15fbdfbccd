// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/delivery"
	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/metadata"
	"github.com/zastava-otel/zastava/internal/backend"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/quarantine/replay"
	"github.com/zastava-otel/zastava/internal/record"
)

// onlySamples returns samples(n, files) without the stops.
func onlySamples(n, files int) plog.Logs {
	logs := samples(n, files)
	keep(logs, record.IsSampled)
	return logs
}

// factsRig is the sender of facts without queue and retry, so that a test sees the result of a push.
type factsRig struct {
	*rig

	facts *factSender
}

func newFactsRig(t *testing.T, endpoint string, change ...func(*Config)) *factsRig {
	t.Helper()
	r := newRig(t, endpoint, append([]func(*Config){func(cfg *Config) { cfg.CallgraphID = "graph-{label:app}" }}, change...)...)
	f, err := newFactSender(r.connection)
	require.NoError(t, err)
	return &factsRig{r, f}
}

// sums returns a counter by the values of its attributes.
func sums(t *testing.T, telemetry *componenttest.Telemetry, name string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	m, err := telemetry.GetMetric("otelcol_exporter_zastavabackend_" + name)
	if err != nil {
		return out
	}
	for _, dp := range m.Data.(metricdata.Sum[int64]).DataPoints {
		var key []string
		for _, kv := range dp.Attributes.ToSlice() { // sorted by key
			key = append(key, kv.Value.String())
		}
		out[strings.Join(key, " ")] = dp.Value
	}
	return out
}

func answering(t *testing.T, answer func(path, body string) (int, string)) (*factsBackend, string) {
	t.Helper()
	b := &factsBackend{answer: answer}
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close)
	return b, srv.URL
}

func TestEachFactHasOneOutcome(t *testing.T) {
	var tries atomic.Int32
	answer := func(_, body string) (int, string) {
		switch {
		case tries.Add(1) == 1:
			return 503, ""
		case strings.Contains(body, "lib007"):
			return 422, `{"title":"Not valid"}`
		}
		return 202, "{}"
	}
	for _, tt := range []struct {
		desc          string
		change        []func(*Config)
		facts, lost   map[string]int64
		inQuarantines int
	}{
		{"with a quarantine", []func(*Config){withQuarantine(t.TempDir())}, map[string]int64{"accepted": 15, "quarantined": 1, "invalid": 1, "skipped": 2}, map[string]int64{"invalid fact": 1}, 1},
		{"without", nil, map[string]int64{"accepted": 15, "refused": 1, "invalid": 1, "skipped": 2}, map[string]int64{"invalid fact": 1, "refused fact": 1}, 0},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			tries.Store(0)
			_, url := answering(t, answer)
			r := newFactsRig(t, url, tt.change...)
			logs := onlySamples(1, 16)
			samples := logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
			nameless, ok := samples.At(0).Attributes().Get(record.AttrSampleFiles)
			require.True(t, ok)
			nameless.Slice().AppendEmpty().SetEmptyMap().PutStr("kind", "library")
			elsewhere := onlySamples(1, 2).ResourceLogs().At(0)
			elsewhere.Resource().Attributes().RemoveIf(func(key string, _ pcommon.Value) bool { return strings.Contains(key, "label") })
			elsewhere.CopyTo(logs.ResourceLogs().AppendEmpty())

			for range 2 { // the second attempt pushes the rest
				if err := r.facts.Push(t.Context(), logs); err != nil {
					logs = restOf(t, err)
				}
			}
			assert.Equal(t, tt.facts, sums(t, r.telemetry, "facts"))
			assert.Equal(t, tt.lost, sums(t, r.telemetry, "dropped"))
			if tt.inQuarantines > 0 {
				assert.Len(t, quarantined(t, r.config.Quarantine.Directory+"/facts"), tt.inQuarantines)
			}
			assert.Empty(t, r.outcomes(t), "events are counted apart")
		})
	}
}

func TestFactsAreCountedAsLostWhenTheQuarantineCannotBeWritten(t *testing.T) {
	_, url := answering(t, func(string, string) (int, string) { return 418, `{"title":"No"}` })
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	r := newFactsRig(t, url, withQuarantine(filepath.Join(file, "x")))
	require.NoError(t, r.facts.Push(t.Context(), onlySamples(1, 3)))
	assert.Equal(t, map[string]int64{"refused": 3}, sums(t, r.telemetry, "facts"))
	assert.Equal(t, map[string]int64{"refused fact": 3}, sums(t, r.telemetry, "dropped"))
	assert.Equal(t, map[string]int64{"unwritten": 3}, r.lostBy(t))
}

func TestOldestUndeliveredFactIsReported(t *testing.T) {
	var down atomic.Bool
	down.Store(true)
	_, url := answering(t, func(string, string) (int, string) {
		if down.Load() {
			return 503, ""
		}
		return 202, "{}"
	})
	r := newFactsRig(t, url)
	r.now = func() time.Time { return finished.Add(time.Hour) }
	r.config.RetryConfig.InitialInterval, r.config.RetryConfig.MaxInterval = time.Millisecond, time.Millisecond
	set := exportertest.NewNopSettings(metadata.Type)
	events, err := r.newLane(t.Context(), set, laneEvents, r.eventSender, delivery.Refuse)
	require.NoError(t, err)
	facts, err := r.newLane(t.Context(), set, laneFacts, r.facts, delivery.Refuse)
	require.NoError(t, err)
	require.NoError(t, (&logsExporter{connection: r.connection, events: events, facts: facts}).observe())
	require.NoError(t, facts.Start(t.Context(), r.host))
	defer func() { require.NoError(t, facts.Shutdown(context.Background())) }()
	gauge := func(name string) float64 {
		m, err := r.telemetry.GetMetric("otelcol_exporter_zastavabackend_" + name)
		require.NoError(t, err)
		return m.Data.(metricdata.Gauge[float64]).DataPoints[0].Value
	}
	require.NoError(t, facts.ConsumeLogs(t.Context(), onlySamples(1, 3)))
	soon(t, func() bool { return gauge("facts_oldest_undelivered") > 0 })
	assert.InDelta(t, time.Hour.Seconds(), gauge("facts_oldest_undelivered"), 1)
	assert.Zero(t, gauge("oldest_undelivered"), "of events")
	down.Store(false)
	soon(t, func() bool { return gauge("facts_oldest_undelivered") == 0 })
	assert.Equal(t, map[string]int64{"accepted": 3}, sums(t, r.telemetry, "facts"))
}

// A 202 counts as stored only if it comes from the API and is complete.
func TestFactsAreSentAgainWhenTheAnswerIsNotOfTheAPI(t *testing.T) {
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch asked.Add(1) {
		case 1:
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, "<html>Log in to the network</html>")
		case 2:
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, `{"accepted":`)
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	t.Cleanup(srv.Close)
	r := newFactsRig(t, srv.URL)
	require.ErrorContains(t, r.facts.Push(t.Context(), onlySamples(1, 3)), "not of this API")
	require.ErrorContains(t, r.facts.Push(t.Context(), onlySamples(1, 3)), "read the answer 202 Accepted")
	assert.Empty(t, sums(t, r.telemetry, "facts"))
	require.NoError(t, r.facts.Push(t.Context(), onlySamples(1, 3)))
	assert.Equal(t, map[string]int64{"accepted": 3}, sums(t, r.telemetry, "facts"))
}

func TestStatusReportsBothLanes(t *testing.T) {
	var facts, events atomic.Int32
	facts.Store(404)
	events.Store(202)
	_, url := answering(t, func(path, _ string) (int, string) {
		if strings.HasPrefix(path, backendapi.FactsPath) {
			return int(facts.Load()), "{}"
		}
		return int(events.Load()), "{}"
	})
	r := newFactsRig(t, url)
	both := func() {
		_ = r.facts.Push(t.Context(), onlySamples(1, 1))
		_ = r.push(stops(1))
	}
	both()
	both()
	assert.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError}, r.host.Statuses(), "events that are stored mend nothing of facts")
	require.Len(t, r.logs.FilterMessageSnippet("does not accept facts").All(), 1)
	assert.Contains(t, r.logs.FilterMessageSnippet("does not accept facts").All()[0].ContextMap()["remedy"], "facts_path")
	events.Store(401)
	both()
	facts.Store(202)
	both()
	events.Store(202)
	both()
	want := []componentstatus.Status{componentstatus.StatusRecoverableError, componentstatus.StatusRecoverableError, componentstatus.StatusOK}
	assert.Equal(t, want, r.host.Statuses())
}

// restOf returns the records that err asks to be sent again.
func restOf(t *testing.T, err error) plog.Logs {
	t.Helper()
	var rest consumererror.Logs
	require.ErrorAs(t, err, &rest)
	return rest.Data()
}

func TestQuarantinedFactsAreStoredByReplay(t *testing.T) {
	_, strict := answering(t, func(_, body string) (int, string) {
		if strings.Contains(body, "lib003") || strings.Contains(body, "lib009") {
			return 422, `{"title":"Not valid"}`
		}
		return 202, "{}"
	})
	r := newFactsRig(t, strict, withQuarantine(t.TempDir()))
	require.NoError(t, r.facts.Push(t.Context(), onlySamples(3, 10)))
	assert.Equal(t, map[string]int64{"accepted": 24, "quarantined": 6}, sums(t, r.telemetry, "facts"))

	b, err := backend.New(t.Context(), backend.Options{DB: filepath.Join(t.TempDir(), "x.db"), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	srv := httptest.NewServer(b.Handler())
	defer srv.Close()
	at := replay.Target{URL: srv.URL + backendapi.FactsNDJSONPath, Shown: srv.URL}
	sender := &replay.Sender{
		Client: srv.Client(), Events: at, Facts: at, Header: http.Header{backendapi.HeaderTenant: {"acme"}},
		MaxEvents: 100, MaxBytes: 1 << 20, Attempts: 1, FirstWait: time.Millisecond,
	}
	sum, err := replay.Run(t.Context(), sender, slog.New(slog.DiscardHandler), []string{r.config.Quarantine.Directory})
	require.NoError(t, err)
	assert.Equal(t, 6, sum.Facts)
	assert.Zero(t, sum.Remaining())
	for i := range 3 {
		w, get := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, backendapi.FactsPath+"?callgraphId=graph-api&imageDigest="+stopOf(i).Container.Image.ManifestDigest, nil)
		get.Host = "127.0.0.1"
		b.Handler().ServeHTTP(w, get)
		var page backend.FactPage
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &page))
		var paths []string
		for _, f := range page.Facts {
			assert.EqualValues(t, 1, f.HitCount)
			paths = append(paths, f.Metadata[backendapi.FactPath])
		}
		assert.ElementsMatch(t, []string{"/usr/lib/lib003.so", "/usr/lib/lib009.so"}, paths)
	}
}
