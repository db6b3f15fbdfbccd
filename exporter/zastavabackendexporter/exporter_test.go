// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/metadata"
	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/metadatatest"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/internal/test/statushost"
)

// rig is the sender of events without queue and retry, so that a test sees the result of a push.
type rig struct {
	*eventSender
	host      *statushost.Host
	telemetry *componenttest.Telemetry
	logs      *observer.ObservedLogs
}

func newRig(t *testing.T, endpoint string, change ...func(*Config)) *rig {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.ClientConfig.Endpoint, cfg.Tenant = endpoint, "acme"
	for _, c := range change {
		c(cfg)
	}
	require.NoError(t, cfg.Validate())
	r := &rig{telemetry: componenttest.NewTelemetry(), host: statushost.New()}
	set := metadatatest.NewSettings(r.telemetry)
	core, logs := observer.New(zap.DebugLevel)
	set.Logger, r.logs = zap.New(core), logs
	set.BuildInfo = component.BuildInfo{Command: "otelcol-zastava", Version: "0.1.0"}
	c, err := newConnection(set, cfg)
	require.NoError(t, err)
	r.eventSender, err = newEventSender(c)
	require.NoError(t, err)
	require.NoError(t, c.start(context.Background(), r.host))
	t.Cleanup(func() {
		c.shutdown()
		require.NoError(t, r.telemetry.Shutdown(context.Background()))
	})
	return r
}

func (r *rig) push(logs plog.Logs) error { return r.Push(context.Background(), logs) }

// outcomes gives the events counter by outcome.
func (r *rig) outcomes(t *testing.T) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	m, err := r.telemetry.GetMetric("otelcol_exporter_zastavabackend_events")
	if err != nil {
		return out
	}
	for _, dp := range m.Data.(metricdata.Sum[int64]).DataPoints {
		v, _ := dp.Attributes.Value(attribute.Key("outcome"))
		out[v.AsString()] = dp.Value
	}
	return out
}

// retried gives the event ids that err asks to be sent again.
func retried(t *testing.T, err error) []string {
	t.Helper()
	var partial consumererror.Logs
	require.ErrorAs(t, err, &partial)
	var out []string
	for _, rl := range partial.Data().ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				id, _ := lr.Attributes().Get(record.AttrEventID)
				out = append(out, id.Str())
			}
		}
	}
	return out
}

func TestRequest(t *testing.T) {
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

func TestConfiguredHeadersAndPath(t *testing.T) {
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

// The table of answers, for one batch of two events.
func TestAnswers(t *testing.T) {
	problem := `{"type":"about:blank","title":"The batch is not valid","status":422,"errors":[{"field":"events[0].event.kind","detail":"is required"}]}`
	for _, tt := range []struct {
		desc  string
		reply reply

		retries  bool
		waits    time.Duration
		says     string // part of the error
		status   bool   // a recoverable error is reported
		outcomes map[string]int64
	}{
		{desc: "202 with counts", reply: says(202, "application/json", `{"accepted":1,"duplicates":1}`), outcomes: map[string]int64{"accepted": 1, "duplicate": 1}},
		{desc: "202 without a body", reply: status(202), outcomes: map[string]int64{"accepted": 2}},
		{desc: "202 with members of a later version", reply: says(202, "application/json", `{"accepted":2,"duplicates":0,"took":"3ms"}`), outcomes: map[string]int64{"accepted": 2}},
		{desc: "202 with impossible counts", reply: says(202, "application/json", `{"accepted":-7,"duplicates":900}`), outcomes: map[string]int64{"duplicate": 2}},
		{desc: "202 with a rejection", reply: says(202, "application/json", `{"accepted":1,"duplicates":0,"rejected":[{"eventId":"`+stopIDs(1)[0]+`","code":"id_conflict","detail":"s3cret"}]}`), outcomes: map[string]int64{"accepted": 1, "rejected": 1}},
		{desc: "202 of something else", reply: says(202, "text/html", "<html>thanks</html>"), retries: true, says: "not of this API", status: true},
		{desc: "200", reply: status(200), retries: true, says: "answered 200 OK", status: true},
		{desc: "204", reply: status(204), retries: true, says: "answered 204 No Content", status: true},
		{desc: "301", reply: status(301, "Location", "/elsewhere"), retries: true, says: "redirects are not followed", status: true},
		{desc: "307", reply: status(307, "Location", "http://127.0.0.1:1/"), retries: true, says: "redirects are not followed", status: true},
		{desc: "401", reply: says(401, "application/problem+json", `{"title":"Token expired"}`), retries: true, says: "answered 401 Unauthorized: Token expired", status: true},
		{desc: "403", reply: status(403), retries: true, says: "answered 403 Forbidden", status: true},
		{desc: "404", reply: status(404), retries: true, says: "/api/v1/runtime/events: answered 404 Not Found", status: true},
		{desc: "407", reply: status(407), retries: true, says: "answered 407 Proxy Authentication Required", status: true},
		{desc: "410", reply: status(410), retries: true, says: "answered 410 Gone", status: true},
		{desc: "415", reply: status(415), retries: true, says: "answered 415 Unsupported Media Type", status: true},
		{desc: "421", reply: status(421), retries: true, says: "answered 421 Misdirected Request", status: true},
		{desc: "426", reply: status(426), retries: true, says: "answered 426 Upgrade Required", status: true},
		{desc: "405", reply: status(405), retries: true, says: "answered 405", status: true},
		{desc: "501", reply: status(501), retries: true, says: "answered 501", status: true},
		{desc: "408", reply: status(408), retries: true, says: "answered 408"},
		{desc: "425", reply: status(425), retries: true, says: "answered 425"},
		{desc: "429 in seconds", reply: status(429, "Retry-After", "7"), retries: true, waits: 7 * time.Second, says: "answered 429"},
		{desc: "429 without a time", reply: status(429), retries: true, says: "answered 429"},
		{desc: "500", reply: status(500), retries: true, says: "answered 500"},
		{desc: "502 with a page", reply: says(502, "text/html", "<h1>Bad gateway</h1>"), retries: true, says: `answered 502 Bad Gateway: "<h1>Bad gateway</h1>"`},
		{desc: "503 in seconds", reply: status(503, "Retry-After", "120"), retries: true, waits: 2 * time.Minute, says: "answered 503"},
		{desc: "599", reply: status(599), retries: true, says: "answered 599"},
		{desc: "409", reply: status(409), outcomes: map[string]int64{"duplicate": 2}},
		{desc: "422", reply: says(422, "application/problem+json", problem), says: "The batch is not valid; events[0].event.kind is required", outcomes: map[string]int64{"refused": 2}},
		{desc: "400", reply: says(400, "text/plain", strings.Repeat("x", 5000)), says: strings.Repeat("x", maxQuotedBytes), outcomes: map[string]int64{"refused": 2}},
		{desc: "413", reply: status(413), says: "answered 413", outcomes: map[string]int64{"refused": 2}},
		{desc: "418", reply: status(418), says: "answered 418", outcomes: map[string]int64{"refused": 2}},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			s := newServer(t, tt.reply)
			e := newRig(t, s.URL)
			err := e.push(stops(2))
			switch {
			case tt.retries:
				require.ErrorContains(t, err, tt.says)
				assert.False(t, consumererror.IsPermanent(err))
				assert.Equal(t, stopIDs(2), retried(t, err))
				assert.Len(t, s.got(), 1, "the exporter itself does not repeat")
				if tt.outcomes == nil {
					tt.outcomes = map[string]int64{}
				}
			case tt.says != "":
				require.ErrorContains(t, err, tt.says)
				assert.True(t, consumererror.IsPermanent(err))
				assert.Less(t, len(err.Error()), 4*maxQuotedBytes)
			default:
				require.NoError(t, err)
			}
			if tt.waits > 0 {
				require.ErrorContains(t, err, exporterhelper.NewThrottleRetry(errors.New(""), tt.waits).Error()[:len("Throttle (")+len(tt.waits.String())])
			} else if err != nil {
				assert.NotContains(t, err.Error(), "Throttle")
			}
			if tt.status {
				assert.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError}, e.host.Statuses())
			} else {
				assert.Empty(t, e.host.Statuses())
			}
			assert.Equal(t, tt.outcomes, e.outcomes(t))
			for _, entry := range e.logs.All() {
				assert.NotContains(t, fmt.Sprint(entry.ContextMap()), "s3cret")
			}
		})
	}
}

func TestNoConnectionIsRetried(t *testing.T) {
	s := newServer(t, accept)
	endpoint := strings.Replace(s.URL, "http://", "http://user:s3cret@", 1)
	s.Close()
	e := newRig(t, endpoint)
	err := e.push(stops(1))
	require.Error(t, err)
	assert.False(t, consumererror.IsPermanent(err))
	assert.Equal(t, stopIDs(1), retried(t, err))
	assert.NotContains(t, err.Error(), "s3cret")
	assert.NotContains(t, err.Error(), "user")
}

func TestConnectionThatBreaksWithinTheAnswerIsRetried(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ *request) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{"accepted":`))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	e := newRig(t, s.URL)
	err := e.push(stops(1))
	require.ErrorContains(t, err, "read the answer 202 Accepted")
	assert.Equal(t, stopIDs(1), retried(t, err))
}

func TestHugeAnswerIsNotKept(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ *request) {
		w.WriteHeader(http.StatusInternalServerError)
		for range 1000 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	e := newRig(t, s.URL)
	require.Error(t, e.push(stops(1)))
}

func TestStatusIsReportedOnlyWhenItChanges(t *testing.T) {
	s := newServer(t, slices.Concat(
		[]reply{status(401), says(401, "text/plain", "request 2"), status(503)},
		[]reply{status(401), status(404), accept}, []reply{accept, status(403)},
	)...)
	e := newRig(t, s.URL)
	for range 8 {
		_ = e.push(stops(1))
	}
	failed, ok := componentstatus.StatusRecoverableError, componentstatus.StatusOK
	assert.Equal(t, []componentstatus.Status{failed, failed, ok, failed}, e.host.Statuses())
	require.ErrorContains(t, e.host.Events()[0].Err(), "answered 401 Unauthorized")
	require.ErrorContains(t, e.host.Events()[1].Err(), s.URL+"/api/v1/runtime/events: answered 404 Not Found")
}

func TestPartialSuccessRetriesOnlyTheRest(t *testing.T) {
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

func TestOneBadEventIsFoundAndTheRestDelivered(t *testing.T) {
	bad := stopIDs(16)[11]
	s := newServer(t, func(w http.ResponseWriter, r *request) {
		if slices.Contains(r.ids(), bad) {
			w.WriteHeader(http.StatusUnprocessableEntity)
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

func TestTooLargeTeachesASmallerLimit(t *testing.T) {
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

func TestBatchesKeepTheLimits(t *testing.T) {
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

func TestEventBeyondTheLimitGoesAlone(t *testing.T) {
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
	logs.ResourceLogs().At(0).Resource().Attributes().Remove(record.AttrRuntimeName) // ours, and no event any more
	require.NoError(t, e.push(logs))
	assert.Equal(t, stopIDs(2)[1:], s.first(t).ids())
	assert.Equal(t, map[string]int64{"accepted": 1, "skipped": 2, "invalid": 1}, e.outcomes(t))
}

func TestNothingOfOursMeansNoRequest(t *testing.T) {
	s := newServer(t, accept)
	e := newRig(t, s.URL)
	logs := plog.NewLogs()
	logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	require.NoError(t, e.push(logs))
	require.NoError(t, e.push(plog.NewLogs()))
	assert.Empty(t, s.got())
}

func TestSkippedAreCountedOnceThoughTheRestIsRetried(t *testing.T) {
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

func TestCoreKinds(t *testing.T) {
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

func TestTLSAndHTTP2(t *testing.T) {
	s := unstarted(t, accept)
	s.EnableHTTP2 = true
	s.StartTLS()
	e := newRig(t, s.URL, func(cfg *Config) { cfg.ClientConfig.TLS.InsecureSkipVerify = true })
	require.NoError(t, e.push(stops(300)))
	assert.Equal(t, "HTTP/2.0", s.first(t).proto)
	assert.Equal(t, []int{256, 44}, s.sizes())
}

func TestWithoutCompression(t *testing.T) {
	s := newServer(t, accept)
	e := newRig(t, s.URL, func(cfg *Config) { cfg.ClientConfig.Compression = "none" })
	require.NoError(t, e.push(stops(2)))
	assert.Empty(t, s.first(t).header.Get("Content-Encoding"))
	assert.Equal(t, stopIDs(2), s.first(t).ids())
}

func TestCancelledPushKeepsEverything(t *testing.T) {
	release := make(chan struct{})
	s := newServer(t, func(http.ResponseWriter, *request) { <-release })
	defer close(release)
	e := newRig(t, s.URL)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- e.Push(ctx, stops(2)) }()
	require.Eventually(t, func() bool { return len(s.got()) == 1 }, 5*time.Second, time.Millisecond)
	cancel()
	err := <-result
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, stopIDs(2), retried(t, err))
}

func TestNeverWithoutATenant(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.ClientConfig.Endpoint = "https://backend.invalid"
	telemetry := componenttest.NewTelemetry()
	defer func() { require.NoError(t, telemetry.Shutdown(context.Background())) }()
	_, err := NewFactory().CreateLogs(context.Background(), metadatatest.NewSettings(telemetry), cfg)
	require.ErrorContains(t, err, "tenant is empty")
	assert.Equal(t, metadata.Type, NewFactory().Type())
}
