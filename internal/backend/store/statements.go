// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// statements are the writer's, prepared once: preparing costs more than running most of them.
type statements struct {
	transaction struct{ begin, commit, rollback *sql.Stmt }
	batches     struct{ find, add *sql.Stmt }
	events      struct{ revisions, add, supersede *sql.Stmt }
	containers  struct{ find, put *sql.Stmt }
	runs        struct{ latest, events, lastEvent, put, drop *sql.Stmt }
	loops       struct{ find, put, drop *sql.Stmt }
	all         []*sql.Stmt
}

// A run is derived from the events that begin, pause or end it (folds = 1); if none of them is known, from the latest of the
// others. Those can be many (health flaps, OOM kills inside) and add nothing to the state. The statements have no IN lists and
// need no sorting: SQLite builds a table in memory for each of them on each run, which costs more than the rest.
const (
	selectRunEvents = `SELECT seq, body FROM events WHERE tenant = ? AND container_id = ? AND run_ns = ?
		AND superseded_by IS NULL AND folds = 1`
	selectLastEvent = `SELECT seq, body FROM events WHERE tenant = ? AND container_id = ? AND run_ns = ?
		AND superseded_by IS NULL ORDER BY when_ns DESC, event_id DESC LIMIT 1`
	selectLatestRun = `SELECT run_ns, when_ns FROM events WHERE tenant = ? AND container_id = ?
		AND superseded_by IS NULL ORDER BY run_ns DESC, when_ns DESC LIMIT 1`
)

func prepare(ctx context.Context, conn *sql.Conn) (*statements, error) {
	s := &statements{}
	for _, p := range []struct {
		to  **sql.Stmt
		sql string
	}{
		{&s.transaction.begin, "BEGIN IMMEDIATE"},
		{&s.transaction.commit, "COMMIT"},
		{&s.transaction.rollback, "ROLLBACK"},
		{&s.batches.find, "SELECT content, answer FROM batches WHERE tenant = ? AND batch_id = ?"},
		{&s.batches.add, "INSERT INTO batches VALUES (?, ?, ?, ?, ?)"},
		{&s.events.revisions, `SELECT seq, revision, superseded_by IS NULL, kind, container_id, run_ns FROM events
			WHERE tenant = ? AND event_id = ?`},
		{&s.events.add, `INSERT INTO events (tenant, event_id, revision, superseded_by, when_ns, kind, namespace, container_id,
			identity, run_ns, folds, oom, received_ns, batch_id, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&s.events.supersede, "UPDATE events SET superseded_by = ? WHERE seq = ?"},
		{&s.runs.events, selectRunEvents},
		{&s.runs.lastEvent, selectLastEvent},
		{&s.runs.latest, selectLatestRun},
		{&s.containers.find, "SELECT 1 FROM containers WHERE tenant = ? AND container_id = ?"},
		{&s.runs.put, "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"},
		{&s.runs.drop, "DELETE FROM runs WHERE tenant = ? AND container_id = ? AND run_ns = ?"},
		{&s.containers.put, `INSERT INTO containers VALUES
			(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25)
			ON CONFLICT (tenant, container_id) DO UPDATE SET last_received_ns = ?5, engine = ?6, node = ?7, identity = ?8,
			name = ?9, namespace = ?10, pod = ?11, pod_uid = ?12, image_ref = ?13, image_digest = ?14, image_id = ?15,
			state = ?16, run_ns = ?17, finished_ns = ?18, exit_code = ?19, signal = ?20, reason = ?21, oom = ?22,
			restart_count = ?23, position_ns = ?24, last_event_ns = ?25`},
		{&s.loops.find, `SELECT body FROM events WHERE tenant = ? AND identity = ? AND superseded_by IS NULL
			AND kind IN ('CRASH_LOOP', 'CRASH_LOOP_END') ORDER BY when_ns DESC, kind DESC, event_id DESC LIMIT 1`},
		{&s.loops.put, "INSERT OR REPLACE INTO loops VALUES (?, ?, ?, ?, ?, ?)"},
		{&s.loops.drop, "DELETE FROM loops WHERE tenant = ? AND identity = ?"},
	} {
		stmt, err := conn.PrepareContext(ctx, p.sql) //nolint:sqlclosecheck // close does
		if err != nil {
			return nil, errors.Join(fmt.Errorf("prepare %q: %w", p.sql, err), s.close())
		}
		*p.to = stmt
		s.all = append(s.all, stmt)
	}
	return s, nil
}

func (s *statements) close() error {
	var errs []error
	for _, stmt := range s.all {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(errs...)
}
