// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// migrationFacts makes the tables of runtime facts. A row of facts is one piece of code that a container was seen to run; its
// hits are the sum of all reports, its body is the latest one.
const migrationFacts = `
CREATE TABLE fact_requests (
	tenant      TEXT NOT NULL,
	id          TEXT NOT NULL,
	content     BLOB NOT NULL,
	received_ns INTEGER NOT NULL,
	PRIMARY KEY (tenant, id)
) WITHOUT ROWID;

CREATE TABLE facts (
	seq          INTEGER PRIMARY KEY,
	tenant       TEXT NOT NULL,
	subject      TEXT NOT NULL,
	callgraph_id TEXT NOT NULL,
	symbol_id    TEXT NOT NULL,
	code_id      TEXT NOT NULL,
	container_id TEXT NOT NULL,
	hits         INTEGER NOT NULL,
	first_ns     INTEGER NOT NULL,
	last_ns      INTEGER NOT NULL,
	received_ns  INTEGER NOT NULL,
	body         BLOB NOT NULL
);
CREATE UNIQUE INDEX facts_key ON facts (subject, tenant, callgraph_id, symbol_id, code_id, container_id);
CREATE INDEX facts_container ON facts (container_id, tenant);
CREATE INDEX facts_received ON facts (received_ns);
`

// FactsRequest is the facts of one request about one subject.
type FactsRequest struct {
	ID          string // idempotency key; without one a repeated request counts again
	CallgraphID string
	SubjectKey  string
	Facts       []backendapi.Fact
}

// content returns a digest that is equal for repeats of a request.
func (r *FactsRequest) content(bodies [][]byte) []byte {
	h := sha256.New()
	for _, part := range append([][]byte{[]byte(r.CallgraphID), []byte(r.SubjectKey)}, bodies...) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return h.Sum(nil)
}

// addFact adds hits to one row for each symbol of a code in a container. Sums end at 2^53 - 1, the highest integer that is exact
// in JSON.
const addFact = `INSERT INTO facts (tenant, subject, callgraph_id, symbol_id, code_id, container_id, hits, first_ns, last_ns, received_ns, body)
	VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9, ?10)
	ON CONFLICT (subject, tenant, callgraph_id, symbol_id, code_id, container_id) DO UPDATE SET
	hits = min(hits + excluded.hits, 9007199254740991), first_ns = min(first_ns, excluded.first_ns),
	last_ns = max(last_ns, excluded.last_ns), received_ns = excluded.received_ns,
	body = CASE WHEN excluded.last_ns >= last_ns THEN excluded.body ELSE body END`

// AddFacts stores the facts of a request in one transaction, which is on disk when it returns. A request that was stored before
// changes nothing (repeated). Errors: ErrBatchReused, or a failure of the database.
func (s *Store) AddFacts(ctx context.Context, tenant string, r *FactsRequest) (repeated bool, err error) {
	bodies := make([][]byte, len(r.Facts))
	for i := range r.Facts {
		bodies[i] = r.Facts[i].AppendCanonical(nil)
	}
	var size int64
	for i := range bodies {
		size += int64(len(bodies[i]))
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.makeRoom(ctx, size); err != nil {
		return false, fmt.Errorf("store %d facts of %s: %w", len(r.Facts), r.SubjectKey, err)
	}
	err = s.transact(ctx, func(ctx context.Context, _ *statements) error {
		now := s.now().UnixNano()
		if repeated, err = s.addFactsRequest(ctx, tenant, r, r.content(bodies), now); repeated || err != nil {
			return err
		}
		add, err := s.conn.PrepareContext(ctx, addFact)
		if err != nil {
			return err
		}
		defer add.Close()
		for i := range r.Facts {
			f := &r.Facts[i]
			observed := now
			if f.ObservedAt != nil {
				observed = f.ObservedAt.UnixNano()
			}
			if _, err := add.ExecContext(ctx, tenant, r.SubjectKey, r.CallgraphID, f.SymbolID, f.CodeID, f.ContainerID,
				f.HitCount, observed, now, bodies[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("store %d facts of %s: %w", len(r.Facts), r.SubjectKey, s.asFull(err))
	}
	if !repeated {
		s.announceFacts(tenant, r.SubjectKey)
	}
	return repeated, nil
}

// addFactsRequest stores the id of a request, unless it was stored before (repeated).
func (s *Store) addFactsRequest(ctx context.Context, tenant string, r *FactsRequest, content []byte, now int64) (repeated bool, err error) {
	if r.ID == "" {
		return false, nil
	}
	var known []byte
	err = s.conn.QueryRowContext(ctx, "SELECT content FROM fact_requests WHERE tenant = ? AND id = ?", tenant, r.ID).Scan(&known)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		_, err = s.conn.ExecContext(ctx, "INSERT INTO fact_requests VALUES (?, ?, ?, ?)", tenant, r.ID, content, now)
		return false, err
	case err != nil:
		return false, err
	case !bytes.Equal(known, content):
		return false, ErrBatchReused
	}
	return true, nil
}

// StoredFact is a fact as queries return it: the latest report, with the sum of all hits.
type StoredFact struct {
	backendapi.Fact
	Tenant          string    `json:"tenant"`
	SubjectKey      string    `json:"subjectKey"`
	CallgraphID     string    `json:"callgraphId"`
	Containers      int       `json:"containers"` // number of containers that it was seen in
	FirstObservedAt time.Time `json:"firstObservedAt"`
	LastObservedAt  time.Time `json:"lastObservedAt"`
}

// FactQuery is a query for a page of facts; zero fields select all.
type FactQuery struct {
	Tenant, Subject, CallgraphID string
	Container                    string // <engine>://<id>
	Limit                        int
	Cursor                       string
}

// Facts returns a page of facts, ordered by subject, tenant, call graph and ids, and the cursor of the next page, empty for the
// last one. A fact of several containers is returned once. A cursor from elsewhere is ErrCursor.
func (s *Store) Facts(ctx context.Context, ask FactQuery) ([]StoredFact, string, error) {
	// Without these, SQLite would sort all facts of the container in memory instead of reading them in the order of an index.
	containers, plus := "count(DISTINCT container_id)", ""
	if ask.Container != "" {
		containers, plus = "1", "+"
	}
	// With a max, SQLite returns the other columns of the row that has it.
	q := query{text: `SELECT subject, tenant, callgraph_id, symbol_id, code_id, sum(hits), ` + containers + `, min(first_ns), max(last_ns), body
		FROM facts WHERE TRUE`}
	q.andIf(ask.Tenant != "", plus+"tenant = ?", ask.Tenant)
	q.andIf(ask.Subject != "", "subject = ?", ask.Subject)
	q.andIf(ask.CallgraphID != "", plus+"callgraph_id = ?", ask.CallgraphID)
	q.andIf(ask.Container != "", "container_id = ?", ask.Container)
	var at [5]string
	if ask.Cursor != "" {
		if err := decodeTexts(ask.Cursor, at[:]); err != nil {
			return nil, "", err
		}
		q.and("(subject, tenant, callgraph_id, symbol_id, code_id) > (?, ?, ?, ?, ?)", at[0], at[1], at[2], at[3], at[4])
	}
	q.add(" GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5 LIMIT ?", ask.Limit+1)
	rows, err := s.read.QueryContext(ctx, q.text, q.args...)
	if err != nil {
		return nil, "", fmt.Errorf("query facts: %w", err)
	}
	defer rows.Close()
	var out []StoredFact
	size := 0
	for rows.Next() {
		if len(out) == ask.Limit || size > MaxPage {
			return out, encodeTexts(at[:]), nil
		}
		var f StoredFact
		var symbol, code string
		var hits float64 // a sum over containers may exceed the integers
		var first, last int64
		var body []byte
		if err := rows.Scan(&f.SubjectKey, &f.Tenant, &f.CallgraphID, &symbol, &code, &hits, &f.Containers, &first, &last, &body); err != nil {
			return nil, "", fmt.Errorf("query facts: %w", err)
		}
		if err := json.Unmarshal(body, &f.Fact); err != nil {
			return nil, "", fmt.Errorf("decode a stored fact: %w", err)
		}
		at = [5]string{f.SubjectKey, f.Tenant, f.CallgraphID, symbol, code}
		size += len(body) + len(f.SubjectKey) + len(f.CallgraphID) + rowSize
		f.HitCount = uint64(min(hits, 1<<53-1))
		f.FirstObservedAt, f.LastObservedAt = fromNanos(first), fromNanos(last)
		out = append(out, f)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("query facts: %w", err)
	}
	return out, "", nil
}

// factRetention removes the facts that were last reported before a moment, except those of containers that still exist: facts
// that do not change are reported rarely.
var factRetention = []string{
	"DELETE FROM fact_requests WHERE received_ns < ?",
	`DELETE FROM facts WHERE received_ns < ? AND NOT EXISTS (SELECT 1 FROM containers c WHERE c.tenant = facts.tenant
		AND c.container_id = facts.container_id AND c.state IN ('created', 'running', 'paused'))`,
}
