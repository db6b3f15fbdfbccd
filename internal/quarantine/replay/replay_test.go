// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/quarantine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend answers by the event ids of a batch. It stores the events that it answers with 202 and does not reject.
type backend struct {
	*httptest.Server
	answer  func(ids []string, w http.ResponseWriter) (rejected []string, done bool)
	stored  []string
	batches [][]string
}

func newBackend(t *testing.T, answer func(ids []string, w http.ResponseWriter) (rejected []string, done bool)) *backend {
	t.Helper()
	b := &backend{answer: answer}
	b.Server = httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(b.Close)
	return b
}

func (b *backend) serve(w http.ResponseWriter, r *http.Request) {
	var batch backendapi.Batch
	if err := json.NewDecoder(r.Body).Decode(&batch); err != nil || batch.BatchID != backendapi.BatchID(batch.Events) ||
		r.Header.Get(backendapi.HeaderIdempotencyKey) != batch.BatchID || r.Header.Get(backendapi.HeaderTenant) != "acme" {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	var ids []string
	for _, e := range batch.Events {
		ids = append(ids, e.Event.EventID)
	}
	b.batches = append(b.batches, ids)
	rejected, done := b.answer(ids, w)
	if done {
		return
	}
	in := backendapi.IngestResponse{Accepted: len(ids) - len(rejected)}
	for _, id := range ids {
		if slices.Contains(rejected, id) {
			in.Rejected = append(in.Rejected, backendapi.Rejected{EventID: id, Code: "id_conflict"})
			continue
		}
		b.stored = append(b.stored, id)
	}
	w.WriteHeader(http.StatusAccepted)
	raw, err := json.Marshal(in)
	if err == nil {
		_, _ = w.Write(raw)
	}
}

func acceptAll([]string, http.ResponseWriter) ([]string, bool) { return nil, false }

func (b *backend) sender() *Sender {
	return &Sender{
		Client: b.Client(), Events: Target{URL: b.URL, Shown: b.URL, Flags: "--target and --events-path"}, Header: http.Header{backendapi.HeaderTenant: {"acme"}},
		MaxEvents: 4, MaxBytes: 1 << 20, Attempts: 3, FirstWait: time.Millisecond,
	}
}

func ids(from, to int) []string {
	out := []string{}
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("event-%03d", i))
	}
	return out
}

// fill creates a quarantine of n events in small files.
func fill(tb testing.TB, n int) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "quarantine")
	add(tb, dir, n)
	return dir
}

func add(tb testing.TB, dir string, n int) {
	tb.Helper()
	d := quarantine.New(quarantine.Options{Directory: dir, MaxFileBytes: 1000, MaxTotalBytes: 1 << 20})
	for _, id := range ids(0, n) {
		_, err := d.Add([]quarantine.Entry{{
			Time: time.Now(), Reason: "422", Status: 422, Envelope: fmt.Appendf(nil, `{"event":{"eventId":%q,"revision":1},"schemaVersion":"v1"}`, id),
		}})
		require.NoError(tb, err)
	}
}

// remaining returns the event ids that are still in a quarantine.
func remaining(tb testing.TB, dir string) []string {
	tb.Helper()
	names, err := quarantine.Files(dir)
	require.NoError(tb, err)
	out := []string{}
	for _, name := range names {
		require.True(tb, strings.HasSuffix(name, ".ndjson"), "%s was not removed", name)
		f, err := os.Open(name)
		require.NoError(tb, err)
		_, err = quarantine.Read(f, func(l quarantine.Line) error {
			out = append(out, l.Entry.EventID)
			return nil
		})
		require.NoError(tb, err)
		require.NoError(tb, f.Close())
	}
	return out
}

func replayAll(tb testing.TB, b *backend, paths ...string) (Summary, error) {
	tb.Helper()
	return Run(tb.Context(), b.sender(), slog.New(slog.DiscardHandler), paths)
}

func TestFilesAreRemovedWhenAllEventsAreStored(t *testing.T) {
	b, dir := newBackend(t, acceptAll), fill(t, 20)
	names, err := quarantine.Files(dir)
	require.NoError(t, err)
	require.Greater(t, len(names), 2)
	sum, err := replayAll(t, b, dir)
	require.NoError(t, err)
	assert.Equal(t, Summary{Files: len(names), Stored: 20}, sum)
	assert.Equal(t, ids(0, 20), b.stored, "in order")
	assert.Empty(t, remaining(t, dir))
	for _, batch := range b.batches {
		assert.LessOrEqual(t, len(batch), 4)
	}
}

func TestResponseDecidesWhatStaysInTheFile(t *testing.T) {
	code := func(status int, header ...string) func([]string, http.ResponseWriter) ([]string, bool) {
		return func(_ []string, w http.ResponseWriter) ([]string, bool) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			return nil, true
		}
	}
	bad := func(status int) func(ids []string, w http.ResponseWriter) ([]string, bool) {
		return func(ids []string, w http.ResponseWriter) ([]string, bool) {
			if slices.Contains(ids, "event-002") {
				w.WriteHeader(status)
				return nil, true
			}
			return nil, false
		}
	}
	for name, tc := range map[string]struct {
		answer func([]string, http.ResponseWriter) ([]string, bool)
		sum    Summary
		rest   []string
		fails  string
	}{
		"409":                         {code(409), Summary{Duplicates: 4}, ids(0, 0), ""},
		"one invalid, 400":            {bad(400), Summary{Stored: 3, Refused: 1}, ids(2, 3), ""},
		"one invalid, 422":            {bad(422), Summary{Stored: 3, Refused: 1}, ids(2, 3), ""},
		"one too large":               {bad(413), Summary{Stored: 3, Refused: 1}, ids(2, 3), ""},
		"no such request is accepted": {code(418), Summary{Refused: 4}, ids(0, 4), ""},
		"one rejected":                {func([]string, http.ResponseWriter) ([]string, bool) { return ids(1, 2), false }, Summary{Stored: 3, Refused: 1}, ids(1, 2), ""},
		"no token":                    {code(401), Summary{Unsent: 4}, ids(0, 4), "check --token-file"},
		"wrong address":               {code(404), Summary{Unsent: 4}, ids(0, 4), "check --target"},
		"redirect":                    {code(302, "Location", "/x"), Summary{Unsent: 4}, ids(0, 4), "check --target"},
		"always unavailable":          {code(503), Summary{Unsent: 4}, ids(0, 4), "answered 503"},
		"202 of something else": {func(_ []string, w http.ResponseWriter) ([]string, bool) {
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte("<html>"))
			return nil, true
		}, Summary{Unsent: 4}, ids(0, 4), "not of this API"},
		"rejected in another spelling": {func(ids []string, w http.ResponseWriter) ([]string, bool) {
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte(`{"accepted":3,"rejected":[{"eventId":"EVENT-001"}]}`))
			return nil, true
		}, Summary{Stored: 3, Refused: 1}, ids(1, 2), ""},
		"rejected by an unknown id": {func(ids []string, w http.ResponseWriter) ([]string, bool) {
			w.WriteHeader(http.StatusAccepted)
			if slices.Contains(ids, "event-001") {
				_, _ = w.Write([]byte(`{"rejected":[{"eventId":"1"}]}`))
			}
			return nil, true
		}, Summary{Stored: 3, Refused: 1}, ids(1, 2), ""},
		"one rejected in a response that was lost": {func(ids []string, w http.ResponseWriter) ([]string, bool) {
			if len(ids) == 4 {
				w.WriteHeader(http.StatusConflict)
				return nil, true
			}
			w.WriteHeader(http.StatusAccepted)
			if slices.Contains(ids, "event-001") {
				_, _ = w.Write([]byte(`{"duplicates":1,"rejected":[{"eventId":"event-001"}]}`))
			} else {
				_, _ = w.Write([]byte(`{"duplicates":2}`))
			}
			return nil, true
		}, Summary{Duplicates: 3, Refused: 1}, ids(1, 2), ""},
		"202 without a body": {code(202), Summary{Stored: 4}, ids(0, 0), ""},
		"202 that knew some of them": {func(_ []string, w http.ResponseWriter) ([]string, bool) {
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte(`{"accepted":1,"duplicates":3}`))
			return nil, true
		}, Summary{Stored: 1, Duplicates: 3}, ids(0, 0), ""},
	} {
		t.Run(name, func(t *testing.T) {
			b, dir := newBackend(t, tc.answer), fill(t, 4)
			b.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			sum, err := replayAll(t, b, dir)
			if tc.fails == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tc.fails)
			}
			sum.Files = 0
			assert.Equal(t, tc.sum, sum)
			assert.Equal(t, len(tc.rest), sum.Remaining())
			assert.Equal(t, tc.rest, remaining(t, dir))
		})
	}
}

func TestBatchIsRetriedWhenTheBackendIsUnavailable(t *testing.T) {
	var calls int
	b := newBackend(t, func(_ []string, w http.ResponseWriter) ([]string, bool) {
		if calls++; calls < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return nil, true
		}
		return nil, false
	})
	dir := fill(t, 4)
	sum, err := replayAll(t, b, dir)
	require.NoError(t, err)
	assert.Equal(t, 4, sum.Stored)
}

// After a 401 no further batch is sent, and a long Retry-After is cut.
func TestReplayStopsWhenTheBackendAcceptsNothing(t *testing.T) {
	b, dir := newBackend(t, func(_ []string, w http.ResponseWriter) ([]string, bool) {
		w.WriteHeader(http.StatusUnauthorized)
		return nil, true
	}), fill(t, 20)
	sum, err := replayAll(t, b, dir)
	require.ErrorContains(t, err, "answered 401")
	assert.Equal(t, 20, sum.Unsent)
	assert.Len(t, b.batches, 1)

	synctest.Test(t, func(t *testing.T) {
		s := b.sender()
		s.Client = &http.Client{Transport: busy{}}
		begun := time.Now()
		out := make([]outcome, 1)
		require.Error(t, s.deliver(t.Context(), nil, []quarantine.Entry{{EventID: "e", Envelope: []byte("{}")}}, out))
		assert.Equal(t, 2*maxRetryAfter, time.Since(begun), "of three attempts")
	})
}

// busy answers 429 with a Retry-After of one day.
type busy struct{}

func (busy) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"86400"}}, Body: http.NoBody}, nil
}

// A batch never exceeds MaxBytes, and a truncated response does not count.
func TestBatchIsWithinTheLimitAndRetriedWhenTheResponseIsTruncated(t *testing.T) {
	b, dir := newBackend(t, acceptAll), fill(t, 4)
	s := b.sender()
	one := len(encode([]quarantine.Entry{{Envelope: []byte(`{"event":{"eventId":"event-000","revision":1},"schemaVersion":"v1"}`)}}, batchID(nil)))
	s.MaxBytes = one + 1
	_, err := Run(t.Context(), s, slog.New(slog.DiscardHandler), []string{dir})
	require.NoError(t, err)
	assert.Len(t, b.batches, 4)

	dir = fill(t, 4)
	b.stored = nil
	b.answer = func(_ []string, w http.ResponseWriter) ([]string, bool) {
		if len(b.batches) == 5 {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte("{}"))
			return nil, true
		}
		return nil, false
	}
	sum, err := replayAll(t, b, dir)
	require.NoError(t, err)
	assert.Equal(t, Summary{Files: 1, Stored: 4}, sum)
	assert.Equal(t, ids(0, 4), b.stored, "sent again")
}

func TestRestIsKeptWhenTheReplayIsCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := fill(t, 20)
	b := newBackend(t, nil)
	b.answer = func(_ []string, w http.ResponseWriter) ([]string, bool) {
		if len(b.batches) == 2 {
			cancel()
			w.WriteHeader(http.StatusServiceUnavailable)
			return nil, true
		}
		return nil, false
	}
	sum, err := Run(ctx, b.sender(), slog.New(slog.DiscardHandler), []string{dir})
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, ids(0, 20), append(slices.Clone(b.stored), remaining(t, dir)...))
	assert.Equal(t, 20, sum.Stored+sum.Unsent)
}

func TestReplayFailsWhenThePathIsMissing(t *testing.T) {
	_, err := replayAll(t, newBackend(t, acceptAll), filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// For any responses, stored and remaining events are all events, and a second replay stores the rest.
func TestEveryEventIsStoredOrRemaining(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 25).Draw(rt, "events")
		bad := rapid.SliceOf(rapid.SampledFrom(ids(0, 25))).Draw(rt, "bad")
		codes := rapid.SliceOfN(rapid.SampledFrom([]int{202, 202, 202, 400, 401, 413, 418, 422, 500, 503}), 1, 12).Draw(rt, "answers")
		dir, err := os.MkdirTemp("", "replay") //nolint:usetesting // one for each try, removed after it
		require.NoError(rt, err)
		defer os.RemoveAll(dir)
		add(t, dir, n)
		calls := 0
		b := &backend{answer: func(ids []string, w http.ResponseWriter) ([]string, bool) {
			code := codes[calls%len(codes)]
			calls++
			if code != 202 {
				w.WriteHeader(code)
				return nil, true
			}
			return bad, false
		}}
		b.Server = httptest.NewServer(http.HandlerFunc(b.serve))
		defer b.Close()
		sum, _ := replayAll(t, b, dir)
		still := remaining(t, dir)
		require.Equal(rt, n, sum.Stored+len(still))
		require.Equal(rt, len(still), sum.Remaining())
		require.ElementsMatch(rt, ids(0, n), append(slices.Clone(b.stored), still...))
		b.answer = acceptAll
		_, err = replayAll(t, b, dir)
		require.NoError(rt, err)
		require.ElementsMatch(rt, ids(0, n), b.stored)
		require.Empty(rt, remaining(t, dir))
	})
}
