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
	"slices"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// Record is an event and the JSON it came as.
type Record struct {
	Event backendapi.Event
	Body  []byte // one JSON object without white space around its members
}

var (
	// ErrBatchDone means that a batch with this id and content was stored before, by a release that kept no answers.
	ErrBatchDone = errors.New("this batch was stored before")
	// ErrBatchReused means that the batch id was used before for other events.
	ErrBatchReused = errors.New("this batch id was used before for other events")
)

// CodeIDConflict is the code of a rejected event whose id is known for another kind or container.
const CodeIDConflict = "id_conflict"

// submission is a batch that waits to be stored, and its outcome.
type submission struct {
	ctx             context.Context //nolint:containedctx // of the caller: who is gone when the transaction begins is left out
	tenant, batchID string
	records         []Record

	done     bool // Store.writing guards this field and those below
	out      backendapi.IngestResponse
	repeated bool
	err      error
}

// Ingest stores a batch of a tenant's events and the state derived from them in one transaction, which is on disk when it
// returns. A batch that was stored before changes nothing and returns the first answer (repeated): a client that lost it still
// learns which events were rejected. Errors: ErrBatchDone, ErrBatchReused, or a failure of the database.
//
// The content of a batch is its event ids and revisions, in order. Other differences between two reports of an event (who
// observed it, when) do not count: an observer that restarts may report the same events in the same batches.
//
// Batches that wait while another one is written share the next transaction: most of the cost of a small one is waiting for the
// disk. There are at most as many as callers.
func (s *Store) Ingest(ctx context.Context, tenant, batchID string, records []Record) (out backendapi.IngestResponse, repeated bool, err error) {
	if err := ctx.Err(); err != nil {
		return out, false, err
	}
	own := &submission{ctx: ctx, tenant: tenant, batchID: batchID, records: records}
	s.queueing.Lock()
	s.waiting = append(s.waiting, own)
	s.queueing.Unlock()

	s.writing.Lock()
	defer s.writing.Unlock()
	if !own.done { // otherwise the previous holder of the lock stored it too
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

// ingestAll stores batches in one transaction; if it fails, each in its own, so that one cannot make another fail.
func (s *Store) ingestAll(ctx context.Context, all []*submission) {
	all = slices.DeleteFunc(all, func(sub *submission) bool {
		sub.err = sub.ctx.Err()
		sub.done = sub.err != nil
		return sub.done
	})
	if len(all) == 0 {
		return
	}
	var err error
	alone := s.space != nil && !s.space.shares
	if !alone {
		err = s.ingestTogether(ctx, all)
	}
	added := false
	for _, sub := range all {
		if alone || (err != nil && len(all) > 1) {
			_ = s.ingestTogether(ctx, []*submission{sub}) // sub holds its error
		}
		sub.done = true
		added = added || (sub.err == nil && sub.out.Accepted > 0 && !sub.repeated)
	}
	if added {
		s.announce()
	}
}

// ingestTogether stores batches in one transaction and sets the error of each if that fails. A batch is refused before it has
// written anything, so the others are stored.
func (s *Store) ingestTogether(ctx context.Context, all []*submission) error {
	var size int64
	for _, sub := range all {
		for i := range sub.records {
			size += int64(len(sub.records[i].Body))
		}
	}
	err := s.makeRoom(ctx, size)
	if err == nil {
		err = s.asFull(s.storeAll(ctx, all))
	}
	for _, sub := range all {
		if err != nil {
			sub.err = err
		}
	}
	return err
}

// storeAll stores batches within a transaction.
func (s *Store) storeAll(ctx context.Context, all []*submission) error {
	return s.transact(context.WithoutCancel(ctx), func(ctx context.Context, st *statements) error {
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
}

// store writes the batch within a transaction.
func (sub *submission) store(ctx context.Context, st *statements, now int64) error {
	in := ingestion{
		statements: st, tenant: sub.tenant, batchID: sub.batchID, now: now,
		touched: newTouched(), arrived: map[int64]*backendapi.Event{},
	}
	sum := content(sub.records)
	answered, err := in.findBatch(ctx, sum, &sub.out)
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
	return in.addAnswer(ctx, sum, &sub.out)
}

func content(records []Record) []byte {
	h := sha256.New()
	for i := range records {
		h.Write([]byte(records[i].Event.EventID))
		h.Write(binary.BigEndian.AppendUint32([]byte{0}, records[i].Event.Revision))
	}
	return h.Sum(nil)
}

// ingestion is one batch that is being stored.
type ingestion struct {
	*statements
	tenant, batchID string
	now             int64
	touched         *touched
	arrived         map[int64]*backendapi.Event // the events of this batch by seq, so that they are not read back
}

// findBatch reports whether the batch was stored before, and sets out to its answer.
func (in *ingestion) findBatch(ctx context.Context, content []byte, out *backendapi.IngestResponse) (bool, error) {
	var known, answer []byte
	switch err := in.batches.find.QueryRowContext(ctx, in.tenant, in.batchID).Scan(&known, &answer); {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("find the batch: %w", err)
	case !bytes.Equal(known, content):
		return false, ErrBatchReused
	case answer == nil:
		return false, ErrBatchDone
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return false, fmt.Errorf("decode the answer of the batch: %w", err)
	}
	return true, nil
}

// addAnswer stores the batch's id with its answer.
func (in *ingestion) addAnswer(ctx context.Context, content []byte, out *backendapi.IngestResponse) error {
	answer, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	if _, err := in.batches.add.ExecContext(ctx, in.tenant, in.batchID, content, in.now, answer); err != nil {
		return fmt.Errorf("store the batch's answer: %w", err)
	}
	return nil
}
