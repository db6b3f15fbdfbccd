// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// TestFileOfFirstReleaseIsMigrated makes the file as the first release did, with a batch in it.
func TestFileOfFirstReleaseIsMigrated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	rec := Record{
		Event: backendapi.Event{
			EventID: "5f6f3b1c-6d0a-5a57-9a40-0a6c7b8f2f11", Kind: backendapi.KindStart, Tenant: "acme", Node: "n", When: time.Unix(1e9, 0).UTC(),
			Runtime: backendapi.Runtime{Engine: "containerd"}, Workload: &backendapi.Workload{ContainerID: "containerd://1"},
		},
		Body: []byte("{}"),
	}
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.Exec(migrations[0] + "; PRAGMA user_version = 1")
	require.NoError(t, err)
	_, err = db.Exec("INSERT INTO batches VALUES ('acme', 'b', ?, 1)", content([]Record{rec}))
	require.NoError(t, err)
	require.NoError(t, db.Close())

	s, err := Open(t.Context(), path, time.Now)
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.Close()) }()
	_, _, err = s.Ingest(t.Context(), "acme", "b", []Record{rec})
	require.ErrorIs(t, err, ErrBatchDone, "what it was answered with is not known")
	out, repeated, err := s.Ingest(t.Context(), "acme", "c", []Record{rec})
	require.NoError(t, err)
	assert.False(t, repeated)
	assert.Equal(t, 1, out.Accepted)
}
