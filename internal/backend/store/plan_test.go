// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"
)

// recorder is the driver of SQLite, and remembers the queries.
type recorder struct {
	sqlite.Driver

	mu      sync.Mutex
	queries []string
}

type recordingConn struct {
	driver.Conn
	to *recorder
}

func (r *recorder) Open(name string) (driver.Conn, error) {
	c, err := r.Driver.Open(name)
	return recordingConn{c, r}, err
}

func (c recordingConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	c.to.mu.Lock()
	c.to.queries = append(c.to.queries, text)
	c.to.mu.Unlock()
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, text, args)
}

func (c recordingConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

// TestQueriesSortNoRowsInMemory checks that no list is sorted by its rows: with large rows of a hostile tenant, that would take any
// amount of memory. Keys of a page may be sorted, because the page bounds them.
func TestQueriesSortNoRowsInMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s, err := Open(t.Context(), path, time.Now)
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.Close()) }()
	r := &recorder{}
	sql.Register("recorder", r)
	recorded, err := sql.Open("recorder", path)
	require.NoError(t, err)
	defer recorded.Close()
	plain := s.read
	s.read = recorded
	for _, tenant := range []string{"", "acme"} {
		for _, container := range []string{"", "containerd://1", "1"} {
			filter := EventFilter{Tenant: tenant, Container: container}
			_, _, err = s.Events(t.Context(), EventQuery{EventFilter: filter, Limit: 10})
			require.NoError(t, err)
			_, _, err = s.Events(t.Context(), EventQuery{EventFilter: filter, Limit: 10, Cursor: encodeCursor(eventPlace{1, 2, 3})})
			require.NoError(t, err)
			_, _, _, err = s.After(t.Context(), 1, filter, 10, 10)
			require.NoError(t, err)
		}
		for _, ask := range []FactQuery{{Subject: "s"}, {Container: "c"}, {Subject: "s", Container: "c"}, {Container: "c", CallgraphID: "g"}} {
			ask.Tenant, ask.Limit = tenant, 10
			_, _, err = s.Facts(t.Context(), ask)
			require.NoError(t, err)
			ask.Cursor = encodeTexts([]string{"a", "b", "c", "d", "e"})
			_, _, err = s.Facts(t.Context(), ask)
			require.NoError(t, err)
		}
		_, _, err = s.Images(t.Context(), tenant, 10, "")
		require.NoError(t, err)
		_, _, err = s.Containers(t.Context(), ContainerQuery{Tenant: tenant, Limit: 10})
		require.NoError(t, err)
	}
	s.read = plain
	require.Greater(t, len(r.queries), 40)
	for _, q := range r.queries {
		for _, step := range planOf(t, s, q) {
			if strings.Contains(q, "WITH page") && strings.HasPrefix(step, "USE TEMP B-TREE FOR ORDER BY") {
				continue // keys
			}
			assert.NotContains(t, step, "TEMP B-TREE FOR ORDER BY", q)
			assert.NotContains(t, step, "TEMP B-TREE FOR GROUP BY", q)
			assert.NotContains(t, step, "INDEX events_id", q)
		}
	}
}

func planOf(t *testing.T, s *Store, q string) (steps []string) {
	t.Helper()
	args := make([]any, strings.Count(q, "?"))
	for i := range args {
		args[i] = 1
	}
	rows, err := s.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+q, args...)
	require.NoError(t, err, q)
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		require.NoError(t, rows.Scan(&id, &parent, &unused, &step))
		steps = append(steps, step)
	}
	require.NoError(t, rows.Err())
	return steps
}
