// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend"
	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

func TestPostAnswersBySituation(t *testing.T) {
	l := backendtest.NewLife(0)
	valid, err := json.Marshal(backendtest.Batch(l.Started(1), l.Stopped(2, 1, 3, "Error")))
	require.NoError(t, err)
	swap := func(old, other string) []byte {
		require.Contains(t, string(valid), old)
		return []byte(strings.Replace(string(valid), old, other, 1))
	}
	big := bytes.Repeat([]byte(" "), 64<<10)
	for name, tc := range map[string]struct {
		body   []byte
		header []string
		status int
		field  string
	}{
		"plain":                       {body: valid, status: 202},
		"gzip":                        {body: zip(valid), header: []string{"Content-Encoding", "gzip"}, status: 202},
		"identity, charset":           {body: valid, header: []string{"Content-Encoding", "identity", "Content-Type", "application/json; charset=UTF-8"}, status: 202},
		"empty":                       {body: nil, status: 400},
		"no JSON":                     {body: []byte("{"), status: 400},
		"text after the batch":        {body: append(bytes.Clone(valid), "{}"...), status: 400},
		"a name twice":                {body: swap(`"kind":`, `"node":"x","kind":`), status: 400, field: "events[0].event.node"},
		"not UTF-8":                   {body: swap("node-1", "node-\xff"), status: 400},
		"gzip promised, plain sent":   {body: valid, header: []string{"Content-Encoding", "gzip"}, status: 400},
		"gzip cut off":                {body: zip(valid)[:40], header: []string{"Content-Encoding", "gzip"}, status: 400},
		"no tenant":                   {body: valid, header: []string{backendapi.HeaderTenant, ""}, status: 400, field: backendapi.HeaderTenant},
		"malformed tenant":            {body: valid, header: []string{backendapi.HeaderTenant, "a b"}, status: 400, field: backendapi.HeaderTenant},
		"other content type":          {body: valid, header: []string{"Content-Type", "text/plain"}, status: 415, field: "Content-Type"},
		"no content type":             {body: valid, header: []string{"Content-Type", ""}, status: 415, field: "Content-Type"},
		"unknown encoding":            {body: valid, header: []string{"Content-Encoding", "br"}, status: 415, field: "Content-Encoding"},
		"body too long":               {body: append(bytes.Clone(valid), big...), status: 413},
		"bomb":                        {body: zip(append(bytes.Clone(valid), bytes.Repeat(big, 1000)...)), header: []string{"Content-Encoding", "gzip"}, status: 413},
		"too many events":             {body: mustJSON(t, backendtest.Batch(l.Started(1), l.Started(2), l.Started(3), l.Started(4), l.Started(5))), status: 413, field: "events"},
		"other tenant's event":        {body: valid, header: []string{backendapi.HeaderTenant, "globex"}, status: 422, field: "events[0].event.tenant"},
		"idempotency key differs":     {body: valid, header: []string{backendapi.HeaderIdempotencyKey, "00000000-0000-5000-8000-000000000000"}, status: 422, field: backendapi.HeaderIdempotencyKey},
		"no object":                   {body: []byte("[]"), status: 422, field: "body"},
		"no events":                   {body: []byte(`{"batchId":"01998f6e-7c1e-5b0a-8d63-2f9f0f4a51c7","events":[]}`), status: 422, field: "events"},
		"batch id missing":            {body: swap(`"batchId"`, `"batch"`), status: 422, field: "batchId"},
		"unknown schema":              {body: swap(backendapi.SchemaVersion, "zastava.runtime.event@v9"), status: 422, field: "events[0].schemaVersion"},
		"unknown field":               {body: swap(`"node":`, `"nodes":1,"node":`), status: 422, field: "events[0].event.nodes"},
		"unknown field deep inside":   {body: swap(`"engine":`, `"shape":1,"engine":`), status: 422, field: "events[0].event.runtime.shape"},
		"field missing":               {body: swap(`"node":"node-1",`, ``), status: 422, field: "events[0].event.node"},
		"unknown kind":                {body: swap(`"CONTAINER_STOP"`, `"CONTAINER_EXPLODE"`), status: 422, field: "events[1].event.kind"},
		"container missing":           {body: swap(`"workload":`, `"annotations":{},"was":`), status: 422, field: "events[0].event.workload"},
		"empty string":                {body: swap(`"pod":"c0-pod"`, `"pod":""`), status: 422, field: "events[0].event.workload.pod"},
		"null":                        {body: swap(`"pod":"c0-pod"`, `"pod":null`), status: 422, field: "events[0].event.workload.pod"},
		"id without engine":           {body: swap(`containerd://`, ``), status: 422, field: "events[0].event.workload.containerId"},
		"zero time":                   {body: swap(`"startedAt":"2026-11-22T18:00:01.123456789Z"`, `"startedAt":"0001-01-01T00:00:00Z"`), status: 422, field: "events[0].event.run.startedAt"},
		"local time":                  {body: swap(`"startedAt":"2026-11-22T18:00:01.123456789Z"`, `"startedAt":"2026-11-22T18:00:01+01:00"`), status: 422, field: "events[0].event.run.startedAt"},
		"day that is not":             {body: swap(`"startedAt":"2026-11-22T`, `"startedAt":"2026-02-30T`), status: 422, field: "events[0].event.run.startedAt"},
		"exit code over 32 bits":      {body: swap(`"exitCode":3`, `"exitCode":4294967296`), status: 422, field: "events[1].event.run.exitCode"},
		"number in a float's clothes": {body: swap(`"exitCode":3`, `"exitCode":3.0`), status: 422, field: "events[1].event.run.exitCode"},
		"unknown source":              {body: swap(`"source":"list"`, `"source":"hearsay"`), status: 422, field: "events[0].event.observation.source"},
		"event id no UUID":            {body: swap(`"eventId":"`, `"eventId":"x`), status: 422, field: "events[0].event.eventId"},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t, func(o *backend.Options) { o.MaxBatchEvents, o.MaxBatchBytes = 4, 32<<10 })
			got := a.postRaw(tc.body, tc.header...)
			require.Equal(t, tc.status, got.StatusCode, "%s", got.body)
			stored := into[backend.EventPage](t, a.get(backendapi.EventsPath))
			if tc.status == 202 {
				assert.Equal(t, "application/json", got.Header.Get("Content-Type"))
				assert.JSONEq(t, `{"accepted":2,"duplicates":0}`, string(got.body))
				assert.Len(t, stored.Events, 2)
				return
			}
			assert.Empty(t, stored.Events, "nothing of a refused batch is stored")
			p := got.problem(t)
			if tc.field != "" {
				var fields []string
				for _, e := range p.Errors {
					fields = append(fields, e.Field)
				}
				assert.Contains(t, fields, tc.field, "%s", got.body)
			}
			if tc.status == 415 && tc.field == "Content-Encoding" {
				assert.Equal(t, "gzip, identity", got.Header.Get("Accept-Encoding"))
			}
		})
	}
}

func mustJSON(tb testing.TB, v any) []byte {
	tb.Helper()
	raw, err := json.Marshal(v)
	require.NoError(tb, err)
	return raw
}

func TestRepeatedBatchGetsFirstAnswer(t *testing.T) {
	a, l := serve(t, nil), backendtest.NewLife(0)
	known := backendtest.NewLife(1).Started(1)
	a.put(known)
	conflict := backendtest.NewLife(2).Started(1)
	conflict.EventID = known.EventID
	b := backendtest.Batch(l.Started(1), conflict)
	first := a.post(b)
	require.Equal(t, 202, first.StatusCode)
	assert.Contains(t, string(first.body), `"rejected"`)
	got := a.post(b)
	assert.Equal(t, 202, got.StatusCode)
	assert.Equal(t, string(first.body), string(got.body), "a client that lost the answer gets it again")
	text := string(a.get("/metrics").body)
	assert.Contains(t, text, `zastava_backend_events_total{outcome="accepted"} 2`, "counted once")
	assert.Contains(t, text, `zastava_backend_events_total{outcome="duplicate"} 2`)

	got = a.post(backendtest.RandomBatchID(backendtest.Batch(l.Started(1))))
	assert.Equal(t, 202, got.StatusCode)
	assert.JSONEq(t, `{"accepted":0,"duplicates":1}`, string(got.body))

	other := backendtest.Batch(l.Stopped(2, 1, 0, "Completed"))
	other.BatchID = b.BatchID
	got = a.post(other)
	assert.Equal(t, 422, got.StatusCode)
	assert.Equal(t, "batchId", got.problem(t).Errors[0].Field)
}

func TestRejectedEventsAreListed(t *testing.T) {
	a := serve(t, nil)
	first, second := backendtest.NewLife(0).Started(1), backendtest.NewLife(1).Started(1)
	a.put(first)
	second.EventID = first.EventID
	got := a.post(backendtest.RandomBatchID(backendtest.Batch(second)))
	require.Equal(t, 202, got.StatusCode)
	var out backendapi.IngestResponse
	require.NoError(t, json.Unmarshal(got.body, &out))
	require.Len(t, out.Rejected, 1)
	assert.Equal(t, first.EventID, out.Rejected[0].EventID)
	assert.Equal(t, "id_conflict", out.Rejected[0].Code)
}

func TestQueriesShowOneTenant(t *testing.T) {
	a, l := serve(t, nil), backendtest.NewLife(0)
	a.put(l.Started(1))
	theirs := l.Started(1)
	theirs.Tenant = "globex"
	require.Equal(t, 202, a.post(backendtest.Batch(theirs), backendapi.HeaderTenant, "globex").StatusCode)
	require.Equal(t, 202, a.post(backendtest.RandomBatchID(backendtest.Batch(func() backendapi.Event {
		e := l.Stopped(2, 1, 1, "Error")
		e.Tenant = "globex"
		return e
	}())), backendapi.HeaderTenant, "globex").StatusCode)

	ours := into[backend.EventPage](t, a.get(backendapi.EventsPath, backendapi.HeaderTenant, "acme"))
	assert.Len(t, ours.Events, 1)
	all := into[backend.ContainerPage](t, a.get("/api/v1/containers"))
	assert.Len(t, all.Containers, 2)
	got := a.get("/api/v1/containers/" + l.ID)
	assert.Equal(t, 409, got.StatusCode)
	assert.Contains(t, got.problem(t).Type, "#ambiguous-id")
	assert.Equal(t, 200, a.get("/api/v1/containers/"+l.ID, backendapi.HeaderTenant, "acme").StatusCode)
}

func TestRequestsRequireToken(t *testing.T) {
	a := serve(t, func(o *backend.Options) { o.TokenFile = tokenFile(t, "old", "new") })
	for name, tc := range map[string]struct {
		auth   string
		status int
	}{
		"none": {"", 401}, "wrong": {"Bearer olds", 401}, "empty": {"Bearer ", 401}, "other scheme": {"Digest old", 401},
		"first": {"Bearer old", 202}, "second, lower case scheme": {"bearer new", 202},
		"password on POST": {"Basic eDpvbGQ=", 401},
	} {
		t.Run(name, func(t *testing.T) {
			got := a.post(backendtest.RandomBatchID(backendtest.Batch(backendtest.NewLife(0).Started(1))), "Authorization", tc.auth)
			require.Equal(t, tc.status, got.StatusCode)
			if tc.status == 401 {
				got.problem(t)
				assert.Contains(t, got.Header.Get("WWW-Authenticate"), "Bearer")
			}
		})
	}
	for _, path := range []string{"/", "/metrics", "/openapi.yaml", "/api/v1/containers", "/api/v1/runtime/events/stream"} {
		assert.Equal(t, 401, a.get(path).StatusCode, path)
	}
	assert.Equal(t, 200, a.get("/api/v1/containers", "Authorization", "Basic eDpvbGQ=").StatusCode, "browsers send a password")
	assert.Equal(t, 200, a.get("/healthz").StatusCode)
	assert.Equal(t, 200, a.get("/readyz").StatusCode)
}

func TestRateLimitIsPerTenant(t *testing.T) {
	a := serve(t, func(o *backend.Options) { o.Rate, o.MaxBatchEvents = 0.1, 2 })
	l := backendtest.NewLife(0)
	require.Equal(t, 202, a.post(backendtest.Batch(l.Started(1), l.Started(2))).StatusCode, "a full batch always fits")
	got := a.post(backendtest.Batch(l.Started(3)))
	require.Equal(t, 429, got.StatusCode)
	assert.Equal(t, "10", got.Header.Get("Retry-After"))
	got.problem(t)
	theirs := l.Started(1)
	theirs.Tenant = "globex"
	assert.Equal(t, 202, a.post(backendtest.Batch(theirs), backendapi.HeaderTenant, "globex").StatusCode)
}

func TestUnknownPathsAndMethodsAreRefused(t *testing.T) {
	a := serve(t, nil)
	got := a.get("/api/v2/runtime/events")
	assert.Equal(t, 404, got.StatusCode)
	assert.Contains(t, got.problem(t).Type, "#wrong-path")
	got = a.do(http.MethodDelete, backendapi.EventsPath, nil)
	assert.Equal(t, 405, got.StatusCode)
	assert.Equal(t, "GET, HEAD, POST", got.Header.Get("Allow"))
	got.problem(t)
}

func TestForeignHostNamesAreRefusedWithoutToken(t *testing.T) {
	b, err := backend.New(t.Context(), backend.Options{DB: filepath.Join(t.TempDir(), "x.db"), LocalHostOnly: true})
	require.NoError(t, err)
	defer func() { assert.NoError(t, b.Close()) }()
	for host, status := range map[string]int{
		"localhost:8686": 200, "127.0.0.1:8686": 200, "[::1]:8686": 200, "zastava.localhost": 200,
		"rebound.example:8686": 421, "": 421,
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/healthz", nil)
		r.Host = host
		b.Handler().ServeHTTP(w, r)
		assert.Equal(t, status, w.Code, host)
	}
}

func TestMetricsCountRequestsAndEvents(t *testing.T) {
	a, l := serve(t, nil), backendtest.NewLife(0)
	a.put(l.Started(1), l.Stopped(2, 1, 0, "Completed"))
	a.post(backendtest.RandomBatchID(backendtest.Batch(l.Started(1))))
	text := string(a.get("/metrics").body)
	assert.Contains(t, text, `zastava_backend_events_total{outcome="accepted"} 2`)
	assert.Contains(t, text, `zastava_backend_events_total{outcome="duplicate"} 1`)
	assert.Contains(t, text, `zastava_backend_http_requests_total{code="202",route="/api/v1/runtime/events"} 2`)
	assert.Contains(t, text, "zastava_backend_store_duration_seconds_count 2")
}

// BenchmarkPost sends full gzip batches over loopback, one after the other, as one consumer of an exporter's queue does.
