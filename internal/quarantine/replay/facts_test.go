// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/quarantine"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func factEnvelope(graph, subject string, n int) []byte {
	return fmt.Appendf(nil, `{"event":{"callgraphId":%q,"eventId":"f-%d","fact":{"hitCount":3,"symbolId":"s%03d"},"subject":%s},"schemaVersion":%q}`,
		graph, n, n, subject, backendapi.FactSchemaVersion)
}

// addFacts adds facts to the quarantine of dir: n about an image, then two about a component.
func addFacts(tb testing.TB, dir string, n int) {
	tb.Helper()
	d := quarantine.New(quarantine.Options{Directory: filepath.Join(dir, quarantine.FactsDirectory), MaxFileBytes: 1 << 20, MaxTotalBytes: 2 << 20})
	var all []quarantine.Entry
	for i := range n {
		all = append(all, quarantine.Entry{Reason: "422", Status: 422, Envelope: factEnvelope("g", `{"imageDigest":"sha256:ab"}`, i)})
	}
	for i := range 2 {
		all = append(all, quarantine.Entry{Reason: "422", Status: 422, Envelope: factEnvelope("g", `{"component":"api@x","version":"1&2"}`, n+i)})
	}
	_, err := d.Add(all)
	require.NoError(tb, err)
}

// factsBackend stores the facts that it answers with 202.
type factsBackend struct {
	*httptest.Server

	requests []string // query and key
	stored   []string
}

func newFactsBackend(t *testing.T, answer func(body string) int) *factsBackend {
	t.Helper()
	b := &factsBackend{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		if r.Header.Get("Content-Type") != backendapi.NDJSONContentType || r.Header.Get(backendapi.HeaderTenant) != "acme" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		b.requests = append(b.requests, r.URL.RawQuery+" "+r.Header.Get(backendapi.HeaderIdempotencyKey))
		code := answer(string(raw))
		if code == http.StatusAccepted {
			b.stored = append(b.stored, strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")...)
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(b.Close)
	return b
}

func replayBoth(tb testing.TB, events *backend, facts *factsBackend, paths ...string) (Summary, error) {
	tb.Helper()
	s := events.sender()
	s.Facts = Target{URL: facts.URL + "/facts", Shown: facts.URL + "/facts", Flags: "--facts-path"}
	return Run(tb.Context(), s, slog.New(slog.DiscardHandler), paths)
}

func TestFactsAreSentToTheirEndpointBySubject(t *testing.T) {
	events, facts := newBackend(t, acceptAll), newFactsBackend(t, func(body string) int {
		if strings.Contains(body, "s002") {
			return http.StatusUnprocessableEntity
		}
		return http.StatusAccepted
	})
	dir := fill(t, 5)
	addFacts(t, dir, 6)
	sum, err := replayBoth(t, events, facts, dir)
	require.NoError(t, err)
	assert.Equal(t, 5, sum.Stored)
	assert.Equal(t, 7, sum.Facts)
	assert.Equal(t, 1, sum.Refused)
	assert.Contains(t, sum.String(), "5 events stored, 0 known before, 7 facts stored, 1 refused again")
	assert.Equal(t, []string{"f-2"}, remaining(t, filepath.Join(dir, quarantine.FactsDirectory)))
	assert.Empty(t, remaining(t, dir))
	assert.Len(t, facts.stored, 7)
	assert.JSONEq(t, `{"hitCount":3,"symbolId":"s000"}`, facts.stored[0])
	for _, r := range facts.requests[:len(facts.requests)-1] {
		assert.True(t, strings.HasPrefix(r, "callgraphId=g&imageDigest=sha256%3Aab "), r)
	}
	last := facts.requests[len(facts.requests)-1]
	body := []byte(`{"hitCount":3,"symbolId":"s006"}` + "\n" + `{"hitCount":3,"symbolId":"s007"}` + "\n")
	assert.Equal(t, "callgraphId=g&component=api%40x&version=1%262 "+backendapi.FactsID("g", "component:api@x@1&2", body), last)
}

func TestFactsRequestIsTheSameWhenRepeated(t *testing.T) {
	events, dir := newBackend(t, acceptAll), filepath.Join(t.TempDir(), "q")
	addFacts(t, dir, 9)
	facts := newFactsBackend(t, func(string) int { return http.StatusInternalServerError })
	_, err := replayBoth(t, events, facts, filepath.Join(dir, quarantine.FactsDirectory))
	require.ErrorContains(t, err, "answered 500")
	again := newFactsBackend(t, func(string) int { return http.StatusAccepted })
	sum, err := replayBoth(t, events, again, filepath.Join(dir, quarantine.FactsDirectory))
	require.NoError(t, err)
	assert.Equal(t, 11, sum.Facts)
	assert.Len(t, again.requests, 4) // 4, 4, 1 and 2
	assert.Equal(t, facts.requests[0], again.requests[0])
}

func TestEventsAreSentWhenFactsHaveNoEndpoint(t *testing.T) {
	dir := fill(t, 2)
	addFacts(t, dir, 1)
	sum, err := replayBoth(t, newBackend(t, acceptAll), newFactsBackend(t, func(string) int { return http.StatusNotFound }), dir)
	require.ErrorContains(t, err, "check --facts-path")
	assert.Equal(t, 2, sum.Stored)
	assert.Equal(t, 3, sum.Unsent)
	assert.Len(t, remaining(t, filepath.Join(dir, quarantine.FactsDirectory)), 3)

	stopped := newBackend(t, func(_ []string, w http.ResponseWriter) ([]string, bool) {
		w.WriteHeader(http.StatusForbidden)
		return nil, true
	})
	add(t, dir, 1)
	sum, err = replayBoth(t, stopped, newFactsBackend(t, func(string) int { return http.StatusAccepted }), dir)
	require.Error(t, err)
	assert.Equal(t, 3, sum.Facts, "events do not delay facts either")
}

func TestLineStaysWhenItIsNotAFact(t *testing.T) {
	dir := t.TempDir()
	d := quarantine.New(quarantine.Options{Directory: dir, MaxFileBytes: 1 << 20, MaxTotalBytes: 2 << 20})
	_, err := d.Add([]quarantine.Entry{
		{Envelope: fmt.Appendf(nil, `{"event":{"eventId":"a","callgraphId":"g","fact":{}},"schemaVersion":%q}`, backendapi.FactSchemaVersion)},
		{Envelope: fmt.Appendf(nil, `{"event":{"eventId":"b","callgraphId":"g","fact":[],"subject":{"scanId":"1"}},"schemaVersion":%q}`, backendapi.FactSchemaVersion)},
		{Envelope: factEnvelope("g", `{"scanId":"1"}`, 1)},
		{Envelope: []byte(`{"event":{"eventId":"event-001","revision":1},"schemaVersion":"v1"}`)},
	})
	require.NoError(t, err)
	facts := newFactsBackend(t, func(string) int { return http.StatusAccepted })
	sum, err := replayBoth(t, newBackend(t, acceptAll), facts, dir)
	require.NoError(t, err)
	assert.Equal(t, Summary{Files: 1, Stored: 1, Facts: 1, Unreadable: 2}, sum)
	assert.Equal(t, []string{"a", "b"}, remaining(t, dir))
}

func FuzzFactOf(f *testing.F) {
	f.Add(factEnvelope("g", `{"imageDigest":"sha256:ab"}`, 1))
	f.Add([]byte(`{"event":{"callgraphId":"\n","fact":{"a":1},"subject":{"component":"@","version":"@"}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		oracle.Bound(t, oracle.Parsing(len(raw)))
		a, fact, err := factOf(raw)
		if err != nil {
			return
		}
		require.True(t, a.same(a))
		require.Equal(t, byte('{'), fact[0])
		id, body := encodeFacts(a, []quarantine.Entry{{Envelope: fact}})
		require.NotEmpty(t, id)
		require.Len(t, body, len(fact)+1)
		require.NotEmpty(t, a.query())
	})
}
