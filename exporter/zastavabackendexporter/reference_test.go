// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/zastava-otel/zastava/internal/backend"
	"github.com/zastava-otel/zastava/internal/backend/wire"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/record"
)

// Every kind of record is sent twice.
func TestReferenceBackendStoresEachEventOnce(t *testing.T) {
	b, err := backend.New(t.Context(), backend.Options{
		DB: filepath.Join(t.TempDir(), "events.db"), Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	srv := httptest.NewServer(b.Handler())
	defer srv.Close()
	e := newRig(t, srv.URL, func(cfg *Config) {
		cfg.Annotations, cfg.MaxBatchEvents = map[string]string{"deployment": "cluster-a"}, 5
	})

	batch := encoder().NewBatch()
	for kind := container.KindCreated; kind <= container.KindCrashLoopEnded; kind++ {
		tr := stopOf(1)
		tr.Kind = kind
		if kind == container.KindCrashLoop {
			tr.CrashLoop = &container.CrashLoop{Count: 3, Window: 600e9, ExitCode: 1, Reason: "Error"}
		}
		batch.Append(&tr)
	}
	batch.AppendGap(&container.Gap{Engine: "containerd", Runtime: "main", To: finished, Cause: container.CauseListFailed}, finished)
	n := int64(batch.Len())

	require.NoError(t, e.push(batch.Logs()))
	assert.Equal(t, map[string]int64{"accepted": n}, e.outcomes(t))
	require.NoError(t, e.push(batch.Logs()))
	assert.Equal(t, map[string]int64{"accepted": 2 * n}, e.outcomes(t), "a repeated batch has the first answer")
	stored := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, backendapi.EventsPath+"?limit=500", nil)
	req.Host = "127.0.0.1"
	b.Handler().ServeHTTP(stored, req)
	var page struct {
		Events []json.RawMessage `json:"events"`
	}
	require.NoError(t, json.Unmarshal(stored.Body.Bytes(), &page), "%s", stored.Body)
	assert.Len(t, page.Events, int(n))
}

// backendapi.Validate, which the decoder calls, must not accept what the API's document forbids.
func TestEventsThatValidateAcceptsMatchTheAPIDocument(t *testing.T) {
	schema, err := wire.Schema("Batch")
	require.NoError(t, err)
	decoder := record.Decoder{Tenant: "acme", Annotations: map[string]string{"deployment": "cluster-a"}}
	rapid.Check(t, func(rt *rapid.T) {
		tr := stopOf(1)
		tr.Kind = container.Kind(rapid.IntRange(1, int(container.KindCrashLoopEnded)).Draw(rt, "kind"))
		if rapid.Bool().Draw(rt, "crash loop") {
			tr.CrashLoop = &container.CrashLoop{Count: 1, Window: 1, ExitCode: rapid.Uint32().Draw(rt, "exit")}
		}
		tr.Provenance.MissedUnknown = rapid.Bool().Draw(rt, "unknown")
		batch := encoder().NewBatch()
		batch.Append(&tr)
		rl := batch.Logs().ResourceLogs().At(0)
		lr := rl.ScopeLogs().At(0).LogRecords().At(0)
		// What a processor may write to the attributes.
		resource := rapid.SampledFrom(record.ResourceAttributes()).Draw(rt, "resource attribute").Name
		attributes := record.EventTypes()[tr.Kind-1].Attributes
		attribute := rapid.SampledFrom(attributes).Draw(rt, "record attribute").Name
		value := rapid.OneOf(rapid.String(), rapid.StringN(4000, 5000, -1), rapid.SampledFrom([]string{
			"", "2026-11-22T18:09:44Z", "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "1971-01-01T00:59:59+01:00", "-1", "1e3",
		}))
		rl.Resource().Attributes().PutStr(resource, value.Draw(rt, "resource value"))
		lr.Attributes().PutStr(attribute, value.Draw(rt, "record value"))

		ev, err := decoder.Origin(rl.Resource()).Event(lr)
		if err != nil {
			return
		}
		events := []backendapi.Envelope{{Event: ev, SchemaVersion: backendapi.SchemaVersion}}
		b := backendapi.Batch{BatchID: backendapi.BatchID(events), Events: events}
		var tree any
		require.NoError(rt, json.Unmarshal(b.AppendCanonical(nil), &tree))
		require.NoError(rt, schema.Validate(tree), "%s", b.AppendCanonical(nil))
	})
}
