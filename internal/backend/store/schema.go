// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"fmt"
)

// migrations bring a database from user_version i to i+1. A published one is never changed; a new one is appended.
//
// Times are nanoseconds since 1970. events.seq is the order of arrival and never reused. A revision was the latest one at the
// moment when seq was the highest if its superseded_by is null or higher than that seq: so all pages of a query show the same
// moment. events.folds marks the events that a state is derived from. containers, runs and loops are derived from events and hold
// nothing else.
var migrations = []string{
	`
CREATE TABLE batches (
	tenant      TEXT NOT NULL,
	batch_id    TEXT NOT NULL,
	content     BLOB NOT NULL,
	received_ns INTEGER NOT NULL,
	PRIMARY KEY (tenant, batch_id)
) WITHOUT ROWID;

CREATE TABLE events (
	seq           INTEGER PRIMARY KEY AUTOINCREMENT,
	tenant        TEXT NOT NULL,
	event_id      TEXT NOT NULL,
	revision      INTEGER NOT NULL,
	superseded_by INTEGER,
	when_ns       INTEGER NOT NULL,
	kind          TEXT NOT NULL,
	namespace     TEXT NOT NULL,
	container_id  TEXT NOT NULL,
	identity      TEXT NOT NULL,
	run_ns        INTEGER NOT NULL,
	folds         INTEGER NOT NULL,
	oom           INTEGER NOT NULL,
	received_ns   INTEGER NOT NULL,
	batch_id      TEXT NOT NULL,
	body          BLOB NOT NULL
);
CREATE UNIQUE INDEX events_id ON events (tenant, event_id, revision);
CREATE INDEX events_when ON events (when_ns, seq);
CREATE INDEX events_container ON events (container_id, run_ns, when_ns);
CREATE INDEX events_loop ON events (tenant, identity, when_ns) WHERE kind IN ('CRASH_LOOP', 'CRASH_LOOP_END');
CREATE INDEX events_oom ON events (when_ns) WHERE oom = 1;

CREATE TABLE containers (
	tenant           TEXT NOT NULL,
	container_id     TEXT NOT NULL,
	bare_id          TEXT NOT NULL,
	first_seq        INTEGER NOT NULL,
	last_received_ns INTEGER NOT NULL,
	engine           TEXT NOT NULL,
	node             TEXT NOT NULL,
	identity         TEXT NOT NULL,
	name             TEXT NOT NULL,
	namespace        TEXT NOT NULL,
	pod              TEXT NOT NULL,
	pod_uid          TEXT NOT NULL,
	image_ref        TEXT NOT NULL,
	image_digest     TEXT NOT NULL,
	image_id         TEXT NOT NULL,
	state            TEXT NOT NULL,
	run_ns           INTEGER NOT NULL,
	finished_ns      INTEGER,
	exit_code        INTEGER,
	signal           TEXT NOT NULL,
	reason           TEXT NOT NULL,
	oom              INTEGER NOT NULL,
	restart_count    INTEGER,
	position_ns      INTEGER NOT NULL,
	last_event_ns    INTEGER NOT NULL,
	PRIMARY KEY (tenant, container_id)
) WITHOUT ROWID;
CREATE INDEX containers_bare ON containers (bare_id);
CREATE INDEX containers_first ON containers (first_seq);
CREATE INDEX containers_identity ON containers (tenant, identity, position_ns, container_id);

CREATE TABLE runs (
	tenant        TEXT NOT NULL,
	container_id  TEXT NOT NULL,
	run_ns        INTEGER NOT NULL,
	identity      TEXT NOT NULL,
	ended         INTEGER NOT NULL,
	finished_ns   INTEGER NOT NULL,
	exit_code     INTEGER,
	signal        TEXT NOT NULL,
	reason        TEXT NOT NULL,
	oom           INTEGER NOT NULL,
	restart_count INTEGER,
	PRIMARY KEY (tenant, container_id, run_ns)
) WITHOUT ROWID;
CREATE INDEX runs_identity ON runs (tenant, identity, ended, finished_ns);

CREATE TABLE loops (
	tenant    TEXT NOT NULL,
	identity  TEXT NOT NULL,
	since_ns  INTEGER NOT NULL,
	failures  INTEGER,
	exit_code INTEGER,
	reason    TEXT NOT NULL,
	PRIMARY KEY (tenant, identity)
) WITHOUT ROWID;

CREATE TABLE pruned (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL);
INSERT INTO pruned VALUES (1, 0);
`,
	// The answer to a batch, for its repeats; null for batches stored before this column existed.
	`ALTER TABLE batches ADD COLUMN answer BLOB`,
	migrationFacts,
	// A query that groups or sorts in the order of an index holds one row at a time, however many there are and however large. The
	// others find what was received first.
	`
DROP INDEX facts_container;
CREATE INDEX facts_container ON facts (container_id, subject, tenant, callgraph_id, symbol_id, code_id);
CREATE INDEX events_tenant ON events (tenant, when_ns);
CREATE INDEX containers_image ON containers (image_ref, image_digest, image_id);
CREATE INDEX batches_received ON batches (received_ns);
CREATE INDEX fact_requests_received ON fact_requests (received_ns);
`,
}

func migrate(ctx context.Context, conn *sql.Conn, path string) error {
	var have int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return fmt.Errorf("read the schema version of %s: %w", path, err)
	}
	if have > len(migrations) {
		return fmt.Errorf("%s was written by a newer release (schema %d, this one supports up to %d): use that release, or another --db",
			path, have, len(migrations))
	}
	for v := have; v < len(migrations); v++ {
		step := fmt.Sprintf("BEGIN IMMEDIATE; %s; PRAGMA user_version = %d; COMMIT", migrations[v], v+1)
		if _, err := conn.ExecContext(ctx, step); err != nil {
			_, _ = conn.ExecContext(ctx, "ROLLBACK") // fails if the step could not begin
			return fmt.Errorf("migrate %s to schema %d: %w", path, v+1, err)
		}
	}
	return nil
}
