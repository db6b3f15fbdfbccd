// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// StoredEvent is an event as queries return it.
type StoredEvent struct {
	backendapi.Event
	ReceivedAt time.Time `json:"receivedAt"`
	BatchID    string    `json:"batchId"`
}

// Arrived is an event in its place in the order of arrival.
type Arrived struct {
	Seq        int64
	ReceivedAt time.Time
	BatchID    string
	Body       []byte // the event's JSON object
}

// AppendJSON appends the JSON of a StoredEvent.
func (a *Arrived) AppendJSON(to []byte) []byte {
	to = append(to, a.Body[:len(a.Body)-1]...) // an event has members, so a comma follows
	to = append(to, `,"receivedAt":"`...)
	to = a.ReceivedAt.AppendFormat(to, time.RFC3339Nano)
	to = append(to, `","batchId":"`...)
	to = append(to, a.BatchID...)
	return append(to, `"}`...)
}

// EventFilter selects events; zero fields select all.
type EventFilter struct {
	Tenant    string
	Kinds     []string
	Namespace string
	Container string // <engine>://<id>, or the bare id
	Since     time.Time
	Until     time.Time // exclusive
}

func (f *EventFilter) where(q *query) {
	q.andIf(f.Tenant != "", "tenant = ?", f.Tenant)
	q.andIf(f.Namespace != "", "namespace = ?", f.Namespace)
	if len(f.Kinds) > 0 {
		args := make([]any, len(f.Kinds))
		for i, k := range f.Kinds {
			args[i] = k
		}
		q.and("kind IN (?"+strings.Repeat(", ?", len(f.Kinds)-1)+")", args...)
	}
	switch {
	case f.Container == "":
	case strings.Contains(f.Container, "://"):
		q.and("container_id = ?", f.Container)
	default:
		q.and("container_id IN (SELECT container_id FROM containers WHERE bare_id = ?)", f.Container)
	}
	q.andIf(!f.Since.IsZero(), "when_ns >= ?", f.Since.UnixNano())
	q.andIf(!f.Until.IsZero(), "when_ns < ?", f.Until.UnixNano())
}

// EventQuery is a query for a page of events, newest first.
type EventQuery struct {
	EventFilter
	AllRevisions bool
	Limit        int    // at least 1
	Cursor       string // of the page before
}

// eventPlace is where a page of events ended: before the event that happened at When and arrived as Seq, in the state of the
// moment when AsOf was the last to have arrived.
type eventPlace struct {
	AsOf int64 `json:"a"`
	When int64 `json:"w"`
	Seq  int64 `json:"s"`
}

// Events returns a page of events, newest first, and the cursor of the next page, empty for the last one. All pages of a
// sequence show the moment of the first one. A cursor from elsewhere is ErrCursor.
func (s *Store) Events(ctx context.Context, ask EventQuery) ([]Arrived, string, error) {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, "", fmt.Errorf("query events: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing to undo
	var at eventPlace
	q := query{text: "SELECT seq, when_ns, received_ns, batch_id, body FROM events WHERE TRUE"}
	if ask.Cursor != "" {
		if err := decodeCursor(ask.Cursor, &at); err != nil {
			return nil, "", err
		}
		q.and("(when_ns, seq) < (?, ?)", at.When, at.Seq)
	} else if at.AsOf, err = lastSeq(ctx, tx); err != nil {
		return nil, "", err
	}
	q.and("seq <= ?", at.AsOf)
	if !ask.AllRevisions {
		q.and("(superseded_by IS NULL OR superseded_by > ?)", at.AsOf)
	}
	ask.where(&q)
	q.add(" ORDER BY when_ns DESC, seq DESC LIMIT ?", ask.Limit+1)
	rows, err := tx.QueryContext(ctx, q.text, q.args...)
	if err != nil {
		return nil, "", fmt.Errorf("query events: %w", err)
	}
	defer rows.Close()
	var out []Arrived
	for rows.Next() {
		if len(out) == ask.Limit {
			return out, encodeCursor(at), nil
		}
		var a Arrived
		var received int64
		if err := rows.Scan(&a.Seq, &at.When, &received, &a.BatchID, &a.Body); err != nil {
			return nil, "", fmt.Errorf("query events: %w", err)
		}
		at.Seq, a.ReceivedAt = a.Seq, fromNanos(received)
		out = append(out, a)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("query events: %w", err)
	}
	return out, "", nil
}

// After returns up to limit events that arrived after seq, in the order of arrival and in every revision, and the seq to
// continue from, which advances even if no event matches the filter. Since and Until of the filter apply too.
func (s *Store) After(ctx context.Context, seq int64, filter EventFilter, limit int) (_ []Arrived, next int64, _ error) {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, 0, fmt.Errorf("follow events: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing to undo
	last, err := lastSeq(ctx, tx)
	if err != nil {
		return nil, 0, err
	}
	q := query{text: "SELECT seq, received_ns, batch_id, body FROM events WHERE seq > ?", args: []any{seq}}
	filter.where(&q)
	q.add(" ORDER BY seq LIMIT ?", limit)
	rows, err := tx.QueryContext(ctx, q.text, q.args...)
	if err != nil {
		return nil, 0, fmt.Errorf("follow events: %w", err)
	}
	defer rows.Close()
	var out []Arrived
	for rows.Next() {
		var a Arrived
		var received int64
		if err := rows.Scan(&a.Seq, &received, &a.BatchID, &a.Body); err != nil {
			return nil, 0, fmt.Errorf("follow events: %w", err)
		}
		a.ReceivedAt = fromNanos(received)
		out = append(out, a)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, fmt.Errorf("follow events: %w", err)
	}
	if len(out) == limit {
		return out, out[len(out)-1].Seq, nil
	}
	return out, max(last, seq), nil
}

// Bounds returns the seq of the last event that arrived and of the last one that retention removed; 0 if there is none.
func (s *Store) Bounds(ctx context.Context) (last, pruned int64, err error) {
	if err = s.read.QueryRowContext(ctx, "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0), seq FROM pruned").
		Scan(&last, &pruned); err != nil {
		return 0, 0, fmt.Errorf("find the last event: %w", err)
	}
	return last, pruned, nil
}

func lastSeq(ctx context.Context, tx *sql.Tx) (int64, error) {
	var last int64
	err := tx.QueryRowContext(ctx, "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)").Scan(&last)
	if err != nil {
		return 0, fmt.Errorf("find the last event: %w", err)
	}
	return last, nil
}
