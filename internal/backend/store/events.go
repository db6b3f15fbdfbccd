// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"fmt"
	"io"
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

// WriteTo writes the JSON of a StoredEvent in pieces, without a copy of the body.
func (a *Arrived) WriteTo(w io.Writer) (int64, error) {
	tail := append(make([]byte, 0, 128), `,"receivedAt":"`...)
	tail = a.ReceivedAt.AppendFormat(tail, time.RFC3339Nano)
	tail = append(tail, `","batchId":"`...)
	tail = append(tail, a.BatchID...)
	tail = append(tail, `"}`...)
	n, err := w.Write(a.Body[:len(a.Body)-1]) // an event has members, so a comma follows
	if err != nil {
		return int64(n), err
	}
	m, err := w.Write(tail)
	return int64(n + m), err
}

// MaxPage bounds the bytes of a page: once a row exceeds it, the page ends, and its cursor continues. It bounds what a query holds in
// memory, whatever the size of the rows. A page of 1,000 ordinary events has some 1 MiB.
const MaxPage = 4 << 20

// EventFilter selects events; zero fields select all.
type EventFilter struct {
	Tenant    string
	Kinds     []string
	Namespace string
	Container string // <engine>://<id>, or the bare id
	Since     time.Time
	Until     time.Time // exclusive
}

// where adds the conditions. Of several indexes SQLite would choose one with which it must read all events of a tenant: the plus signs
// forbid that, and leave the index of the container, or with inOrder the order of arrival.
func (f *EventFilter) where(q *query, inOrder bool) {
	tenant, container := "tenant", "container_id"
	if inOrder {
		container = "+container_id"
	}
	if inOrder || f.Container != "" {
		tenant = "+tenant"
	}
	q.andIf(f.Tenant != "", tenant+" = ?", f.Tenant)
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
		q.and(container+" = ?", f.Container)
	default:
		q.and(container+" IN (SELECT container_id FROM containers WHERE bare_id = ?)", f.Container)
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
	q := query{text: pageOf("SELECT seq, when_ns FROM events WHERE TRUE")}
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
	ask.where(&q, false)
	q.add(" ORDER BY when_ns DESC, seq DESC LIMIT ?"+ofPage, ask.Limit+1)
	rows, err := tx.QueryContext(ctx, q.text, q.args...)
	if err != nil {
		return nil, "", fmt.Errorf("query events: %w", err)
	}
	defer rows.Close()
	var out []Arrived
	size := 0
	for rows.Next() {
		if len(out) == ask.Limit || size > MaxPage {
			return out, encodeCursor(at), nil
		}
		var a Arrived
		if at.When, err = a.scan(rows); err != nil {
			return nil, "", fmt.Errorf("query events: %w", err)
		}
		at.Seq = a.Seq
		size += len(a.Body)
		out = append(out, a)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("query events: %w", err)
	}
	return out, "", nil
}

// pageOf and ofPage enclose the query of the keys of a page. SQLite finds all keys before it returns the first row, and only the first
// row can be interrupted when the context ends; the bodies are read afterwards, one by one, in the order of the keys.
func pageOf(keys string) string { return "WITH page AS MATERIALIZED (" + keys }

const ofPage = `) SELECT e.seq, e.when_ns, e.received_ns, e.batch_id, e.body FROM page CROSS JOIN events e ON e.seq = page.seq`

func (a *Arrived) scan(rows *sql.Rows) (when int64, err error) {
	var received int64
	if err := rows.Scan(&a.Seq, &when, &received, &a.BatchID, &a.Body); err != nil {
		return 0, err
	}
	a.ReceivedAt = fromNanos(received)
	return when, nil
}

// After returns up to limit events that arrived after seq, in the order of arrival and in every revision, until they have more than
// size bytes; and the seq to continue from, which advances even if no event matches the filter. more reports that it ended at a limit.
// Since and Until of the filter apply too.
func (s *Store) After(ctx context.Context, seq int64, filter EventFilter, limit, size int) (_ []Arrived, next int64, more bool, _ error) {
	fail := func(err error) ([]Arrived, int64, bool, error) {
		return nil, 0, false, fmt.Errorf("follow events: %w", err)
	}
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fail(err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing to undo
	last, err := lastSeq(ctx, tx)
	if err != nil {
		return fail(err)
	}
	q := query{text: pageOf("SELECT seq FROM events WHERE seq > ?"), args: []any{seq}}
	filter.where(&q, true)
	q.add(" ORDER BY seq LIMIT ?"+ofPage, limit)
	rows, err := tx.QueryContext(ctx, q.text, q.args...)
	if err != nil {
		return fail(err)
	}
	defer rows.Close()
	var out []Arrived
	for size >= 0 && rows.Next() {
		var a Arrived
		if _, err := a.scan(rows); err != nil {
			return fail(err)
		}
		size -= len(a.Body)
		out = append(out, a)
	}
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	if len(out) == limit || size < 0 {
		return out, out[len(out)-1].Seq, true, nil
	}
	return out, max(last, seq), false, nil
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
