// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// pruneStep bounds how many events one transaction removes, so that no batch waits long for it.
const pruneStep = 500

// Prune removes what was received before a moment: events, batch ids, ended runs, and containers that no longer exist. It keeps
// the containers that still exist, with the events that their state is derived from. It returns the number of events removed,
// also with an error.
func (s *Store) Prune(ctx context.Context, before time.Time) (removed int64, err error) {
	cutoff := before.UnixNano()
	for at := int64(0); ; {
		var next, n int64
		err := s.inTransaction(ctx, func(ctx context.Context, _ *statements) (err error) {
			next, n, err = pruneEvents(ctx, s.conn, at, cutoff)
			return err
		})
		removed += n
		if err != nil {
			return removed, fmt.Errorf("remove events received before %s: %w", before.UTC().Format(time.RFC3339), err)
		}
		if next == 0 {
			break
		}
		at = next
	}
	err = s.inTransaction(ctx, func(ctx context.Context, _ *statements) error {
		for _, text := range append([]string{
			"DELETE FROM batches WHERE received_ns < ?",
			"DELETE FROM containers WHERE last_received_ns < ? AND state IN ('exited', 'removed', 'unknown')",
			`DELETE FROM runs WHERE ended = 1 AND finished_ns < ? AND NOT EXISTS (SELECT 1 FROM containers c
				WHERE c.tenant = runs.tenant AND c.container_id = runs.container_id AND c.run_ns = runs.run_ns)`,
			`DELETE FROM runs WHERE ended = 0 AND run_ns < ? AND NOT EXISTS (SELECT 1 FROM containers c
				WHERE c.tenant = runs.tenant AND c.container_id = runs.container_id)`,
			`DELETE FROM loops WHERE since_ns < ? AND NOT EXISTS (SELECT 1 FROM containers c
				WHERE c.tenant = loops.tenant AND c.identity = loops.identity)`,
		}, factRetention...) {
			if _, err := s.conn.ExecContext(ctx, text, cutoff); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return removed, fmt.Errorf("remove containers, runs and facts that were last reported before %s: %w", before.UTC().Format(time.RFC3339), err)
	}
	return removed, nil
}

// pruneEvents checks the next events after at, in the order of arrival, and removes those that are not needed. next is where to
// continue; 0 when the rest is younger.
func pruneEvents(ctx context.Context, conn *sql.Conn, at, cutoff int64) (next, removed int64, err error) {
	var last, old sql.NullInt64
	err = conn.QueryRowContext(ctx, `SELECT max(seq), max(CASE WHEN received_ns < ?2 THEN seq END)
		FROM (SELECT seq, received_ns FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?3)`, at, cutoff, pruneStep).Scan(&last, &old)
	if err != nil || !old.Valid {
		return 0, 0, err
	}
	res, err := conn.ExecContext(ctx, `DELETE FROM events AS e WHERE e.seq > ? AND e.seq <= ? AND e.received_ns < ?
		AND NOT (e.superseded_by IS NULL AND e.kind IN ('CONTAINER_CREATE', 'CONTAINER_START', 'CONTAINER_RESTART', 'CONTAINER_PAUSE')
			AND EXISTS (SELECT 1 FROM containers c WHERE c.tenant = e.tenant AND c.container_id = e.container_id
				AND c.state IN ('created', 'running', 'paused') AND e.run_ns IN (0, c.run_ns)))`, at, last.Int64, cutoff)
	if err != nil {
		return 0, 0, err
	}
	if removed, err = res.RowsAffected(); err != nil || removed == 0 {
		return last.Int64, 0, err
	}
	_, err = conn.ExecContext(ctx, "UPDATE pruned SET seq = max(seq, ?)", old.Int64)
	return last.Int64, removed, err
}
