// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files")

func TestCutFillsTheLimitToTheByte(t *testing.T) {
	e := newRig(t, newServer(t, accept).URL)
	p := e.payload(stops(6))
	three := p.size(span{0, 3})
	_, body := p.body(span{0, 3})
	assert.Len(t, body, three)
	assert.Equal(t, span{0, 3}, p.cut(nil, span{0, 6}, 100, three)[0])
	assert.Equal(t, span{0, 2}, p.cut(nil, span{0, 6}, 100, three-1)[0])
}

// The golden file is a complete request body, indented for reading.
func TestRequestBodyMatchesTheGoldenFile(t *testing.T) {
	s := newServer(t, accept)
	e := newRig(t, s.URL, func(cfg *Config) {
		cfg.Project = "payments"
		cfg.Annotations = map[string]string{"deployment": "cluster-a", "environment": "prod"}
	})
	require.NoError(t, e.push(stops(2)))
	var got bytes.Buffer
	require.NoError(t, json.Indent(&got, s.first(t).body, "", "  "))
	got.WriteByte('\n')
	path := filepath.Join("testdata", "batch.json")
	if *update {
		require.NoError(t, os.WriteFile(path, got.Bytes(), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), got.String())
}

// TestEachEventIsDeliveredOrRefusedOnceInOrder plays random backends that refuse some events, limit sizes and fail at times, and
// pushes until nothing is left to send.
func TestEachEventIsDeliveredOrRefusedOnceInOrder(t *testing.T) {
	const most = 24
	all := stopIDs(most)
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, most).Draw(rt, "events")
		bad := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, min(n, 3), rapid.ID[int]).Draw(rt, "bad")
		maxBytes := rapid.IntRange(1500, 40_000).Draw(rt, "bytes the backend accepts")
		failures := rapid.SliceOfN(rapid.SampledFrom([]int{0, 401, 404, 408, 429, 500, 503}), 0, 6).Draw(rt, "failures")
		limit := rapid.IntRange(1, most).Draw(rt, "max_batch_events")

		var delivered []string
		var requests int
		s := newServer(t, func(w http.ResponseWriter, r *request) {
			requests++
			if len(failures) > 0 {
				code := failures[0]
				failures = failures[1:]
				if code != 0 {
					w.WriteHeader(code)
					return
				}
			}
			if len(r.body) > maxBytes {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return
			}
			for _, i := range bad {
				if slices.Contains(r.ids(), all[i]) {
					refuse(w, http.StatusBadRequest)
					return
				}
			}
			delivered = append(delivered, r.ids()...)
			accept(w, r)
		})
		defer s.Close()
		e := newRig(t, s.URL, func(cfg *Config) { cfg.MaxBatchEvents = limit })

		logs := stops(n)
		for range 20 {
			err := e.push(logs)
			if err == nil || consumererror.IsPermanent(err) {
				break
			}
			var rest consumererror.Logs
			require.ErrorAs(rt, err, &rest)
			logs = rest.Data()
		}
		var want []string
		for i := range n {
			if !slices.Contains(bad, i) {
				want = append(want, all[i])
			}
		}
		require.Equal(rt, want, delivered, "each good event once, in order")
		require.Equal(rt, int64(len(bad)), e.outcomes(t)["refused"])
		require.Equal(rt, int64(len(want)), e.outcomes(t)["accepted"])
	})
}

func TestCutKeepsEveryEventOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := &payload{}
		for _, n := range rapid.SliceOf(rapid.IntRange(1, 200)).Draw(rt, "sizes") {
			from := len(p.json)
			p.json = append(p.json, bytes.Repeat([]byte("x"), n)...)
			p.items = append(p.items, item{eventID: "e", from: from, to: len(p.json)})
		}
		maxEvents, maxBytes := rapid.IntRange(1, 10).Draw(rt, "events"), rapid.IntRange(1, 600).Draw(rt, "bytes")
		at := 0
		for _, s := range p.cut(nil, span{0, len(p.items)}, maxEvents, maxBytes) {
			require.Equal(rt, at, s.from)
			require.Greater(rt, s.to, s.from)
			at = s.to
			require.LessOrEqual(rt, s.to-s.from, maxEvents)
			_, body := p.body(s)
			require.Len(rt, body, p.size(s))
			if s.to-s.from > 1 {
				require.LessOrEqual(rt, len(body), maxBytes)
			}
		}
		require.Equal(rt, len(p.items), at)
	})
}
