// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

const large = 900 << 10 // bytes of an event that every limit allows

// largeEvent returns an event of about large bytes.
func largeEvent(n int) backendapi.Event {
	e := backendtest.NewLife(n).Started(float64(n))
	e.Workload.Labels = map[string]string{}
	for i := range large / 4096 {
		e.Workload.Labels[fmt.Sprintf("k%d", i)] = strings.Repeat("v", 4080)
	}
	return e
}

// pages calls next with each cursor until the last page, and returns how many rows the pages have.
func pages(t *testing.T, next func(cursor string) (rows int, following string, err error)) (sizes []int) {
	t.Helper()
	cursor := ""
	for {
		rows, following, err := next(cursor)
		require.NoError(t, err)
		sizes = append(sizes, rows)
		if following == "" {
			return sizes
		}
		require.Positive(t, rows, "a page without rows never ends")
		cursor = following
	}
}

func sum(sizes []int) (n int) {
	for _, s := range sizes {
		n += s
	}
	return n
}

func TestPagesEndAtTheirBytes(t *testing.T) {
	s := fresh(t)
	const n = 24
	for i := range n {
		ingest(t, s, largeEvent(i))
	}
	most := store.MaxPage/large + 1

	t.Run("events", func(t *testing.T) {
		oracle.Bound(t, oracle.Cost{Bytes: 12 * n * large, CPU: 1 << 36})
		seen := map[string]int{}
		sizes := pages(t, func(cursor string) (int, string, error) {
			events, next, err := s.Events(t.Context(), store.EventQuery{Limit: 1000, Cursor: cursor})
			for _, e := range events {
				seen[string(e.Body)]++
			}
			return len(events), next, err
		})
		assert.Len(t, seen, n, "each once")
		assert.Equal(t, n, sum(sizes))
		for _, size := range sizes {
			assert.LessOrEqual(t, size, most)
		}
	})
	t.Run("stream", func(t *testing.T) {
		at, total := int64(0), 0
		for more := true; more; {
			events, next, again, err := s.After(t.Context(), at, store.EventFilter{}, 200, 256<<10)
			require.NoError(t, err)
			require.LessOrEqual(t, len(events), 1, "one event is already more")
			at, more, total = next, again, total+len(events)
		}
		assert.Equal(t, n, total)
	})
	t.Run("facts", func(t *testing.T) {
		facts := make([]backendapi.Fact, 60)
		for i := range facts {
			facts[i] = fact(fmt.Sprint("s", i), "containerd://1", 1, i)
			facts[i].Metadata = map[string]string{}
			for k := range backendapi.MaxFactMetadata {
				facts[i].Metadata[fmt.Sprint("k", k)] = strings.Repeat("v", 4096)
			}
		}
		addFacts(t, s, factsOf("large", facts...))
		for _, ask := range []store.FactQuery{{Container: "containerd://1"}, {Subject: factsOf("large").SubjectKey}} {
			sizes := pages(t, func(cursor string) (int, string, error) {
				ask.Limit, ask.Cursor = 1000, cursor
				found, next, err := s.Facts(t.Context(), ask)
				return len(found), next, err
			})
			assert.Equal(t, len(facts), sum(sizes))
			assert.Greater(t, len(sizes), 3)
		}
	})
}

func TestPagesOfContainersAndImagesEndAtTheirBytes(t *testing.T) {
	s := fresh(t)
	const n, batch = 1200, 100
	for i := 0; i < n; i += batch {
		events := make([]backendapi.Event, batch)
		for j := range events {
			events[j] = backendtest.NewLife(i + j).Started(1)
			events[j].Workload.ImageRef = fmt.Sprintf("%04096d", i+j)
			events[j].Workload.ImageDigest = fmt.Sprintf("%0512d", i+j)
		}
		ingest(t, s, events...)
	}
	for name, next := range map[string]func(string) (int, string, error){
		"containers": func(cursor string) (int, string, error) {
			found, next, err := s.Containers(t.Context(), store.ContainerQuery{Limit: 1000, Cursor: cursor})
			return len(found), next, err
		},
		"images": func(cursor string) (int, string, error) {
			found, next, err := s.Images(t.Context(), "", 1000, cursor)
			return len(found), next, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			sizes := pages(t, next)
			assert.Equal(t, n, sum(sizes))
			assert.Less(t, sizes[0], 1000, "it ends at its bytes")
		})
	}
}
