// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/backend"
	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// api is a backend on a loopback address, and a client of it.
type api struct {
	t   testing.TB
	url string
}

func serve(tb testing.TB, change func(*backend.Options)) *api {
	tb.Helper()
	opts := backend.Options{
		DB: filepath.Join(tb.TempDir(), "backend.db"), Logger: slog.New(slog.DiscardHandler),
		Heartbeat: time.Hour, // no heartbeats between the events, even on a busy machine
	}
	if change != nil {
		change(&opts)
	}
	b, err := backend.New(tb.Context(), opts)
	require.NoError(tb, err)
	srv := httptest.NewServer(b.Handler())
	tb.Cleanup(func() {
		b.StopStreams()
		http.DefaultClient.CloseIdleConnections()
		srv.Close()
		assert.NoError(tb, b.Close())
	})
	return &api{tb, srv.URL}
}

// answer is a response, read.
type answer struct {
	*http.Response
	body []byte
}

func (a answer) problem(tb testing.TB) problem.Details {
	tb.Helper()
	assert.Equal(tb, "application/problem+json", a.Header.Get("Content-Type"))
	var p problem.Details
	require.NoError(tb, json.Unmarshal(a.body, &p), "%s", a.body)
	assert.Equal(tb, a.StatusCode, p.Status)
	return p
}

func into[T any](tb testing.TB, a answer) T {
	tb.Helper()
	require.Equal(tb, http.StatusOK, a.StatusCode, "%s", a.body)
	var v T
	require.NoError(tb, json.Unmarshal(a.body, &v))
	return v
}

func (a *api) do(method, path string, body io.Reader, header ...string) answer {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, body)
	require.NoError(a.t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(a.t, err)
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	require.NoError(a.t, err)
	return answer{res, got}
}

func (a *api) get(path string, header ...string) answer {
	a.t.Helper()
	return a.do(http.MethodGet, path, nil, header...)
}

func (a *api) postRaw(body []byte, header ...string) answer {
	a.t.Helper()
	all := append([]string{"Content-Type", "application/json", backendapi.HeaderTenant, backendtest.Tenant}, header...)
	return a.do(http.MethodPost, backendapi.EventsPath, bytes.NewReader(body), all...)
}

func (a *api) post(b backendapi.Batch, header ...string) answer {
	a.t.Helper()
	raw, err := json.Marshal(b)
	require.NoError(a.t, err)
	return a.postRaw(raw, header...)
}

// put posts events that must be accepted.
func (a *api) put(events ...backendapi.Event) {
	a.t.Helper()
	got := a.post(backendtest.Batch(events...))
	require.Equal(a.t, http.StatusAccepted, got.StatusCode, "%s", got.body)
}

func zip(raw []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write(raw)
	_ = w.Close()
	return buf.Bytes()
}
