// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

func record(n int) Record {
	id := fmt.Sprintf("5f6f3b1c-6d0a-5a57-9a40-%012d", n)
	return Record{
		Event: backendapi.Event{
			EventID: id, Kind: backendapi.KindStart, Tenant: "acme", Node: "n", When: time.Unix(1e9, 0).UTC(),
			Runtime: backendapi.Runtime{Engine: "containerd"}, Workload: &backendapi.Workload{ContainerID: fmt.Sprintf("containerd://%d", n)},
		},
		Body: []byte("{}"),
	}
}

// together lets batches wait for the writer, and returns the outcome of each.
func together(t *testing.T, s *Store, all ...*submission) {
	t.Helper()
	s.writing.Lock()
	var work sync.WaitGroup
	for i, sub := range all {
		work.Go(func() {
			sub.out, sub.repeated, sub.err = s.Ingest(t.Context(), sub.tenant, sub.batchID, sub.records)
		})
		require.Eventually(t, func() bool { // in this order
			s.queueing.Lock()
			defer s.queueing.Unlock()
			return len(s.waiting) == i+1
		}, 30*time.Second, time.Millisecond)
	}
	s.writing.Unlock()
	work.Wait()
	assert.Empty(t, s.waiting)
}

func TestWaitingBatchesShareOneTransaction(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "events.db"), time.Now)
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.Close()) }()
	changed := s.Changed()
	first := &submission{tenant: "acme", batchID: "a", records: []Record{record(1), record(2)}}
	repeat := &submission{tenant: "acme", batchID: "a", records: []Record{record(1), record(2)}}
	reused := &submission{tenant: "acme", batchID: "a", records: []Record{record(3)}}
	other := &submission{tenant: "acme", batchID: "b", records: []Record{record(2), record(4)}}
	together(t, s, first, repeat, reused, other)

	require.NoError(t, first.err)
	assert.Equal(t, backendapi.IngestResponse{Accepted: 2}, first.out)
	require.NoError(t, repeat.err)
	assert.True(t, repeat.repeated)
	assert.Equal(t, first.out, repeat.out)
	require.ErrorIs(t, reused.err, ErrBatchReused)
	require.NoError(t, other.err)
	assert.Equal(t, backendapi.IngestResponse{Accepted: 1, Duplicates: 1}, other.out)
	select {
	case <-changed:
	default:
		t.Fatal("a change is announced before Ingest returns")
	}
	events, _, err := s.Events(t.Context(), EventQuery{Limit: 10})
	require.NoError(t, err)
	assert.Len(t, events, 3)
}

// TestFailingBatchDoesNotFailOthers puts one between others that the database refuses.
func TestFailingBatchDoesNotFailOthers(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "events.db"), time.Now)
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.Close()) }()
	_, err = s.conn.ExecContext(t.Context(), `CREATE TRIGGER refuse BEFORE INSERT ON events WHEN new.container_id = 'containerd://2'
		BEGIN SELECT RAISE(ABORT, 'refused by the test'); END`)
	require.NoError(t, err)
	before := &submission{tenant: "acme", batchID: "a", records: []Record{record(1)}}
	bad := &submission{tenant: "acme", batchID: "b", records: []Record{record(2)}}
	after := &submission{tenant: "acme", batchID: "c", records: []Record{record(3)}}
	together(t, s, before, bad, after)
	require.NoError(t, before.err)
	require.NoError(t, after.err)
	require.ErrorContains(t, bad.err, "refused by the test")
	events, _, err := s.Events(t.Context(), EventQuery{Limit: 10})
	require.NoError(t, err)
	assert.Len(t, events, 2)
}

func TestCanceledIngestStoresNothing(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "events.db"), time.Now)
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.Close()) }()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = s.Ingest(gone, "acme", "a", []Record{record(1)})
	require.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, s.waiting)
}
