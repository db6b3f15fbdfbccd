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

// submission is a batch that wants to be stored, and what became of it.
type submission struct {
	tenant, batchID string
	records         []Record

	done     bool // guarded by Store.writing, as what follows
	out      backendapi.IngestResponse
	repeated bool
	err      error
}

// Ingest stores a batch of tenant's events and what follows from them in one transaction, which is on disk when it
// returns. A batch that was stored before changes nothing and gets the answer of then: a client that lost it learns all
// the same which events were rejected. Errors: ErrBatchDone, ErrBatchReused, or that the database failed.
//
// The content of a batch is its event ids and revisions, in order. What else two sights of one event differ in (who saw
// it, when) is not another content: an observer that starts anew may well see the same things and batch them alike.
//
// Batches that wait while another is being written go together into the next transaction: most of what a small one costs
// is waiting for the disk. They are as many as callers.
func (s *Store) Ingest(ctx context.Context, tenant, batchID string, records []Record) (out backendapi.IngestResponse, repeated bool, err error) {
	if err := ctx.Err(); err != nil {
		return out, false, err
	}
	own := &submission{tenant: tenant, batchID: batchID, records: records}
	s.queueing.Lock()
	s.waiting = append(s.waiting, own)
	s.queueing.Unlock()

	s.writing.Lock()
	defer s.writing.Unlock()
	if !own.done { // else who held the lock before took it along
		s.queueing.Lock()
		all := s.waiting
		s.waiting = nil
		s.queueing.Unlock()
		s.ingestAll(ctx, all)
	}
	if own.err != nil {
		return backendapi.IngestResponse{}, false, fmt.Errorf("store batch %s: %w", batchID, own.err)
	}
	return own.out, own.repeated, nil
}

// ingestAll stores batches in one transaction; should it fail, each in its own, so that none suffers for another.
func (s *Store) ingestAll(ctx context.Context, all []*submission) {
	err := s.ingestTogether(ctx, all)
	added := false
	for _, sub := range all {
		if err != nil && len(all) > 1 {
			_ = s.ingestTogether(ctx, []*submission{sub}) // its error is in sub
		}
		sub.done = true
		added = added || (sub.err == nil && sub.out.Accepted > 0 && !sub.repeated)
	}
	if added {
		s.announce()
	}
}

// ingestTogether stores batches in one transaction, and notes the error where that fails. A refused batch has written
// nothing when it is refused, so it does not keep the others from being stored.
func (s *Store) ingestTogether(ctx context.Context, all []*submission) error {
	err := s.transact(context.WithoutCancel(ctx), func(ctx context.Context, st *statements) error {
		for _, sub := range all {
			sub.out, sub.repeated, sub.err = backendapi.IngestResponse{}, false, nil
			if err := sub.store(ctx, st, s.now().UnixNano()); errors.Is(err, ErrBatchDone) || errors.Is(err, ErrBatchReused) {
				sub.err = err
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		for _, sub := range all {
			sub.err = err
		}
	}
	return err
}

// store writes the batch within a transaction.
func (sub *submission) store(ctx context.Context, st *statements, now int64) error {
	in := ingestion{
		statements: st, tenant: sub.tenant, batchID: sub.batchID, now: now,
		touched: newTouched(), arrived: map[int64]*backendapi.Event{},
	}
	sum := content(sub.records)
	answered, err := in.lookUp(ctx, sum, &sub.out)
	if err != nil || answered {
		sub.repeated = answered
		return err
	}
	for i := range sub.records {
		if err := in.add(ctx, &sub.records[i], &sub.out); err != nil {
			return fmt.Errorf("store event %s: %w", sub.records[i].Event.EventID, err)
		}
	}
	if err := in.project(ctx); err != nil {
		return err
	}
	return in.note(ctx, sum, &sub.out)
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
