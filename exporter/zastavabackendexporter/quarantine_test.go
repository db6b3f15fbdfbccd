// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"pgregory.net/rapid"

	"github.com/zastava-otel/zastava/internal/backend"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/quarantine"
	"github.com/zastava-otel/zastava/internal/quarantine/replay"
)

func withQuarantine(dir string) func(*Config) {
	return func(cfg *Config) { cfg.Quarantine.Directory = dir }
}

// quarantined returns the entries of a quarantine.
func quarantined(t require.TestingT, dir string) []quarantine.Entry {
	names, err := quarantine.Files(dir)
	if os.IsNotExist(err) || len(names) == 0 {
		return nil
	}
	require.NoError(t, err)
	var out []quarantine.Entry
	for _, name := range names {
		raw, err := os.ReadFile(name)
		require.NoError(t, err)
		torn, err := quarantine.Read(bytes.NewReader(raw), func(l quarantine.Line) error {
			out = append(out, l.Entry)
			return l.Err
		})
		require.NoError(t, err)
		require.False(t, torn)
	}
	return out
}

func eventIDs(entries []quarantine.Entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.EventID)
	}
	return out
}

// lostBy returns the counter of events that the quarantine lost, by cause.
func (r *rig) lostBy(t *testing.T) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	m, err := r.telemetry.GetMetric("otelcol_exporter_zastavabackend_quarantine_lost")
	if err != nil {
		return out
	}
	for _, dp := range m.Data.(metricdata.Sum[int64]).DataPoints {
		v, _ := dp.Attributes.Value("cause")
		out[v.AsString()] = dp.Value
	}
	return out
}

func TestPermanentlyRefusedEventsAreQuarantined(t *testing.T) {
	ids := stopIDs(8)
	refusing := func(code int, contentType, body string) reply {
		return func(w http.ResponseWriter, r *request) {
			if slices.Contains(r.ids(), ids[5]) {
				answers(code, contentType, body)(w, r)
				return
			}
			accept(w, r)
		}
	}
	for _, tt := range []struct {
		desc   string
		reply  reply
		ids    []string
		status int
		reason string
	}{
		{"400 that names the event", refusing(400, "application/json", `{"bad":"`+ids[5]+`","got":"Authorization: s3cret"}`), ids[5:6], 400, "400 Bad Request"},
		{"422 with a problem", refusing(422, "application/problem+json", `{"title":"No such kind"}`), ids[5:6], 422, "422 Unprocessable Entity: No such kind"},
		{"413 alone", refusing(413, "", ""), ids[5:6], 413, "413 Request Entity Too Large"},
		{"rejected in a 202", func(w http.ResponseWriter, _ *request) {
			answers(202, "application/json", `{"accepted":6,"duplicates":0,"rejected":[{"eventId":"`+ids[2]+`","code":"id_conflict","detail":"of another"},{"eventId":"`+ids[7]+`","code":"x"}]}`)(w, nil)
		}, []string{ids[2], ids[7]}, 202, "id_conflict: of another"},
		{"all of it", answers(418, "application/problem+json", `{"title":"No"}`), ids, 418, "418 I'm a teapot: No"},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			s, dir := newServer(t, tt.reply), filepath.Join(t.TempDir(), "q")
			e := newRig(t, s.URL, withQuarantine(dir))
			require.NoError(t, e.push(stops(8)), "all events are settled")
			got := quarantined(t, dir)
			require.Equal(t, tt.ids, eventIDs(got))
			assert.Equal(t, tt.status, got[0].Status)
			assert.Equal(t, tt.reason, got[0].Reason)
			n := int64(len(tt.ids))
			want := map[string]int64{"accepted": 8 - n, "quarantined": n}
			if n == 8 {
				delete(want, "accepted")
			}
			assert.Equal(t, want, e.outcomes(t))
			assert.Empty(t, e.lostBy(t))
			for _, q := range got {
				i := slices.Index(ids, q.EventID)
				assert.Contains(t, string(s.first(t).body), string(q.Envelope), "as event %d was sent", i)
			}
		})
	}
}

func TestRetriedEventsAreNotQuarantined(t *testing.T) {
	bad := stopIDs(4)[1]
	s, dir := newServer(t, func(w http.ResponseWriter, r *request) {
		switch {
		case slices.Contains(r.ids(), bad):
			refuse(w, http.StatusUnprocessableEntity)
		case slices.Contains(r.ids(), stopIDs(4)[2]):
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			accept(w, r)
		}
	}), t.TempDir()
	e := newRig(t, s.URL, withQuarantine(dir))
	err := e.push(stops(4))
	assert.Equal(t, stopIDs(4)[2:], retried(t, err))
	assert.Equal(t, []string{bad}, eventIDs(quarantined(t, dir)), "the refused event is on disk before the rest is requested")
}

func TestFailingQuarantineIsLoggedOnceAndBlocksNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "q")
	require.NoError(t, os.WriteFile(dir, nil, 0o600)) // a file instead of the directory
	bad := stopIDs(4)[1]
	s := newServer(t, func(w http.ResponseWriter, r *request) {
		if slices.Contains(r.ids(), bad) {
			refuse(w, http.StatusUnprocessableEntity)
			return
		}
		accept(w, r)
	})
	e := newRig(t, s.URL, withQuarantine(dir))
	for range 3 {
		err := e.push(stops(4))
		require.True(t, consumererror.IsPermanent(err), "%v", err)
		require.ErrorContains(t, err, "1 events refused, from "+bad)
	}
	assert.Equal(t, map[string]int64{"accepted": 9, "refused": 3}, e.outcomes(t))
	assert.Equal(t, map[string]int64{"unwritten": 3}, e.lostBy(t))
	assert.Equal(t, 1, e.logs.FilterMessageSnippet("quarantine cannot be written").Len())
	require.NoError(t, os.Remove(dir))
	require.NoError(t, e.push(stops(4)))
	assert.Equal(t, 1, e.logs.FilterMessageSnippet("quarantine can be written again").Len())
}

func TestFullQuarantineEvictsAndCountsTheOldest(t *testing.T) {
	dir := t.TempDir()
	e := newRig(t, newServer(t, answers(418, "application/problem+json", `{"title":"No"}`)).URL, func(cfg *Config) {
		cfg.Quarantine.Directory, cfg.Quarantine.MaxFileBytes, cfg.Quarantine.MaxTotalBytes = dir, 4096, 8192
	})
	require.NoError(t, e.push(stops(40)))
	got := eventIDs(quarantined(t, dir))
	require.NotEmpty(t, got)
	assert.Equal(t, stopIDs(40)[40-len(got):], got)
	assert.Equal(t, map[string]int64{"evicted": int64(40 - len(got))}, e.lostBy(t))
}

func TestValidateReportsFaultsOfTheQuarantine(t *testing.T) {
	cfg := createDefaultConfig().(*Config).Quarantine
	cfg.MaxFileBytes = 1
	require.NoError(t, cfg.Validate(), "the quarantine is off")
	cfg.Directory = "/q"
	require.ErrorContains(t, cfg.Validate(), "max_file_bytes 1 is too small: use at least 4096")
	cfg.MaxFileBytes, cfg.MaxTotalBytes = 4096, 4097
	require.ErrorContains(t, cfg.Validate(), "max_total_bytes 4097 is too small: use at least twice max_file_bytes")
}

// Whatever a backend answers to each batch: delivered + quarantined = pushed.
func TestEachEventIsDeliveredOrQuarantinedOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(rt, "events")
		bad := rapid.SliceOfDistinct(rapid.SampledFrom(stopIDs(n)), rapid.ID[string]).Draw(rt, "bad")
		later := rapid.SliceOfN(rapid.SampledFrom([]int{0, 0, 0, 429, 500, 404, 401, 200}), 1, 8).Draw(rt, "temporary answers")
		kinds := rapid.SliceOfN(rapid.SampledFrom([]int{400, 422, 413, 202}), 1, 4).Draw(rt, "answers to bad events")
		size := rapid.IntRange(1, 16).Draw(rt, "batch")
		delivered := map[string]int{}
		calls := 0
		s := newServer(t, func(w http.ResponseWriter, r *request) {
			calls++
			if code := later[calls%len(later)]; code != 0 && calls < 50 {
				w.WriteHeader(code)
				return
			}
			var in backendapi.IngestResponse
			isBad := func(id string) bool { return slices.Contains(bad, id) }
			code := kinds[calls%len(kinds)]
			if code != 202 && slices.ContainsFunc(r.ids(), isBad) {
				refuse(w, code)
				return
			}
			for _, id := range r.ids() {
				if isBad(id) {
					in.Rejected = append(in.Rejected, backendapi.Rejected{EventID: id, Code: "never"})
				} else {
					delivered[id]++
				}
			}
			in.Accepted = len(r.ids()) - len(in.Rejected)
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write(mustJSON(rt, in))
		})
		dir, err := os.MkdirTemp("", "quarantine") //nolint:usetesting // one for each try, gone after it
		require.NoError(rt, err)
		defer os.RemoveAll(dir)
		e := newRig(t, s.URL, withQuarantine(dir), func(cfg *Config) { cfg.MaxBatchEvents = size })
		logs := stops(n)
		for {
			err := e.push(logs)
			if err == nil {
				break
			}
			require.False(rt, consumererror.IsPermanent(err), "%v", err)
			retried(t, err)
			var partial consumererror.Logs
			require.ErrorAs(rt, err, &partial)
			logs = partial.Data()
		}
		got := eventIDs(quarantined(rt, dir))
		require.ElementsMatch(rt, bad, got)
		for id, times := range delivered {
			require.Equal(rt, 1, times, id)
			got = append(got, id)
		}
		require.ElementsMatch(rt, stopIDs(n), got)
	})
}

// The reference backend refuses events whose tenant differs from the request's. The fault to fix is a hop that changes the header.
func TestQuarantinedEventsAreStoredByReplayAfterTheFix(t *testing.T) {
	b, err := backend.New(t.Context(), backend.Options{DB: filepath.Join(t.TempDir(), "events.db"), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	fixed := false
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fixed {
			r.Header.Set(backendapi.HeaderTenant, "not-"+r.Header.Get(backendapi.HeaderTenant))
		}
		b.Handler().ServeHTTP(w, r)
	}))
	defer srv.Close()
	dir := filepath.Join(t.TempDir(), "quarantine")
	e := newRig(t, srv.URL, withQuarantine(dir))
	require.NoError(t, e.push(stops(20)))
	require.Equal(t, stopIDs(20), eventIDs(quarantined(t, dir)))
	require.Equal(t, map[string]int64{"quarantined": 20}, e.outcomes(t))

	header := http.Header{backendapi.HeaderTenant: {"acme"}}
	sender := &replay.Sender{
		Client: srv.Client(), Events: replay.Target{URL: srv.URL + backendapi.EventsPath, Shown: srv.URL}, Header: header,
		MaxEvents: 8, MaxBytes: 1 << 20, Attempts: 1,
	}
	sum, err := replay.Run(t.Context(), sender, slog.New(slog.DiscardHandler), []string{dir})
	require.NoError(t, err)
	assert.Equal(t, replay.Summary{Files: 1, Refused: 20}, sum)
	require.Len(t, quarantined(t, dir), 20)

	fixed = true
	sum, err = replay.Run(t.Context(), sender, slog.New(slog.DiscardHandler), []string{dir})
	require.NoError(t, err)
	assert.Equal(t, replay.Summary{Files: 1, Stored: 20}, sum)
	assert.Empty(t, quarantined(t, dir))
	require.NoError(t, e.push(stops(20)))
	assert.Equal(t, map[string]int64{"quarantined": 20, "duplicate": 20}, e.outcomes(t), "the backend has each of them")
}

func mustJSON(t require.TestingT, v any) []byte {
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return raw
}
