// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

func capped(t *testing.T, path string, c store.Cap) *store.Store {
	t.Helper()
	var tick int64
	s, err := store.OpenCapped(t.Context(), path, func() time.Time { tick++; return backendtest.Start.Add(time.Duration(tick)) }, c)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

func TestOldestGoesOutAtTheLargestSize(t *testing.T) {
	s := capped(t, filepath.Join(t.TempDir(), "x.db"), store.Cap{Bytes: store.MinCap})
	const n = 90
	most := int64(0)
	for i := range n {
		ingest(t, s, largeEvent(i), backendtest.NewLife(1000+i).Started(1))
		most = max(most, s.Size())
		require.LessOrEqual(t, s.Size(), int64(store.MinCap), "after batch %d", i)
	}
	assert.Greater(t, most, int64(store.MinCap/2), "the space is used")
	assert.Positive(t, s.Evicted())
	_, pruned, err := s.Bounds(t.Context())
	require.NoError(t, err)
	assert.Equal(t, s.Evicted(), pruned, "in the order of arrival; a stream reports what it cannot resume")
	_, err = s.Container(t.Context(), "", backendtest.NewLife(0).ID)
	require.ErrorIs(t, err, store.ErrNotFound, "what was derived from it is gone too")
	newest := state(t, s, backendtest.NewLife(n-1))
	assert.Equal(t, "running", newest.State)
}

func TestSmallEventsAndFactsStayBelowTheLargestSize(t *testing.T) {
	s := capped(t, filepath.Join(t.TempDir(), "x.db"), store.Cap{Bytes: store.MinCap})
	for i := range 40 {
		facts := make([]backendapi.Fact, 100)
		for k := range facts {
			facts[k] = fact(fmt.Sprintf("s%d-%d", i, k), "containerd://1", 1, i)
			facts[k].Metadata = map[string]string{"path": strings.Repeat("p", 4000), "other": strings.Repeat("q", 4000), "third": strings.Repeat("r", 4000), "fourth": strings.Repeat("s", 4000)}
		}
		addFacts(t, s, factsOf(fmt.Sprint("request", i), facts...))
		events := make([]backendapi.Event, 20)
		for k := range events {
			events[k] = backendtest.NewLife(1000*i + k).Started(1)
			events[k].Annotations = map[string]string{"a": strings.Repeat("x", 4000)}
		}
		ingest(t, s, events...)
		require.LessOrEqual(t, s.Size(), int64(store.MinCap), "after batch %d", i)
	}
	assert.Positive(t, s.Evicted())
	found, _, err := s.Facts(t.Context(), store.FactQuery{Subject: factsOf("x").SubjectKey, Limit: 1000})
	require.NoError(t, err)
	require.NotEmpty(t, found)
	for _, f := range found {
		assert.NotContains(t, f.SymbolID, "s0-", "the oldest facts are gone")
	}
}

func TestFullDatabaseRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := capped(t, path, store.Cap{Bytes: store.MinCap, Refuse: true})
	var stored int
	for {
		_, _, err := s.Ingest(t.Context(), backendtest.Tenant, uuid.NewString(), backendtest.Records(largeEvent(stored)))
		if err != nil {
			require.ErrorIs(t, err, store.ErrFull)
			break
		}
		stored++
		require.Less(t, stored, 100)
	}
	assert.Greater(t, stored, 20)
	assert.LessOrEqual(t, s.Size(), int64(store.MinCap))
	big := fact("a", "c", 1, 1)
	big.Metadata = map[string]string{}
	for k := range 500 { // as many as the facts of a request have together
		big.Metadata[fmt.Sprint("k", k)] = strings.Repeat("v", 4096)
	}
	_, err := s.AddFacts(t.Context(), backendtest.Tenant, factsOf("x", big))
	require.ErrorIs(t, err, store.ErrFull)
	state(t, s, backendtest.NewLife(0)) // it is still there
	require.NoError(t, s.Ready(t.Context()), "queries go on")

	// Retention makes room, without a restart.
	_, err = s.Prune(t.Context(), backendtest.Start.Add(time.Hour))
	require.NoError(t, err)
	for i := range stored {
		stop := backendtest.NewLife(i).Stopped(float64(i)+1, float64(i), 0, "Completed")
		if _, _, err := s.Ingest(t.Context(), backendtest.Tenant, uuid.NewString(), backendtest.Records(stop)); err != nil {
			require.ErrorIs(t, err, store.ErrFull, "containers that still exist are kept")
			return
		}
	}
}

func TestLargerFileShrinksAtStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s, err := store.Open(t.Context(), path, time.Now)
	require.NoError(t, err)
	for i := range 90 {
		ingest(t, s, largeEvent(i))
	}
	require.NoError(t, s.Close())
	refusing := store.Cap{Bytes: store.MinCap, Refuse: true}
	s, err = store.OpenCapped(t.Context(), path, time.Now, refusing)
	require.NoError(t, err)
	assert.Greater(t, s.Size(), int64(store.MinCap), "nothing is removed")
	_, _, err = s.Ingest(t.Context(), backendtest.Tenant, uuid.NewString(), backendtest.Records(largeEvent(500)))
	require.ErrorIs(t, err, store.ErrFull)
	require.NoError(t, s.Close())

	s = capped(t, path, store.Cap{Bytes: store.MinCap})
	assert.LessOrEqual(t, s.Size(), int64(store.MinCap))
	state(t, s, backendtest.NewLife(89))
	ingest(t, s, largeEvent(500))
}
