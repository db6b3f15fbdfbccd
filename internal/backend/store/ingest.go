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

	"github.com/zastava-otel/zastava/internal/backend/projection"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// Record is an event and the JSON it came as.
type Record struct {
	Event backendapi.Event
	Body  []byte // one JSON object without white space around its members
}

var (
	// ErrBatchDone says that a batch of this id and content was stored before, by a release that kept no answers.
	ErrBatchDone = errors.New("this batch was stored before")
	// ErrBatchReused says that the batch id was used before for other events.
	ErrBatchReused = errors.New("this batch id was used before for other events")
)

// CodeIDConflict is the code of a rejected event whose id is known for another kind or container.
const CodeIDConflict = "id_conflict"

// Ingest stores a batch of tenant's events and what follows from them in one transaction, which is on disk when it
// returns. A batch that was stored before changes nothing and gets the answer of then: a client that lost it learns all
// the same which events were rejected. Errors: ErrBatchDone, ErrBatchReused, or that the database failed.
//
// The content of a batch is its event ids and revisions, in order. What else two sights of one event differ in (who saw
// it, when) is not another content: an observer that starts anew may well see the same things and batch them alike.
func (s *Store) Ingest(ctx context.Context, tenant, batchID string, records []Record) (out backendapi.IngestResponse, repeated bool, err error) {
	err = s.inTransaction(ctx, func(ctx context.Context, st *statements) error {
		in := ingestion{statements: st, tenant: tenant, batchID: batchID, now: s.now().UnixNano(), touched: newTouched(), arrived: map[int64]*backendapi.Event{}}
		sum := content(records)
		answered, err := in.lookUp(ctx, sum, &out)
		if err != nil || answered {
			repeated = answered
			return err
		}
		for i := range records {
			if err := in.add(ctx, &records[i], &out); err != nil {
				return fmt.Errorf("store event %s: %w", records[i].Event.EventID, err)
			}
		}
		if err := in.project(ctx); err != nil {
			return err
		}
		return in.note(ctx, sum, &out)
	})
	if err != nil {
		return backendapi.IngestResponse{}, false, fmt.Errorf("store batch %s: %w", batchID, err)
	}
	if out.Accepted > 0 && !repeated {
		s.announce()
	}
	return out, repeated, nil
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
	arrived         map[int64]*backendapi.Event // the events of this batch by seq: they need not be read back
}

// lookUp finds the batch among those stored before. True: it was, and out is what was answered.
func (in *ingestion) lookUp(ctx context.Context, content []byte, out *backendapi.IngestResponse) (bool, error) {
	var known, answer []byte
	switch err := in.batch.QueryRowContext(ctx, in.tenant, in.batchID).Scan(&known, &answer); {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look the batch up: %w", err)
	case !bytes.Equal(known, content):
		return false, ErrBatchReused
	case answer == nil:
		return false, ErrBatchDone
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return false, fmt.Errorf("read what the batch was answered with: %w", err)
	}
	return true, nil
}

// note keeps the batch's id with what it is about to be answered with.
func (in *ingestion) note(ctx context.Context, content []byte, out *backendapi.IngestResponse) error {
	answer, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("note the answer: %w", err)
	}
	if _, err := in.addBatch.ExecContext(ctx, in.tenant, in.batchID, content, in.now, answer); err != nil {
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
		in.touched.note(containerID, latest.run, seq).superseded = true
	}
	in.arrived[seq] = e
	out.Accepted++
	if containerID == "" || supersededBy != nil {
		return nil
	}
	c := in.touched.note(containerID, run, seq)
	c.events = append(c.events, e)
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
