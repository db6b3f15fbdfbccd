// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package replay sends quarantined events and facts again after the cause of their refusal is fixed.
//
// It promises: an event is removed from its file only after the backend has it. Events keep their ids, so the backend stores an event
// once even if it is sent twice, and a replay can be interrupted and started again at any time. The same applies to facts by the id
// of the request: one file yields the same requests as long as the limits of a batch are the same. A replay may run while the exporter
// writes to the same directory.
//
// It refuses to process a file that another replay has claimed.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/quarantine"
)

// A file is claimed by renaming it, so that a writer finds it missing and creates a new one.
const (
	claimed = ".replay"
	scratch = ".tmp"
)

// Summary counts the results of a replay.
type Summary struct {
	Files      int // files read
	Stored     int // events that the backend stored
	Facts      int // facts that the backend stored now or before
	Duplicates int // events that the backend had stored before
	Refused    int // refused again; still in their files
	Unsent     int // not sent because the backend is unreachable or accepts nothing; still in their files
	Unreadable int // lines without a quarantined event; still in their files
	Torn       int // torn ends of files; removed, as they were never counted as quarantined
}

// Remaining returns the number of lines that are still in the files.
func (s Summary) Remaining() int { return s.Refused + s.Unsent + s.Unreadable }

func (s Summary) String() string {
	return fmt.Sprintf("%d files: %d events stored, %d known before, %d facts stored, %d refused again, %d not sent, %d lines unreadable, %d torn",
		s.Files, s.Stored, s.Duplicates, s.Facts, s.Refused, s.Unsent, s.Unreadable, s.Torn)
}

// Run sends the content of paths, which are files or directories of a quarantine. If an error stops it, the summary is still valid.
func Run(ctx context.Context, sender *Sender, log *slog.Logger, paths []string) (Summary, error) {
	r := &run{ctx: ctx, sender: sender, log: log}
	var faults []error
	files, err := list(paths)
	if err != nil {
		return r.sum, err
	}
	for _, name := range files {
		if err := r.file(name); err != nil {
			faults = append(faults, err)
		}
	}
	return r.sum, errors.Join(append(faults, r.stopped[:]...)...)
}

func list(paths []string) ([]string, error) {
	var files []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
		if !info.IsDir() {
			files = append(files, p)
			continue
		}
		names, err := quarantine.Files(p)
		if err != nil {
			return nil, err
		}
		facts, err := quarantine.Files(filepath.Join(p, quarantine.FactsDirectory))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, name := range append(names, facts...) {
			if !strings.HasSuffix(name, scratch) {
				files = append(files, name)
			}
		}
	}
	return files, nil
}

// run is one replay.
type run struct {
	ctx     context.Context //nolint:containedctx // of one call of Run
	sender  *Sender
	log     *slog.Logger
	sum     Summary
	stopped [2]error // the error after which no more events [0] or facts [1] are sent

	batch batch
	spans []span // the positions of batch.items in the file
	rest  []span // what stays in the file, in order
}

// add adds a line to the batch and sends the batch first if it is full.
func (r *run) add(name string, l quarantine.Line) {
	about, fact, err := (*about)(nil), []byte(nil), l.Err
	if err == nil && l.Entry.Schema == backendapi.FactSchemaVersion {
		about, fact, err = factOf(l.Entry.Envelope)
	}
	if err != nil {
		r.send() // to keep the rest in order
		r.sum.Unreadable++
		r.keep(span{l.From, l.To})
		r.log.Error("Decoding a line failed; it stays in the file", "file", name, "offset", l.From, "error", err)
		return
	}
	if about != nil {
		l.Entry.Envelope = fact
	}
	if len(r.batch.items) > 0 && (len(r.batch.items) >= r.sender.MaxEvents || r.batch.size+len(l.Entry.Envelope)+1 > r.sender.MaxBytes || !about.same(r.batch.about)) {
		r.send()
	}
	r.batch.about = about
	r.batch.add(l.Entry)
	r.spans = append(r.spans, span{l.From, l.To})
}

// send delivers the batch and keeps what was not delivered.
func (r *run) send() {
	var outcomes []outcome
	if n := len(r.batch.items); n > 0 {
		outcomes = make([]outcome, n)
		stopped := &r.stopped[0]
		if r.batch.about != nil {
			stopped = &r.stopped[1]
		}
		if *stopped == nil {
			*stopped = r.sender.deliver(r.ctx, r.batch.about, r.batch.items, outcomes)
		}
	}
	for i, o := range outcomes {
		switch o.verdict {
		case stored, duplicate:
			switch {
			case r.batch.about != nil:
				r.sum.Facts++
			case o.verdict == stored:
				r.sum.Stored++
			default:
				r.sum.Duplicates++
			}
			continue
		case refused:
			r.sum.Refused++
			r.log.Error("The backend refused it again", "eventId", r.batch.items[i].EventID, "reason", o.reason)
		default:
			r.sum.Unsent++
		}
		r.keep(r.spans[i])
	}
	r.batch.clear()
	r.spans = r.spans[:0]
}

func (r *run) keep(s span) {
	if last := len(r.rest) - 1; last >= 0 && r.rest[last].to == s.from {
		r.rest[last].to = s.to
		return
	}
	r.rest = append(r.rest, s)
}

// batch is events, or facts about one subject, that are sent together.
type batch struct {
	about *about // the subject of facts; nil for events
	items []quarantine.Entry
	size  int // of the body, in bytes
}

func (b *batch) add(e quarantine.Entry) {
	if len(b.items) == 0 {
		b.size = len(encode(nil, batchID(nil)))
	}
	b.items, b.size = append(b.items, e), b.size+len(e.Envelope)+1
}

func (b *batch) clear() {
	clear(b.items)
	b.items = b.items[:0]
}

// encode returns the body of a request.
func encode(items []quarantine.Entry, id string) []byte {
	body := backendapi.AppendBatchHead(nil, id)
	for i := range items {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, items[i].Envelope...)
	}
	return append(body, backendapi.BatchTail...)
}

// batchID derives the id from the events, as the exporter does.
func batchID(items []quarantine.Entry) string {
	var keys []byte
	for i := range items {
		keys = backendapi.AppendBatchKey(keys, items[i].EventID, items[i].Revision)
	}
	return backendapi.BatchIDOfKeys(keys)
}
