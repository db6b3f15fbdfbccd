// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/backend"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "good-token"

// reference serves the reference backend with a token, behind what the test puts before it.
func reference(t *testing.T, wrap func(http.Handler) http.Handler) *url.URL {
	t.Helper()
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	require.NoError(t, os.WriteFile(tokens, []byte(token+" "+DefaultTenant+"\n"), 0o600))
	b, err := backend.New(t.Context(), backend.Options{
		DB: filepath.Join(dir, "x.db"), TokenFile: tokens, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	h := b.Handler()
	if wrap != nil {
		h = wrap(h)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(func() { b.StopStreams(); srv.Close(); assert.NoError(t, b.Close()) })
	target, err := url.Parse(srv.URL)
	require.NoError(t, err)
	return target
}

func run(t *testing.T, target *url.URL, change func(*Options)) *Report {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	o := Options{
		Target: target, Token: token, Wait: 3 * time.Second,
		Client: &http.Client{
			Transport: transport, Timeout: 30 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if change != nil {
		change(&o)
	}
	r, err := Run(t.Context(), o)
	require.NoError(t, err)
	return r
}

// of returns the checks with a verdict other than pass.
func (r *Report) findings() map[string]Verdict {
	out := map[string]Verdict{}
	for _, c := range r.Results {
		if c.Verdict != Pass {
			out[c.Check] = c.Verdict
		}
	}
	return out
}

func TestReferenceBackendConforms(t *testing.T) {
	target := reference(t, nil)
	first := run(t, target, nil)
	for _, c := range first.Results {
		if c.Check == "retry-after" {
			continue // depends on how fast this machine is
		}
		assert.Equal(t, Pass, c.Verdict, "%s: %s", c.Check, c.Detail)
	}
	assert.True(t, first.Conforms())
	second := run(t, target, nil)
	assert.True(t, second.Conforms(), "the data of an earlier run does not matter: %v", second.findings())
	assert.NotEqual(t, first.Run, second.Run)

	// The report counts what stays on the server, and no container of it seems to run.
	get := func(path string, into any) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target.String()+path, nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer http.DefaultClient.CloseIdleConnections()
		defer resp.Body.Close()
		require.NoError(t, json.NewDecoder(resp.Body).Decode(into))
	}
	var containers containerPage
	get("/api/v1/containers?limit=1000", &containers)
	assert.LessOrEqual(t, len(containers.Containers), first.Left.Containers+second.Left.Containers)
	for _, c := range containers.Containers {
		assert.NotContains(t, []string{"running", "paused", "created"}, c.State, c.ContainerID)
	}
	var events eventPage
	get(backendapi.EventsPath+"?revisions=all&limit=1000", &events)
	assert.LessOrEqual(t, len(events.Events), first.Left.Events+second.Left.Events)

	var table, doc bytes.Buffer
	require.NoError(t, first.WriteTable(&table))
	require.NoError(t, first.WriteJSON(&doc))
	assert.Contains(t, table.String(), "MUST    accepts ")
	assert.Contains(t, table.String(), target.String()+" conforms: ")
	assert.Contains(t, table.String(), "Left behind in tenant "+DefaultTenant)
	for _, text := range []string{table.String(), doc.String()} {
		assert.NotContains(t, text, token)
	}
	var read struct {
		Conforms bool     `json:"conforms"`
		Results  []Result `json:"results"`
	}
	require.NoError(t, json.Unmarshal(doc.Bytes(), &read))
	assert.True(t, read.Conforms)
	assert.Equal(t, first.Results, read.Results)
}

func TestEachFaultFailsItsChecks(t *testing.T) {
	for name, tc := range map[string]struct {
		wrap     func(http.Handler) http.Handler
		findings map[string]Verdict // at least
	}{
		"200 in place of 202":            {rewriting(posts, whenStatus(202, 200)), map[string]Verdict{"accepts": Fail, "accepts-minimal": Fail, "repeated-batch": Fail}},
		"counts that do not add up":      {rewriting(posts, replacing(`"accepted":2`, `"accepted":1`)), map[string]Verdict{"accepts": Fail}},
		"a body that is not JSON":        {rewriting(posts, replacing(`{"accepted"`, `<"accepted"`)), map[string]Verdict{"accepts": Fail}},
		"422 as 500":                     {rewriting(posts, whenStatus(422, 500)), map[string]Verdict{"unknown-kind": Fail, "required-fields": Fail, "one-bad-event": Fail}},
		"422 as 202":                     {answeringBad(`{"accepted":1,"duplicates":0}`), map[string]Verdict{"unknown-kind": Fail, "wrong-values": Warn}},
		"400 as 503 without Retry-After": {rewriting(posts, whenStatus(401, 503)), map[string]Verdict{"no-token": Fail, "retry-after": Warn}},
		"a repeat as 422":                {repeatsAs(422), map[string]Verdict{"repeated-batch": Fail}},
		"a repeat as 409":                {repeatsAs(409), map[string]Verdict{"repeated-answer": Warn}},
		"a batch id is never used again": {byBatchID(), map[string]Verdict{"batch-id-reused": Fail}},
		"plain text refusals": {rewriting(posts, func(s int, h http.Header, _ string) (int, string) {
			if s == 422 {
				h.Set("Content-Type", "text/plain")
				return s, "no"
			}
			return s, `{"accepted":2,"duplicates":0}`
		}), map[string]Verdict{"problem-details": Warn, "names-the-field": Warn}},
		"refusals without fields":       {rewriting(posts, replacing(`kind`, `thing`)), map[string]Verdict{"names-the-field": Warn}},
		"413 as 400":                    {rewriting(posts, whenStatus(413, 400)), map[string]Verdict{"too-large": Fail}},
		"415 as 500":                    {rewriting(posts, whenStatus(415, 500)), map[string]Verdict{"unknown-encoding": Fail, "unknown-type": Warn}},
		"gzip only":                     {answering(func(r *http.Request) bool { return posts(r) && r.Header.Get("Content-Encoding") == "" }, 415, "text/plain", "gzip only"), map[string]Verdict{"accepts-plain": Fail, "malformed-json": Fail}},
		"everyone is let in":            {editing(posts, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }), map[string]Verdict{"no-token": Fail, "wrong-token": Fail}},
		"any tenant":                    {editing(posts, func(r *http.Request) { r.Header.Set(backendapi.HeaderTenant, DefaultTenant) }), map[string]Verdict{"tenant-missing": Fail}},
		"any key":                       {editing(posts, func(r *http.Request) { r.Header.Del(backendapi.HeaderIdempotencyKey) }), map[string]Verdict{"key-differs": Warn}},
		"every path":                    {editing(func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/no-such-path-") }, func(r *http.Request) { r.URL.Path = backendapi.EventsPath }), map[string]Verdict{"wrong-path": Fail}},
		"the list is reversed":          {rewriting(gets, reversed), map[string]Verdict{"list": Fail}},
		"the list changes events":       {rewriting(gets, replacing("OOMKilled", "Error")), map[string]Verdict{"list": Fail, "list-revisions": Pass}},
		"cursors are ignored":           {editing(gets, withoutQuery("cursor")), map[string]Verdict{"list-pages": Fail, "list-refusals": Fail}},
		"filters are ignored":           {editing(gets, withoutQuery("kind", "since", "knid")), map[string]Verdict{"list-filters": Fail, "list-refusals": Fail}},
		"no revisions":                  {editing(gets, withoutQuery("revisions")), map[string]Verdict{"list-revisions": Fail}},
		"no queries at all":             {answering(func(r *http.Request) bool { return r.Method == http.MethodGet }, 404, "text/plain", "not here"), map[string]Verdict{"list": Absent, "list-refusals": Absent, "stream": Absent, "containers": Absent, "container": Absent, "images": Absent, "facts-sums": Absent, "health": Absent, "openapi": Absent}},
		"no stream":                     {answering(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/stream") }, 404, "text/plain", ""), map[string]Verdict{"stream": Absent, "stream-resume": Absent}},
		"a stream that is not one":      {answering(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/stream") }, 200, "application/json", "{}"), map[string]Verdict{"stream": Fail}},
		"a stream that ends":            {answering(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/stream") }, 200, "text/event-stream", ": hello\n\n"), map[string]Verdict{"stream": Fail, "stream-resume": Fail}},
		"a stream that does not resume": {editing(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/stream") }, func(r *http.Request) { r.Header.Del("Last-Event-ID") }), map[string]Verdict{"stream-resume": Fail}},
		"containers in the wrong state": {rewriting(func(r *http.Request) bool { return r.URL.Path == containersPath }, replacing("exited", "running")), map[string]Verdict{"containers": Fail}},
		"every container is known": {answering(func(r *http.Request) bool {
			return strings.HasPrefix(r.URL.Path, containersPath+"/") && !strings.Contains(r.URL.Path, ":")
		}, 200, "application/json", "{}"), map[string]Verdict{"container": Fail}},
		"no facts":                {answering(func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, backendapi.FactsPath) }, 404, "text/plain", ""), map[string]Verdict{"facts": Absent, "facts-json": Absent, "facts-refusals": Absent, "facts-repeat": Absent, "facts-sums": Absent}},
		"facts are not summed up": {rewriting(func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Path == backendapi.FactsPath }, replacing(`"hitCount":7`, `"hitCount":4`)), map[string]Verdict{"facts-sums": Fail}},
		"facts are counted again": {editing(func(r *http.Request) bool { return r.URL.Path == backendapi.FactsNDJSONPath }, func(r *http.Request) { r.Header.Del(backendapi.HeaderIdempotencyKey) }), map[string]Verdict{"facts-repeat": Warn}},
		"facts without a subject": {editing(func(r *http.Request) bool {
			return r.URL.Path == backendapi.FactsNDJSONPath && !r.URL.Query().Has("imageDigest")
		}, func(r *http.Request) { r.URL.RawQuery += "&imageDigest=x" }), map[string]Verdict{"facts-refusals": Fail}},
		"not ready":                 {answering(func(r *http.Request) bool { return r.URL.Path == "/readyz" }, 500, "text/plain", "no"), map[string]Verdict{"readiness": Fail}},
		"another document":          {answering(func(r *http.Request) bool { return r.URL.Path == "/openapi.yaml" }, 200, "application/yaml", "openapi: 3.1.0\npaths: {}\n"), map[string]Verdict{"openapi": Fail}},
		"redirects":                 {redirecting, map[string]Verdict{"accepts": Fail}},
		"an answer that is cut off": {cutting, map[string]Verdict{"accepts": Fail}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, reference(t, tc.wrap), func(o *Options) { o.Only = slices.Collect(maps.Keys(tc.findings)) })
			got := r.findings()
			fails := false
			for check, verdict := range tc.findings {
				if verdict == Pass {
					assert.NotContains(t, got, check)
					continue
				}
				assert.Equal(t, verdict, got[check], "%s of %v", check, got)
				fails = fails || verdict == Fail
			}
			if fails {
				assert.False(t, r.Conforms())
			}
		})
	}
}

// TestBusyServerConforms answers every other request with 429.
func TestBusyServerConforms(t *testing.T) {
	var n atomic.Int64
	target := reference(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if posts(r) && n.Add(1)%3 == 0 {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	r := run(t, target, func(o *Options) {
		o.Only = []string{"accepts", "repeated-batch", "parallel", "unknown-kind", "retry-after", "list"}
	})
	assert.True(t, r.Conforms(), "%v", r.findings())
	assert.Equal(t, map[string]Verdict{}, r.findings(), "the Retry-After check passes too")
}

func TestTokenChecksAreSkippedWithoutToken(t *testing.T) {
	target := reference(t, func(next http.Handler) http.Handler {
		return editing(func(*http.Request) bool { return true }, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })(next)
	})
	r := run(t, target, func(o *Options) { o.Token, o.Only = "", []string{"accepts", "no-token", "wrong-token"} })
	assert.True(t, r.Conforms())
	assert.Equal(t, Skipped, r.findings()["no-token"])
	assert.Equal(t, Skipped, r.findings()["wrong-token"])
}

func TestRunRefusesUnknownCheck(t *testing.T) {
	_, err := Run(t.Context(), Options{Only: []string{"accepts", "acepts"}})
	require.ErrorContains(t, err, `no check "acepts"; there are accepts, `)
}

func TestRunFailsWhenServerIsUnreachable(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	target, err := url.Parse(strings.Replace(srv.URL, "http://", "http://me:s3cret@", 1))
	require.NoError(t, err)
	srv.Close()
	_, err = Run(t.Context(), Options{Target: target, Client: http.DefaultClient})
	require.ErrorContains(t, err, "connect")
	assert.NotContains(t, err.Error(), "s3cret")
}
