// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"math/bits"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"pgregory.net/rapid"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/metadata"
	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/metadatatest"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/record"
)

func TestRequestHasHeadersAndCanonicalBody(t *testing.T) {
	s := newServer(t, accept)
	e := newRig(t, s.URL+"/base/", func(cfg *Config) { cfg.Project = "payments" })
	require.NoError(t, e.push(stops(2)))

	got := s.first(t)
	assert.Equal(t, "/base/api/v1/runtime/events", got.path)
	assert.Equal(t, "application/json", got.header.Get("Content-Type"))
	assert.Equal(t, "gzip", got.header.Get("Content-Encoding"))
	assert.Equal(t, "acme", got.header.Get("X-StellaOps-Tenant"))
	assert.Equal(t, got.batch.BatchID, got.header.Get("Idempotency-Key"))
	assert.Regexp(t, `^otelcol-zastava/0\.1\.0 \(\w+/\w+\)$`, got.header.Get("User-Agent"))
	assert.Equal(t, backendapi.BatchID(got.batch.Events), got.batch.BatchID)
	assert.Equal(t, stopIDs(2), got.ids())
	assert.Equal(t, string(got.batch.AppendCanonical(nil)), string(got.body), "the body is canonical")
	for _, env := range got.batch.Events {
		assert.Equal(t, backendapi.SchemaVersion, env.SchemaVersion)
		assert.Equal(t, "acme", env.Event.Tenant)
		assert.Equal(t, "payments", env.Event.Project)
	}
	assert.Equal(t, map[string]int64{"accepted": 2}, e.outcomes(t))
}

func TestRequestHasConfiguredHeaderAndPath(t *testing.T) {
	s := newServer(t, accept)
	e := newRig(t, s.URL, func(cfg *Config) {
		cfg.TenantHeader, cfg.EventsPath = "X-Stella-Tenant", "/runtime/events"
	})
	require.NoError(t, e.push(stops(1)))
	got := s.first(t)
	assert.Equal(t, "/runtime/events", got.path)
	assert.Equal(t, "acme", got.header.Get("X-Stella-Tenant"))
	assert.Empty(t, got.header.Get("X-StellaOps-Tenant"))
}

func TestPushReturnsOnlyTheRestAfterPartialSuccess(t *testing.T) {
	s := newServer(t, []reply{accept, status(503, "Retry-After", "3"), accept}...)
	e := newRig(t, s.URL, func(cfg *Config) { cfg.MaxBatchEvents = 2 })
	err := e.push(stops(5))
	assert.Equal(t, stopIDs(5)[2:], retried(t, err))
	assert.Equal(t, []int{2, 2}, s.sizes())
	assert.Equal(t, map[string]int64{"accepted": 2}, e.outcomes(t))

	var partial consumererror.Logs
	require.ErrorAs(t, err, &partial)
	require.NoError(t, e.push(partial.Data()))
	got := s.got()
	assert.Equal(t, []int{2, 2, 2, 1}, s.sizes())
	assert.Equal(t, got[1].batch.BatchID, got[2].batch.BatchID, "a repeated batch has the same id")
	assert.Equal(t, string(got[1].body), string(got[2].body))
	assert.Equal(t, map[string]int64{"accepted": 5}, e.outcomes(t))
}

func TestBadEventIsRefusedAndTheOthersAreDelivered(t *testing.T) {
	bad := stopIDs(16)[11]
	s := newServer(t, func(w http.ResponseWriter, r *request) {
		if slices.Contains(r.ids(), bad) {
			refuse(w, http.StatusUnprocessableEntity)
			return
		}
		accept(w, r)
	})
	e := newRig(t, s.URL)
	err := e.push(stops(16))
	require.True(t, consumererror.IsPermanent(err))
	require.ErrorContains(t, err, "1 events refused, from "+bad)
	assert.Equal(t, map[string]int64{"accepted": 15, "refused": 1}, e.outcomes(t))
	assert.LessOrEqual(t, len(s.got()), 2*4+1, "2·bad·log2(n) + batches")
	var order []string
	for _, r := range s.got() {
		if !slices.Contains(r.ids(), bad) {
			order = append(order, r.ids()...)
		}
	}
	assert.Equal(t, append(stopIDs(16)[:11:11], stopIDs(16)[12:]...), order, "the order is kept")
}

func TestSmallerLimitIsLearnedFromTooLarge(t *testing.T) {
	const most = 6000
	s := newServer(t, func(w http.ResponseWriter, r *request) {
		if len(r.body) > most {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		accept(w, r)
	})
	e := newRig(t, s.URL)
	now := finished
	e.limit.now = func() time.Time { return now }
	require.NoError(t, e.push(stops(32)))
	assert.Equal(t, map[string]int64{"accepted": 32}, e.outcomes(t))
	learned := e.limit.get()
	assert.LessOrEqual(t, learned, most)

	before := len(s.got())
	require.NoError(t, e.push(stops(32)))
	for _, r := range s.got()[before:] {
		assert.LessOrEqual(t, len(r.body), learned, "what was learned is used")
	}
	now = now.Add(limitMemory + time.Second)
	assert.Equal(t, backendapi.MaxBatchBytes, e.limit.get(), "and forgotten after a while")
}

func TestBatchesStayWithinTheLimits(t *testing.T) {
	for _, tt := range []struct {
		desc          string
		events, bytes int
	}{
		{"by count", 7, 1 << 20},
		{"by bytes", 256, 5000},
		{"one at a time", 1, 1 << 20},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			s := newServer(t, accept)
			e := newRig(t, s.URL, func(cfg *Config) { cfg.MaxBatchEvents, cfg.MaxBatchBytes = tt.events, tt.bytes })
			require.NoError(t, e.push(stops(20)))
			var all []string
			for _, r := range s.got() {
				assert.LessOrEqual(t, len(r.batch.Events), tt.events)
				assert.LessOrEqual(t, len(r.body), tt.bytes)
				all = append(all, r.ids()...)
			}
			assert.Equal(t, stopIDs(20), all)
		})
	}
}

func TestEventThatExceedsTheLimitIsSentAlone(t *testing.T) {
	s := newServer(t, accept)
	e := newRig(t, s.URL, func(cfg *Config) { cfg.MaxBatchBytes = minBatchBytes })
	logs := stops(3)
	logs.ResourceLogs().At(1).Resource().Attributes().PutStr(record.AttrContainerLabelPrefix+"big", strings.Repeat("x", 4000))
	require.NoError(t, e.push(logs))
	assert.Equal(t, []int{1, 1, 1}, s.sizes())
}

func TestRecordsOfOtherOriginAreSkipped(t *testing.T) {
	s := newServer(t, accept)
	e := newRig(t, s.URL)
	logs := stops(2)
	other := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	other.AppendEmpty().Body().SetStr("GET /healthz 200")
	other.AppendEmpty().SetEventName("device.app.lifecycle")
	logs.ResourceLogs().At(0).Resource().Attributes().Remove(record.AttrRuntimeName) // of our schema, but no longer a valid event
	require.NoError(t, e.push(logs))
	assert.Equal(t, stopIDs(2)[1:], s.first(t).ids())
	assert.Equal(t, map[string]int64{"accepted": 1, "skipped": 2, "invalid": 1}, e.outcomes(t))
}

func TestNoRequestIsSentWithoutOurRecords(t *testing.T) {
	s := newServer(t, accept)
	e := newRig(t, s.URL)
	logs := plog.NewLogs()
	logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	require.NoError(t, e.push(logs))
	require.NoError(t, e.push(plog.NewLogs()))
	assert.Empty(t, s.got())
}

func TestSkippedRecordsAreCountedOnceWhenTheRestIsRetried(t *testing.T) {
	s := newServer(t, status(503), accept)
	e := newRig(t, s.URL)
	logs := stops(2)
	logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	err := e.push(logs)
	var partial consumererror.Logs
	require.ErrorAs(t, err, &partial)
	require.NoError(t, e.push(partial.Data()))
	assert.Equal(t, map[string]int64{"accepted": 2, "skipped": 1}, e.outcomes(t))
}

func TestCoreKindsAreStartsAndStopsOnly(t *testing.T) {
	batch := encoder().NewBatch()
	for _, kind := range []container.Kind{
		container.KindCreated, container.KindStarted, container.KindRestarted, container.KindStopped, container.KindRemoved,
		container.KindOOM, container.KindCrashLoop,
	} {
		tr := stopOf(1)
		tr.Kind = kind
		batch.Append(&tr)
	}
	s := newServer(t, accept)
	annotations := map[string]string{"deployment": "cluster-a"}
	e := newRig(t, s.URL, func(cfg *Config) { cfg.EventKinds, cfg.Annotations = eventKindsCore, annotations })
	require.NoError(t, e.push(batch.Logs()))
	var got []backendapi.Kind
	for _, env := range s.first(t).batch.Events {
		got = append(got, env.Event.Kind)
	}
	assert.Equal(t, []backendapi.Kind{backendapi.KindStart, backendapi.KindStart, backendapi.KindStop}, got)
	events := s.first(t).batch.Events
	assert.Equal(t, map[string]string{"deployment": "cluster-a"}, events[0].Event.Annotations)
	assert.Equal(t, map[string]string{"deployment": "cluster-a", "restart": "true"}, events[1].Event.Annotations)
	assert.NotContains(t, annotations, "restart")
	assert.Equal(t, map[string]int64{"accepted": 3, "folded": 4}, e.outcomes(t))
}

func TestPushedLogsAreNotChanged(t *testing.T) {
	s := newServer(t, status(503))
	e := newRig(t, s.URL)
	logs := stops(3)
	logs.MarkReadOnly()
	require.Error(t, e.push(logs)) // a change would panic
	assert.Equal(t, 3, logs.LogRecordCount())
}

func TestEventsAreSentWithoutCompressionWhenConfigured(t *testing.T) {
	s := newServer(t, accept)
	e := newRig(t, s.URL, func(cfg *Config) { cfg.ClientConfig.Compression = "none" })
	require.NoError(t, e.push(stops(2)))
	assert.Empty(t, s.first(t).header.Get("Content-Encoding"))
	assert.Equal(t, stopIDs(2), s.first(t).ids())
}

func TestExporterIsNotCreatedWithoutATenant(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.ClientConfig.Endpoint = "https://backend.invalid"
	telemetry := componenttest.NewTelemetry()
	defer func() { require.NoError(t, telemetry.Shutdown(context.Background())) }()
	_, err := NewFactory().CreateLogs(context.Background(), metadatatest.NewSettings(telemetry), cfg)
	require.ErrorContains(t, err, "tenant is empty")
	assert.Equal(t, metadata.Type, NewFactory().Type())
}

// The limit is 2·bad·log2(n) + batches.
func TestBisectionOfBadEventsNeedsFewRequests(t *testing.T) {
	const most = 64
	all := stopIDs(most)
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, most).Draw(rt, "events")
		limit := rapid.IntRange(1, most).Draw(rt, "max_batch_events")
		bad := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, min(n, 5), rapid.ID[int]).Draw(rt, "bad")
		s := newServer(t, func(w http.ResponseWriter, r *request) {
			for _, i := range bad {
				if slices.Contains(r.ids(), all[i]) {
					refuse(w, http.StatusUnprocessableEntity)
					return
				}
			}
			accept(w, r)
		})
		defer s.Close()
		e := newRig(t, s.URL, func(cfg *Config) { cfg.MaxBatchEvents = limit })
		_ = e.push(stops(n))
		batches := (n + limit - 1) / limit
		log2 := bits.Len(uint(min(n, limit) - 1)) // rounded up
		require.LessOrEqual(rt, len(s.got()), 2*len(bad)*log2+batches)
		require.Equal(rt, int64(n), e.outcomes(t)["accepted"]+e.outcomes(t)["refused"])
	})
}
