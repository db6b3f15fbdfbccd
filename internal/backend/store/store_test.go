// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(tb testing.TB, path string, now func() time.Time) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), path, now)
	require.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, s.Close()) })
	return s
}

func fresh(tb testing.TB) *store.Store {
	tb.Helper()
	return open(tb, filepath.Join(tb.TempDir(), "events.db"), func() time.Time { return backendtest.Start })
}

func ingest(tb testing.TB, s *store.Store, events ...backendapi.Event) backendapi.IngestResponse {
	tb.Helper()
	out, _, err := s.Ingest(tb.Context(), backendtest.Tenant, uuid.NewString(), backendtest.Records(events...))
	require.NoError(tb, err)
	return out
}

func state(tb testing.TB, s *store.Store, l backendtest.Life) *store.Detail {
	tb.Helper()
	d, err := s.Container(tb.Context(), "", "containerd://"+l.ID)
	require.NoError(tb, err)
	return d
}

func TestOpenRefusesForeignAndNewerFiles(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	require.NoError(t, os.WriteFile(garbage, []byte("this is not a database, but long enough for a header"), 0o600))
	_, err := store.Open(t.Context(), garbage, time.Now)
	require.ErrorContains(t, err, "is it a SQLite database?")

	_, err = store.Open(t.Context(), filepath.Join(dir, "missing", "x.db"), time.Now)
	require.ErrorContains(t, err, "--db")
}

func TestEventsSurviveReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b%20?#.db")
	l := backendtest.NewLife(0)
	s, err := store.Open(t.Context(), path, time.Now)
	require.NoError(t, err)
	ingest(t, s, l.Started(1))
	require.NoError(t, s.Close())
	_, _, err = s.Ingest(t.Context(), "acme", uuid.NewString(), nil)
	require.ErrorIs(t, err, store.ErrClosed)

	mode, err := os.Stat(path)
	require.NoError(t, err, "the file is where it was asked for")
	assert.Zero(t, mode.Mode().Perm()&0o077, "no other user can read it")
	s = open(t, path, time.Now)
	assert.Equal(t, "running", state(t, s, l).State)
	assert.Equal(t, 1, ingest(t, s, l.Started(1)).Duplicates)
}

func TestReusedBatchIDIsRefused(t *testing.T) {
	s, l := fresh(t), backendtest.NewLife(0)
	id := uuid.NewString()
	put := func(e ...backendapi.Event) (backendapi.IngestResponse, bool, error) {
		return s.Ingest(t.Context(), backendtest.Tenant, id, backendtest.Records(e...))
	}
	known := backendtest.NewLife(1).Started(1)
	ingest(t, s, known)
	start, conflict := l.Started(1), backendtest.NewLife(2).Started(1)
	conflict.EventID = known.EventID
	first, repeated, err := put(start, conflict)
	require.NoError(t, err)
	assert.False(t, repeated)
	require.Len(t, first.Rejected, 1)

	changed := s.Changed()
	start.Observation.Source = "checkpoint"
	again, repeated, err := put(start, conflict)
	require.NoError(t, err, "the same events, seen another way")
	assert.True(t, repeated)
	assert.Equal(t, first, again, "a client that lost the answer gets it again")
	select {
	case <-changed:
		t.Fatal("a repeat changes nothing")
	default:
	}

	_, _, err = put(start, conflict, l.Stopped(2, 1, 0, "Completed"))
	require.ErrorIs(t, err, store.ErrBatchReused)
	start.Revision = 1
	_, _, err = put(start, conflict)
	require.ErrorIs(t, err, store.ErrBatchReused)
	assert.Equal(t, "running", state(t, s, l).State, "nothing of a refused batch is stored")
}

func TestLatestRevisionIsShown(t *testing.T) {
	s, l := fresh(t), backendtest.NewLife(0)
	ingest(t, s, l.Started(1))
	stop := l.Stopped(9, 1, 137, "Error")
	ingest(t, s, stop)
	better := l.Stopped(9, 1, 137, "OOMKilled")
	better.Revision = 2
	assert.Equal(t, 1, ingest(t, s, better).Accepted)
	late := l.Stopped(9, 1, 137, "Unknown")
	late.Revision = 1
	assert.Equal(t, 1, ingest(t, s, late).Accepted, "a lower revision that arrives late is stored")
	assert.Equal(t, 1, ingest(t, s, late).Duplicates)

	d := state(t, s, l)
	assert.Equal(t, "OOMKilled", d.Reason)
	assert.True(t, d.OOMKilled)
	got, _, err := s.Events(t.Context(), store.EventQuery{Limit: 10})
	require.NoError(t, err)
	assert.Len(t, got, 2)
	assert.Contains(t, string(got[0].Body), "OOMKilled")
	got, _, err = s.Events(t.Context(), store.EventQuery{Limit: 10, AllRevisions: true})
	require.NoError(t, err)
	assert.Len(t, got, 4)
}

func TestEventIDOfOtherContainerIsRejected(t *testing.T) {
	s, l := fresh(t), backendtest.NewLife(0)
	start := l.Started(1)
	ingest(t, s, start)
	other := backendtest.NewLife(1).Started(1)
	other.EventID = start.EventID
	out := ingest(t, s, other, l.Stopped(2, 1, 0, "Completed"))
	require.Len(t, out.Rejected, 1)
	assert.Equal(t, store.CodeIDConflict, out.Rejected[0].Code)
	assert.Equal(t, 1, out.Accepted, "the rest is stored")
}

func TestPagesShowOneMoment(t *testing.T) {
	s, l := fresh(t), backendtest.NewLife(0)
	for i := range 10 {
		ingest(t, s, l.Started(float64(10*i)))
	}
	var seen []string
	page := func(cursor string) string {
		got, next, err := s.Events(t.Context(), store.EventQuery{Limit: 3, Cursor: cursor})
		require.NoError(t, err)
		for _, e := range got {
			seen = append(seen, string(e.Body))
		}
		return next
	}
	next := page("")
	// Between the pages: newer ones, older ones, and a revision of the oldest that moves it to the front.
	ingest(t, s, l.Started(1000), l.Started(45))
	revised := l.Started(0)
	revised.Revision, revised.When = 1, l.At(2000)
	ingest(t, s, revised)
	for next != "" {
		next = page(next)
	}
	require.Len(t, seen, 10, "each event as of the first page, once")
	for i, body := range seen {
		want := l.Started(float64(10 * (9 - i)))
		assert.Contains(t, body, want.EventID)
		assert.Contains(t, body, `"revision":0`)
	}
}

func TestAfterReturnsEveryArrival(t *testing.T) {
	s, l := fresh(t), backendtest.NewLife(0)
	changed := s.Changed()
	ingest(t, s, l.Started(5), l.Started(3))
	select {
	case <-changed:
	default:
		t.Fatal("a change is announced before Ingest returns")
	}
	got, next, _, err := s.After(t.Context(), 0, store.EventFilter{}, 1, 1<<20)
	require.NoError(t, err)
	require.Len(t, got, 1)
	got, next, _, err = s.After(t.Context(), next, store.EventFilter{}, 10, 1<<20)
	require.NoError(t, err)
	require.Len(t, got, 1)
	assert.Contains(t, string(got[0].Body), l.Started(3).EventID, "in the order of arrival")
	ingest(t, s, backendtest.NewLife(1).Started(1))
	got, next2, _, err := s.After(t.Context(), next, store.EventFilter{Container: l.ID}, 10, 1<<20)
	require.NoError(t, err)
	assert.Empty(t, got)
	assert.Greater(t, next2, next, "events that the filter hides are not read again")
}

func TestForeignCursorsAreRefused(t *testing.T) {
	s := fresh(t)
	for _, cursor := range []string{"%", "AAAA", "bm90IGpzb24"} {
		_, _, err := s.Events(t.Context(), store.EventQuery{Limit: 1, Cursor: cursor})
		require.ErrorIs(t, err, store.ErrCursor)
		_, _, err = s.Containers(t.Context(), store.ContainerQuery{Limit: 1, Cursor: cursor})
		require.ErrorIs(t, err, store.ErrCursor)
		_, _, err = s.Images(t.Context(), "", 1, cursor)
		require.ErrorIs(t, err, store.ErrCursor)
		_, _, err = s.Facts(t.Context(), store.FactQuery{Container: "c", Limit: 1, Cursor: cursor})
		require.ErrorIs(t, err, store.ErrCursor)
	}
}

func FuzzCursor(f *testing.F) {
	s := fresh(f)
	l := backendtest.NewLife(0)
	ingest(f, s, l.Started(1), l.Started(2), l.Started(3))
	_, next, err := s.Events(f.Context(), store.EventQuery{Limit: 1})
	require.NoError(f, err)
	f.Add(next)
	f.Add("eyJhIjoxLCJ3IjoxZTQwfQ")
	f.Add("eyJhIjoxZTk5OTk5OX0") // {"a":1e999999}
	f.Add("dP___________wEAAAA") // a text of 2^63 bytes
	f.Add("dAFhAWIBYwFkAWU")     // five texts
	f.Fuzz(func(t *testing.T, cursor string) {
		oracle.Bound(t, oracle.Parsing(len(cursor)))
		for _, err := range []error{
			func() error {
				_, _, err := s.Events(t.Context(), store.EventQuery{Limit: 2, Cursor: cursor})
				return err
			}(),
			func() error {
				_, _, err := s.Containers(t.Context(), store.ContainerQuery{Limit: 2, Cursor: cursor})
				return err
			}(),
			func() error { _, _, err := s.Images(t.Context(), "", 2, cursor); return err }(),
			func() error {
				_, _, err := s.Facts(t.Context(), store.FactQuery{Container: "c", Limit: 2, Cursor: cursor})
				return err
			}(),
		} {
			if err != nil {
				require.ErrorIs(t, err, store.ErrCursor)
			}
		}
	})
}

func TestRetentionKeepsExistingContainers(t *testing.T) {
	now := backendtest.Start
	s := open(t, filepath.Join(t.TempDir(), "events.db"), func() time.Time { return now })
	running, gone := backendtest.NewLife(0), backendtest.NewLife(1)
	ingest(t, s, running.Event(backendapi.KindCreate, 0), running.Started(1))
	ingest(t, s, gone.Started(0))
	many := make([]backendapi.Event, 0, 1200)
	for i := range 1200 {
		e := running.InRun(backendapi.KindHealth, float64(10+i), 1)
		e.EventID = uuid.NewString()
		many = append(many, e)
	}
	ingest(t, s, many...)
	end, batchID := backendtest.Records(gone.Stopped(5, 0, 1, "Error"), gone.Event(backendapi.KindRemove, 6)), uuid.NewString()
	_, _, err := s.Ingest(t.Context(), backendtest.Tenant, batchID, end)
	require.NoError(t, err)
	_, repeated, err := s.Ingest(t.Context(), backendtest.Tenant, batchID, end)
	require.NoError(t, err)
	assert.True(t, repeated)
	now = now.Add(24 * time.Hour)
	kept := backendtest.NewLife(2)
	ingest(t, s, kept.Started(1))

	removed, err := s.Prune(t.Context(), now.Add(-time.Hour))
	require.NoError(t, err)
	assert.Equal(t, int64(1200+3), removed, "all but what the running one's state rests on")
	assert.Equal(t, "running", state(t, s, running).State)
	assert.Equal(t, "running", state(t, s, kept).State)
	_, err = s.Container(t.Context(), "", gone.ID)
	require.ErrorIs(t, err, store.ErrNotFound)
	last, pruned, err := s.Bounds(t.Context())
	require.NoError(t, err)
	assert.Equal(t, last-1, pruned)
	_, repeated, err = s.Ingest(t.Context(), backendtest.Tenant, batchID, end)
	require.NoError(t, err)
	assert.False(t, repeated, "answers are kept as long as events")

	removed, err = s.Prune(t.Context(), now.Add(-time.Hour))
	require.NoError(t, err)
	assert.Zero(t, removed)
	ingest(t, s, running.Stopped(2000, 1, 0, "Completed"))
	d := state(t, s, running)
	assert.Equal(t, "exited", d.State)
	assert.Equal(t, running.At(1), *d.StartedAt)
}

func BenchmarkIngest(b *testing.B) {
	s := fresh(b)
	n := 0
	for b.Loop() {
		b.StopTimer()
		events := make([]backendapi.Event, backendapi.MaxEventsPerBatch)
		for i := range events {
			if l := backendtest.NewLife(n / 2); n%2 == 0 {
				events[i] = l.Started(1)
			} else {
				events[i] = l.Stopped(2, 1, 0, "Completed")
			}
			n++
		}
		records := backendtest.Records(events...)
		id := uuid.NewString()
		b.StartTimer()
		_, _, err := s.Ingest(b.Context(), backendtest.Tenant, id, records)
		require.NoError(b, err)
	}
	b.ReportMetric(float64(b.N*backendapi.MaxEventsPerBatch)/b.Elapsed().Seconds(), "events/s")
}
