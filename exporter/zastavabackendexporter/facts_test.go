// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/metadata"
	"github.com/zastava-otel/zastava/internal/backend"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/record"
)

// samples returns for each of n containers its stop and a sample with the given number of files.
func samples(n, files int) plog.Logs {
	batch := encoder().NewBatch()
	for i := range n {
		tr := stopOf(i)
		batch.Append(&tr)
		s := record.Sampled{Container: tr.Container, RestartCount: tr.RestartCount, Sequence: 1, Sample: evidence.Sample{TakenAt: finished}}
		for j := range files {
			s.Sample.Files = append(s.Sample.Files, evidence.File{
				Path: fmt.Sprintf("/usr/lib/lib%03d.so", j), Kind: evidence.KindLibrary, SHA256: evidence.Present(fmt.Sprintf("%064x", j)),
			})
		}
		batch.AppendSampled(&s)
	}
	return batch.Logs()
}

// factsBackend records the requests and answers each with the result of answer.
type factsBackend struct {
	mu     sync.Mutex
	paths  []string
	bodies []string
	keys   []string
	answer func(path, body string) (int, string)
}

func (b *factsBackend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		if unzip, err := gzip.NewReader(in); err == nil {
			in = unzip
		}
	}
	raw, _ := io.ReadAll(in)
	status, text := b.answer(r.URL.Path, string(raw))
	b.mu.Lock()
	b.paths, b.bodies, b.keys = append(b.paths, r.URL.RequestURI()), append(b.bodies, string(raw)), append(b.keys, r.Header.Get(backendapi.HeaderIdempotencyKey))
	b.mu.Unlock()
	w.Header().Set("Content-Type", backendapi.ProblemContentType)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

func (b *factsBackend) count(prefix string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.paths {
		if strings.HasPrefix(p, prefix) {
			n++
		}
	}
	return n
}

func startFacts(t *testing.T, url string, change func(*Config)) exporter.Logs {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.ClientConfig.Endpoint, cfg.Tenant, cfg.CallgraphID = url, "acme", "graph-{label:app}"
	cfg.RetryConfig.InitialInterval, cfg.RetryConfig.RandomizationFactor = 10*time.Millisecond, 0
	if change != nil {
		change(cfg)
	}
	require.NoError(t, cfg.Validate())
	e, err := NewFactory().CreateLogs(t.Context(), exportertest.NewNopSettings(metadata.Type), cfg)
	require.NoError(t, err)
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { assert.NoError(t, e.Shutdown(t.Context())) })
	return e
}

func soon(t *testing.T, what func() bool) {
	t.Helper()
	require.Eventually(t, what, 20*time.Second, 5*time.Millisecond)
}

func TestFactsReachTheReferenceBackend(t *testing.T) {
	b, err := backend.New(t.Context(), backend.Options{DB: filepath.Join(t.TempDir(), "x.db"), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	srv := httptest.NewServer(b.Handler())
	defer srv.Close()
	e := startFacts(t, srv.URL, nil)
	require.NoError(t, e.ConsumeLogs(t.Context(), samples(2, 3)))
	digest := stopOf(1).Container.Image.ManifestDigest
	get := func(path string) string {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = "127.0.0.1"
		b.Handler().ServeHTTP(w, r)
		return w.Body.String()
	}
	soon(t, func() bool {
		return strings.Count(get(backendapi.FactsPath+"?imageDigest="+digest), `"symbolId"`) == 3 &&
			strings.Contains(get("/api/v1/containers/"+stopOf(1).Container.ID), "/usr/lib/lib002.so")
	})
	assert.Contains(t, get(backendapi.FactsPath+"?imageDigest="+digest), `"callgraphId":"graph-api"`)
}

func TestFactsOfAnImageAreOneRequestInAStableOrder(t *testing.T) {
	b := &factsBackend{answer: func(string, string) (int, string) { return 202, "{}" }}
	srv := httptest.NewServer(b)
	defer srv.Close()
	e := startFacts(t, srv.URL, func(cfg *Config) { cfg.FactsEndpoint = srv.URL + "/signals-service" })
	for range 2 {
		require.NoError(t, e.ConsumeLogs(t.Context(), samples(1, 20)))
		n := b.count("/signals-service")
		soon(t, func() bool { return b.count("/signals-service") > n })
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var keys []string
	for i, p := range b.paths {
		if !strings.HasPrefix(p, "/signals-service") {
			continue
		}
		assert.Equal(t, "/signals-service/signals/runtime-facts/ndjson?callgraphId=graph-api&imageDigest="+strings.ReplaceAll(stopOf(0).Container.Image.ManifestDigest, ":", "%3A"), p)
		lines := strings.SplitAfter(strings.TrimSuffix(b.bodies[i], "\n"), "\n")
		assert.Len(t, lines, 20)
		assert.True(t, slices.IsSorted(lines))
		keys = append(keys, b.keys[i])
	}
	require.Len(t, keys, 2)
	assert.Equal(t, keys[0], keys[1], "the same facts are the same request")
}

func TestEventsAreNotDelayedByUndeliverableFacts(t *testing.T) {
	b := &factsBackend{answer: func(path, _ string) (int, string) {
		if strings.HasPrefix(path, "/signals") {
			return 503, ""
		}
		return 202, "{}"
	}}
	srv := httptest.NewServer(b)
	defer srv.Close()
	e := startFacts(t, srv.URL, nil)
	for range 40 { // more than there are consumers
		require.NoError(t, e.ConsumeLogs(t.Context(), samples(1, 2)))
		before := b.count(backendapi.EventsPath)
		require.NoError(t, e.ConsumeLogs(t.Context(), stops(1)))
		soon(t, func() bool { return b.count(backendapi.EventsPath) > before })
	}
	soon(t, func() bool { return b.count("/signals") > 3 })
}

func TestBadFactIsQuarantinedAndTheOthersAreStored(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	stored := 0
	b := &factsBackend{answer: func(path, body string) (int, string) {
		switch {
		case !strings.HasPrefix(path, "/signals"):
			return 202, "{}"
		case strings.Contains(body, "lib007"):
			return 400, `{"title":"The facts are not valid","errors":[{"field":"line 8.symbolId","detail":"is unlucky"}]}`
		}
		mu.Lock()
		defer mu.Unlock()
		stored += strings.Count(body, "\n")
		return 202, "{}"
	}}
	srv := httptest.NewServer(b)
	defer srv.Close()
	e := startFacts(t, srv.URL, withQuarantine(dir))
	require.NoError(t, e.ConsumeLogs(t.Context(), samples(1, 16)))
	soon(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return stored == 15 && len(quarantined(t, dir+"/facts")) == 1
	})
	entry := quarantined(t, dir+"/facts")[0]
	assert.Equal(t, 400, entry.Status)
	assert.Contains(t, entry.Reason, "line 8.symbolId is unlucky")
	assert.Contains(t, string(entry.Envelope), "lib007")
	assert.Contains(t, string(entry.Envelope), `"callgraphId":"graph-api"`)
}

func TestNoFactsAreSentWithoutACallgraph(t *testing.T) {
	b := &factsBackend{answer: func(string, string) (int, string) { return 202, "{}" }}
	srv := httptest.NewServer(b)
	defer srv.Close()
	e := startFacts(t, srv.URL, func(cfg *Config) { cfg.CallgraphID = "" })
	require.NoError(t, e.ConsumeLogs(t.Context(), samples(1, 2)))
	soon(t, func() bool { return b.count(backendapi.EventsPath) == 1 })
	assert.Zero(t, b.count("/signals"))
}

func TestChunksStayWithinTheLimit(t *testing.T) {
	lines := [][]byte{[]byte("aaaa\n"), []byte("bb\n"), []byte("cc\n"), []byte("dddddddddd\n"), []byte("e\n")}
	var sizes []int
	for _, c := range chunks(nil, lines, 8) {
		n := 0
		for _, l := range c {
			n += len(l)
		}
		sizes = append(sizes, n)
	}
	assert.Equal(t, []int{8, 3, 11, 2}, sizes, "a line that is too long goes alone")
	assert.Empty(t, chunks(nil, nil, 8))
}

func TestCallgraphTemplateIsExpandedPerContainer(t *testing.T) {
	s := &backendapi.Subject{ImageDigest: "sha256:ab"}
	w := &backendapi.Workload{Labels: map[string]string{"app": "api"}}
	for text, want := range map[string]string{"fixed": "fixed", "g/{imageDigest}": "g/sha256:ab", "{label:app}-x": "api-x", "{label:none}": "", "{component}@{version}": ""} {
		g, err := parseGraph(text)
		require.NoError(t, err)
		got, ok := g.expand(s, w)
		assert.Equal(t, want, got)
		assert.Equal(t, want != "", ok)
	}
	for _, bad := range []string{"{", "{image}", "{label:}"} {
		_, err := parseGraph(bad)
		require.ErrorContains(t, err, "callgraph_id")
	}
}
