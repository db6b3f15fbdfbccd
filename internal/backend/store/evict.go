// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
)

const (
	evictRows  = 200     // events or facts that one transaction removes
	evictBytes = 4 << 20 // of their bodies
)

// old is an event that is removed.
type old struct {
	seq, received               int64
	tenant, container, identity string
}

// evict removes some of what was received first, whatever it is: unlike retention it also removes what existing containers are derived
// from. It returns the number of events and facts removed; 0 if there are none.
func (s *Store) evict(ctx context.Context) (removed int64, err error) {
	err = s.transact(ctx, func(ctx context.Context, _ *statements) error {
		events, err := s.oldest(ctx)
		if err != nil {
			return err
		}
		until := int64(math.MaxInt64)
		if len(events) > 0 {
			until = events[len(events)-1].received
		}
		var facts int64
		err = s.conn.QueryRowContext(ctx, "SELECT max(received_ns) FROM (SELECT received_ns FROM facts ORDER BY received_ns LIMIT ?) HAVING max(received_ns) IS NOT NULL",
			evictRows).Scan(&facts)
		if err == nil {
			until = min(until, facts)
		} else if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		removed, err = s.removeUntil(ctx, events, until)
		return err
	})
	if err == nil {
		s.space.evicted.Add(removed)
	}
	return removed, err
}

// oldest returns the events that arrived first.
func (s *Store) oldest(ctx context.Context) ([]old, error) {
	rows, err := s.conn.QueryContext(ctx, "SELECT seq, received_ns, tenant, container_id, identity, length(body) FROM events ORDER BY seq LIMIT ?", evictRows)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []old
	for size := 0; size < evictBytes && rows.Next(); {
		var e old
		var n int
		if err := rows.Scan(&e.seq, &e.received, &e.tenant, &e.container, &e.identity, &n); err != nil {
			return nil, err
		}
		size += n
		out = append(out, e)
	}
	return out, rows.Err()
}

// removeUntil removes those of the events that were received until a moment, what is derived from them alone, and the oldest facts and
// ids of requests that were received until then.
func (s *Store) removeUntil(ctx context.Context, events []old, until int64) (removed int64, err error) {
	touched := map[old]struct{}{}
	for _, e := range events {
		if e.received > until {
			break
		}
		if _, err := s.conn.ExecContext(ctx, "DELETE FROM events WHERE seq = ?", e.seq); err != nil {
			return 0, err
		}
		if _, err := s.conn.ExecContext(ctx, "UPDATE pruned SET seq = max(seq, ?)", e.seq); err != nil {
			return 0, err
		}
		removed++
		touched[old{tenant: e.tenant, container: e.container, identity: e.identity}] = struct{}{}
	}
	for c := range touched {
		for _, text := range []string{
			"DELETE FROM runs WHERE tenant = ?1 AND container_id = ?2 AND NOT EXISTS (SELECT 1 FROM events WHERE container_id = ?2 AND tenant = ?1)",
			"DELETE FROM containers WHERE tenant = ?1 AND container_id = ?2 AND NOT EXISTS (SELECT 1 FROM events WHERE container_id = ?2 AND tenant = ?1)",
			"DELETE FROM loops WHERE tenant = ?1 AND identity = ?3 AND NOT EXISTS (SELECT 1 FROM containers WHERE tenant = ?1 AND identity = ?3)",
		} {
			if _, err := s.conn.ExecContext(ctx, text, c.tenant, c.container, c.identity); err != nil {
				return 0, err
			}
		}
	}
	res, err := s.conn.ExecContext(ctx, "DELETE FROM facts WHERE seq IN (SELECT seq FROM facts WHERE received_ns <= ? ORDER BY received_ns LIMIT ?)", until, evictRows)
	if err != nil {
		return 0, err
	}
	facts, err := res.RowsAffected()
	if err != nil {
		return 0, err
	}
	for _, text := range []string{
		"DELETE FROM batches WHERE (tenant, batch_id) IN (SELECT tenant, batch_id FROM batches WHERE received_ns < ? ORDER BY received_ns LIMIT 1000)",
		"DELETE FROM fact_requests WHERE (tenant, id) IN (SELECT tenant, id FROM fact_requests WHERE received_ns < ? ORDER BY received_ns LIMIT 1000)",
	} {
		if _, err := s.conn.ExecContext(ctx, text, until); err != nil {
			return 0, err
		}
	}
	return removed + facts, nil
}
