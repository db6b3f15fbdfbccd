// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

func factsOf(id string, facts ...backendapi.Fact) *store.FactsRequest {
	return &store.FactsRequest{ID: id, CallgraphID: "cg", SubjectKey: "image:sha256:ab", Facts: facts}
}

func fact(symbol, container string, hits uint64, seconds int) backendapi.Fact {
	at := backendtest.Start.Add(time.Duration(seconds) * time.Second)
	return backendapi.Fact{SymbolID: symbol, ContainerID: container, HitCount: hits, ObservedAt: &at, ProcessName: fmt.Sprintf("at %d", seconds)}
}

func addFacts(tb testing.TB, s *store.Store, r *store.FactsRequest) bool {
	tb.Helper()
	repeated, err := s.AddFacts(tb.Context(), backendtest.Tenant, r)
	require.NoError(tb, err)
	return repeated
}

func TestFactHitsAreAddedUp(t *testing.T) {
	s := fresh(t)
	addFacts(t, s, factsOf("1", fact("a", "containerd://1", 3, 10), fact("b", "containerd://1", 1, 10)))
	addFacts(t, s, factsOf("2", fact("a", "containerd://1", 2, 5), fact("a", "containerd://2", 7, 20), fact("a", "containerd://2", 1, 1)))
	addFacts(t, s, factsOf("3", fact("b", "containerd://1", 1<<53-1, 11)))

	got, next, err := s.Facts(t.Context(), store.FactQuery{Subject: "image:sha256:ab", Limit: 10})
	require.NoError(t, err)
	assert.Empty(t, next)
	require.Len(t, got, 2)
	assert.Equal(t, "a", got[0].SymbolID)
	assert.EqualValues(t, 13, got[0].HitCount)
	assert.Equal(t, 2, got[0].Containers)
	assert.Equal(t, "at 20", got[0].ProcessName, "the latest report is shown, whatever arrived last")
	assert.Equal(t, backendtest.Start.Add(time.Second), got[0].FirstObservedAt)
	assert.Equal(t, backendtest.Start.Add(20*time.Second), got[0].LastObservedAt)
	assert.EqualValues(t, 1<<53-1, got[1].HitCount, "sums end where numbers are exact")

	one, _, err := s.Facts(t.Context(), store.FactQuery{Container: "containerd://1", Limit: 10})
	require.NoError(t, err)
	require.Len(t, one, 2)
	assert.EqualValues(t, 5, one[0].HitCount)
	assert.Equal(t, "at 10", one[0].ProcessName)
	for _, none := range []store.FactQuery{{Subject: "image:sha256:cd"}, {Tenant: "other"}, {CallgraphID: "other"}} {
		none.Limit = 10
		got, _, err := s.Facts(t.Context(), none)
		require.NoError(t, err)
		assert.Empty(t, got)
	}
}

func TestRepeatedFactsRequestCountsOnce(t *testing.T) {
	s := fresh(t)
	r := factsOf("key", fact("a", "containerd://1", 3, 10))
	assert.False(t, addFacts(t, s, r))
	assert.True(t, addFacts(t, s, r))
	got, _, err := s.Facts(t.Context(), store.FactQuery{Limit: 10})
	require.NoError(t, err)
	assert.EqualValues(t, 3, got[0].HitCount)

	other := factsOf("key", fact("a", "containerd://1", 4, 10))
	_, err = s.AddFacts(t.Context(), backendtest.Tenant, other)
	require.ErrorIs(t, err, store.ErrBatchReused)
	_, err = s.AddFacts(t.Context(), "another", other)
	require.NoError(t, err, "keys are the tenant's own")

	r.ID = ""
	assert.False(t, addFacts(t, s, r))
	assert.False(t, addFacts(t, s, r), "without a key a repeat cannot be detected")
}

func TestFactPagesReturnEachFactOnce(t *testing.T) {
	s := fresh(t)
	var all []backendapi.Fact
	for i := range 25 {
		all = append(all, fact(fmt.Sprintf("s%02d", i), "containerd://1", 1, i))
	}
	addFacts(t, s, factsOf("1", all...))
	var seen []string
	for cursor := ""; ; {
		page, next, err := s.Facts(t.Context(), store.FactQuery{Subject: "image:sha256:ab", Limit: 10, Cursor: cursor})
		require.NoError(t, err)
		for _, f := range page {
			seen = append(seen, f.SymbolID)
		}
		if cursor = next; cursor == "" {
			break
		}
		require.Len(t, page, 10)
	}
	require.Len(t, seen, 25)
	assert.IsIncreasing(t, seen)
	_, _, err := s.Facts(t.Context(), store.FactQuery{Limit: 1, Cursor: "x"})
	require.ErrorIs(t, err, store.ErrCursor)
}

func TestFactsArePrunedWhenContainerIsGone(t *testing.T) {
	now := backendtest.Start
	s := open(t, filepath.Join(t.TempDir(), "x.db"), func() time.Time { return now })
	here, gone := backendtest.NewLife(0), backendtest.NewLife(1)
	ingest(t, s, here.Started(1), gone.Started(1), gone.Stopped(2, 1, 0, "Completed"))
	addFacts(t, s, factsOf("1", fact("a", "containerd://"+here.ID, 1, 0), fact("a", "containerd://"+gone.ID, 1, 0)))
	assert.Len(t, state(t, s, here).Loads, 1)
	assert.Len(t, state(t, s, gone).Loads, 1)
	now = now.Add(time.Hour)
	_, err := s.Prune(t.Context(), now)
	require.NoError(t, err)
	got, _, err := s.Facts(t.Context(), store.FactQuery{Limit: 10})
	require.NoError(t, err)
	require.Len(t, got, 1)
	assert.Equal(t, "containerd://"+here.ID, got[0].ContainerID, "facts of a running container stay, though they are reported rarely")
	assert.False(t, addFacts(t, s, factsOf("1", fact("b", "containerd://"+here.ID, 1, 0))), "keys are forgotten")
}

func BenchmarkAddFacts(b *testing.B) {
	s := fresh(b)
	facts := make([]backendapi.Fact, 1000)
	for i := range facts {
		facts[i] = fact(fmt.Sprintf("sym:binary:%04d", i), "containerd://1", 1, i)
		facts[i].Metadata = map[string]string{"path": "/usr/lib/x86_64-linux-gnu/libssl.so.3", "status": "PRESENT"}
	}
	b.ReportAllocs()
	for b.Loop() {
		addFacts(b, s, factsOf("", facts...))
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "µs/fact")
}

func TestFactsSinceReturnsSubjects(t *testing.T) {
	s := fresh(t)
	changed := s.Changed()
	for i := range 3 {
		r := factsOf(strconv.Itoa(i), fact("a", "containerd://1", 1, i))
		r.SubjectKey = fmt.Sprintf("image:%d", i%2)
		addFacts(t, s, r)
	}
	select {
	case <-changed:
	default:
		t.Fatal("a change is announced before AddFacts returns")
	}
	subjects, all, now := s.FactsSince(0, "")
	assert.Equal(t, []string{"image:0", "image:1"}, subjects)
	assert.False(t, all)
	assert.Equal(t, s.FactsStored(), now)
	subjects, _, _ = s.FactsSince(2, backendtest.Tenant)
	assert.Equal(t, []string{"image:0"}, subjects)
	subjects, _, _ = s.FactsSince(0, "globex")
	assert.Empty(t, subjects)

	for i := range 256 {
		addFacts(t, s, factsOf(fmt.Sprint("more", i), fact("a", "containerd://1", 1, i)))
	}
	_, all, _ = s.FactsSince(now-1, "")
	assert.True(t, all, "a follower that is too far behind is informed")
	subjects, all, _ = s.FactsSince(now+1, "")
	assert.Equal(t, []string{"image:sha256:ab"}, subjects)
	assert.False(t, all)
}
