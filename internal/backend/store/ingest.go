// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zastava-otel/zastava/internal/backend/projection"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// Record is an event and the JSON it came as.
type Record struct {
	Event backendapi.Event
	Body  []byte // one JSON object without white space around its members
}

var (
	// ErrBatchDone says that a batch of this id and content was stored before.
	ErrBatchDone = errors.New("this batch was stored before")
	// ErrBatchReused says that the batch id was used before for other events.
	ErrBatchReused = errors.New("this batch id was used before for other events")
)

// CodeIDConflict is the code of a rejected event whose id is known for another kind or container.
const CodeIDConflict = "id_conflict"

// Ingest stores a batch of tenant's events and what follows from them in one transaction, which is on disk when it
// returns. Errors: ErrBatchDone, ErrBatchReused, or that the database failed.
//
// The content of a batch is its event ids and revisions, in order. What else two sights of one event differ in (who saw
// it, when) is not another content: an observer that starts anew may well see the same things and batch them alike.
func (s *Store) Ingest(ctx context.Context, tenant, batchID string, records []Record) (backendapi.IngestResponse, error) {
	var out backendapi.IngestResponse
	err := s.inTransaction(ctx, func(ctx context.Context, st *statements) error {
		in := ingestion{statements: st, tenant: tenant, batchID: batchID, now: s.now().UnixNano(), touched: newTouched()}
		if err := in.claim(ctx, content(records)); err != nil {
			return err
		}
		for i := range records {
			if err := in.add(ctx, &records[i], &out); err != nil {
				return fmt.Errorf("store event %s: %w", records[i].Event.EventID, err)
			}
		}
		return in.project(ctx)
	})
	if err != nil {
		return backendapi.IngestResponse{}, fmt.Errorf("store batch %s: %w", batchID, err)
	}
	if out.Accepted > 0 {
		s.announce()
	}
	return out, nil
}

func content(records []Record) []byte {
	h := sha256.New()
	for i := range records {
		h.Write([]byte(records[i].Event.EventID))
		h.Write(binary.BigEndian.AppendUint32([]byte{0}, records[i].Event.Revision))
	}
	return h.Sum(nil)
}

// ingestion is one batch on its way into the database.
type ingestion struct {
	*statements
	tenant, batchID string
	now             int64
	touched         *touched
}

func (in *ingestion) claim(ctx context.Context, content []byte) error {
	var known []byte
	switch err := in.batch.QueryRowContext(ctx, in.tenant, in.batchID).Scan(&known); {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return fmt.Errorf("look the batch up: %w", err)
	case bytes.Equal(known, content):
		return ErrBatchDone
	default:
		return ErrBatchReused
	}
	if _, err := in.addBatch.ExecContext(ctx, in.tenant, in.batchID, content, in.now); err != nil {
		return fmt.Errorf("note the batch: %w", err)
	}
	return nil
}

// stored is a revision of an event that the database has.
type stored struct {
	seq      int64
	revision uint32
	latest   bool
	kind     string
	id       string // the container's
	run      int64
}

func (in *ingestion) add(ctx context.Context, rec *Record, out *backendapi.IngestResponse) error {
	e := &rec.Event
	var containerID, namespace string
	if e.Workload != nil {
		containerID, namespace = e.Workload.ContainerID, e.Workload.Namespace
	}
	known, err := in.known(ctx, e.EventID)
	if err != nil {
		return err
	}
	var latest *stored
	for i := range known {
		k := &known[i]
		if k.kind != string(e.Kind) || k.id != containerID {
			out.Rejected = append(out.Rejected, backendapi.Rejected{
				EventID: e.EventID, Code: CodeIDConflict,
				Detail: fmt.Sprintf("this id is known as %s of container %q", k.kind, k.id),
			})
			return nil
		}
		if k.revision == e.Revision {
			out.Duplicates++
			return nil
		}
		if k.latest {
			latest = k
		}
	}
	var supersededBy any
	if latest != nil && latest.revision > e.Revision {
		supersededBy = latest.seq
	}
	run := projection.RunKey(e)
	oom := e.Kind == backendapi.KindOOM || (e.Run != nil && e.Run.OOMKilled)
	res, err := in.addEvent.ExecContext(ctx, in.tenant, e.EventID, e.Revision, supersededBy, e.When.UnixNano(), string(e.Kind),
		namespace, containerID, projection.Identity(e.Workload), run, projection.Folds(e.Kind), oom, in.now, in.batchID, rec.Body)
	if err != nil {
		return err
	}
	seq, err := res.LastInsertId()
	if err != nil {
		return err
	}
	if latest != nil && supersededBy == nil {
		if _, err := in.supersede.ExecContext(ctx, seq, latest.seq); err != nil {
			return err
		}
		in.touched.note(containerID, latest.run, seq)
	}
	out.Accepted++
	if containerID == "" || supersededBy != nil {
		return nil
	}
	in.touched.note(containerID, run, seq)
	if e.Kind == backendapi.KindCrashLoop || e.Kind == backendapi.KindCrashLoopEnd {
		in.touched.loops[projection.Identity(e.Workload)] = struct{}{}
	}
	return nil
}

func (in *ingestion) known(ctx context.Context, eventID string) ([]stored, error) {
	rows, err := in.revisions.QueryContext(ctx, in.tenant, eventID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []stored
	for rows.Next() {
		var k stored
		if err := rows.Scan(&k.seq, &k.revision, &k.latest, &k.kind, &k.id, &k.run); err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, rows.Err()
}
