// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package replay sends quarantined events and facts again, once what made the backend refuse them is mended.
//
// What it promises: an event leaves its file only after the backend has it. Events keep their ids, so sending one twice
// stores it once, and replay may be ended at any moment and begun again. The same holds for facts, by the id of the request: the same
// file makes the same requests as long as the limits of a batch are the same. It may run while the exporter writes into the same
// directory. What it refuses: to run twice over the same files at a time.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/quarantine"
)

// A file is claimed by renaming it, so that whoever appends to it finds it gone and begins another.
const (
	claimed = ".replay"
	scratch = ".tmp"
)

// Summary is what became of the events and facts.
type Summary struct {
	Files      int // read
	Stored     int // the backend has them now; facts are not among them
	Facts      int // the backend has them now, or had them before
	Duplicates int // the backend had them before
	Refused    int // refused again; still in their files
	Unsent     int // not sent because the backend could not be reached or takes nothing; still in their files
	Unreadable int // lines that are no quarantined event; still in their files
	Torn       int // ends of files that a crash tore; dropped, they never counted as quarantined
}

// Remaining is how many lines the files still have.
func (s Summary) Remaining() int { return s.Refused + s.Unsent + s.Unreadable }

func (s Summary) String() string {
	return fmt.Sprintf("%d files: %d events stored, %d known before, %d facts stored, %d refused again, %d not sent, %d lines unreadable, %d torn",
		s.Files, s.Stored, s.Duplicates, s.Facts, s.Refused, s.Unsent, s.Unreadable, s.Torn)
}

// Run sends what is in files, and in the quarantines that are directories. The error tells what stopped it; the summary
// is good with it.
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
	stopped [2]error // why nothing is sent any more: no events, no facts

	batch batch
	spans []stretch // where the events of batch are in their file
	rest  []stretch // what stays in the file, in order
}

// stretch is a stretch of a file.
type stretch struct{ from, to int64 }

// file sends what is in one file and leaves the rest in it.
func (r *run) file(name string) error {
	original := strings.TrimSuffix(name, claimed) // a replay that was killed left its claim
	claim := original + claimed
	if name != claim {
		if _, err := os.Lstat(claim); err == nil { // to rename would put one in the place of the other
			return fmt.Errorf("replay %s: there is %s too, which another replay has left or is at: run again, or move one of them away", name, claim)
		}
		switch err := os.Rename(name, claim); {
		case errors.Is(err, fs.ErrNotExist):
			return nil // evicted meanwhile
		case err != nil:
			return fmt.Errorf("claim %s for replay: %w", name, err)
		}
	}
	f, err := os.Open(claim)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	defer f.Close()
	r.sum.Files++
	r.rest = r.rest[:0]
	before := r.sum
	torn, err := quarantine.Read(f, func(l quarantine.Line) error {
		r.take(name, l)
		return nil
	})
	r.send()
	if err != nil {
		return fmt.Errorf("%s: %w; it stays as it is, as %s", name, err, claim)
	}
	if torn {
		r.sum.Torn++
	}
	changed := torn || r.sum.Stored != before.Stored || r.sum.Duplicates != before.Duplicates || r.sum.Facts != before.Facts
	if err := r.leave(f, claim, original, changed); err != nil {
		return fmt.Errorf("keep what remains of %s: %w; all of it is still in %s", name, err, claim)
	}
	return nil
}

// leave makes original hold the rest of claim, and removes claim.
func (r *run) leave(f *os.File, claim, original string, changed bool) error {
	if len(r.rest) == 0 {
		_ = f.Close() // before removing, as Windows asks for
		return os.Remove(claim)
	}
	if changed {
		if err := copyRest(f, claim+scratch, r.rest); err != nil {
			_ = os.Remove(claim + scratch)
			return err
		}
	}
	_ = f.Close()
	if changed {
		if err := os.Rename(claim+scratch, claim); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(original); err == nil {
		return nil // someone made a file of that name; the claim is found by the next replay
	}
	return os.Rename(claim, original)
}

func copyRest(from *os.File, name string, rest []stretch) error {
	to, err := os.OpenFile(filepath.Clean(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	for _, s := range rest {
		if err == nil {
			_, err = io.Copy(to, io.NewSectionReader(from, s.from, s.to-s.from))
		}
	}
	if err == nil {
		err = to.Sync()
	}
	return errors.Join(err, to.Close())
}

// take adds a line to the batch, and sends the batch when it is full.
func (r *run) take(name string, l quarantine.Line) {
	about, fact, err := (*about)(nil), []byte(nil), l.Err
	if err == nil && l.Entry.Schema == backendapi.FactSchemaVersion {
		about, fact, err = factOf(l.Entry.Envelope)
	}
	if err != nil {
		r.send() // the rest is kept in order
		r.sum.Unreadable++
		r.keep(stretch{l.From, l.To})
		r.log.Error("A line cannot be read; it stays", "file", name, "offset", l.From, "error", err)
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
	r.spans = append(r.spans, stretch{l.From, l.To})
}

// send delivers the batch and keeps what is not delivered.
func (r *run) send() {
	var left []outcome
	if n := len(r.batch.items); n > 0 {
		left = make([]outcome, n)
		stopped := &r.stopped[0]
		if r.batch.about != nil {
			stopped = &r.stopped[1]
		}
		if *stopped == nil {
			*stopped = r.sender.deliver(r.ctx, r.batch.about, r.batch.items, left)
		}
	}
	for i, o := range left {
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
			r.log.Error("Refused again", "eventId", r.batch.items[i].EventID, "reason", o.reason)
		default:
			r.sum.Unsent++
		}
		r.keep(r.spans[i])
	}
	r.batch.clear()
	r.spans = r.spans[:0]
}

func (r *run) keep(s stretch) {
	if last := len(r.rest) - 1; last >= 0 && r.rest[last].to == s.from {
		r.rest[last].to = s.to
		return
	}
	r.rest = append(r.rest, s)
}

// batch is events, or facts about one thing, to be sent together.
type batch struct {
	about *about // of facts; nil: these are events
	items []quarantine.Entry
	size  int // bytes of the body they make
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

// encode makes a request's body.
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

// batchID follows from the events, as the exporter's do.
func batchID(items []quarantine.Entry) string {
	var keys []byte
	for i := range items {
		keys = backendapi.AppendBatchKey(keys, items[i].EventID, items[i].Revision)
	}
	return backendapi.BatchIDOfKeys(keys)
}
