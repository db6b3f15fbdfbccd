// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/store"
)

// streamStep and streamBytes bound the events that a stream holds in memory at a time: it reads the next ones once the client has these.
const (
	streamStep  = 200
	streamBytes = 256 << 10 // and one event
)

// streamEvents follows the events by resumable reads of the store: there is no queue per client that could overflow, and a
// client that does not read delays no other. It costs one query per client and commit.
func (b *Backend) streamEvents(w http.ResponseWriter, r *http.Request) {
	p, tenant, fault := newParams(r)
	if fault != nil {
		fault.Write(w)
		return
	}
	filter := p.eventFilter(tenant)
	from := p.lastEventID(r)
	facts := p.oneOf("facts", "true", "false") == "true"
	if fault := p.problem(); fault != nil {
		fault.Write(w)
		return
	}
	leave, fault := enter(r.Context(), b.places.streams, readerOf(r), "streams")
	if fault != nil {
		b.metrics.dropped.Inc()
		b.refuse(w, fault)
		return
	}
	defer leave()
	last, pruned, err := b.store.Bounds(r.Context())
	if err != nil {
		b.queryFailed(w, r, err)
		return
	}
	b.metrics.streams.Inc()
	defer b.metrics.streams.Dec()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // proxies that know it pass messages on at once
	if answer, ok := w.(*answerWriter); ok {
		answer.endless = true // it has a deadline for each message
	}
	out := &stream{w: w, rc: http.NewResponseController(w), timeout: b.opts.WriteTimeout}
	fmt.Fprint(out, "retry: 1000\n\n")
	at := last
	if from != nil {
		at = *from
		if at < pruned || at > last {
			fmt.Fprintf(out, "event: truncated\ndata: {\"after\":%d,\"resumedAfter\":%d}\n\n", at, max(pruned, min(at, last)))
			at = max(pruned, min(at, last))
		}
	}
	var follower *factFollower
	if facts {
		follower = &factFollower{store: b.store, tenant: tenant, at: b.store.FactsStored()}
	}
	if err := b.follow(r, out, at, filter, follower); err != nil {
		b.metrics.dropped.Inc()
		b.log.Info("A stream was ended; its client can resume", "error", err)
	}
}

// follow writes events until the client is gone, the backend stops (both nil), the client does not read or the store fails.
func (b *Backend) follow(r *http.Request, out *stream, at int64, filter store.EventFilter, facts *factFollower) error {
	heartbeat := time.NewTicker(b.opts.Heartbeat)
	defer heartbeat.Stop()
	for {
		changed := b.store.Changed()
		next, more, err := b.sendAfter(r, out, at, filter)
		if err != nil || r.Context().Err() != nil {
			return clientFault(r, err)
		}
		at = next
		facts.report(out)
		if err := out.flush(); err != nil {
			return clientFault(r, err)
		}
		if more {
			select {
			case <-b.stop:
				return nil
			default:
				continue
			}
		}
		select {
		case <-changed:
		case <-heartbeat.C:
			fmt.Fprint(out, ": still here\n\n")
		case <-r.Context().Done():
			return nil
		case <-b.stop:
			return nil
		}
	}
}

// sendAfter sends the next events after at. next is where to continue; more reports that it should be at once.
func (b *Backend) sendAfter(r *http.Request, out *stream, at int64, filter store.EventFilter) (next int64, more bool, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), b.opts.RequestTimeout)
	defer cancel()
	events, next, more, err := b.store.After(ctx, at, filter, streamStep, streamBytes)
	if err != nil {
		return 0, false, err
	}
	for i := range events {
		if err := out.send(&events[i]); err != nil {
			return 0, false, err
		}
		events[i].Body = nil
	}
	return next, more, nil
}

// clientFault returns the fault of a stream that its client must learn from the log: it did not read, or the store failed. A failed
// write ends the request's context too, so the context does not show which came first.
func clientFault(r *http.Request, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || r.Context().Err() == nil {
		return err
	}
	return nil
}

// factFollower reports to a stream which subjects facts were stored for. Facts have no place in the order of events, so its
// messages have no id: a client that resumes asks for the facts again. A nil follower reports nothing.
type factFollower struct {
	store  *store.Store
	tenant string
	at     int64
}

func (f *factFollower) report(out *stream) {
	if f == nil {
		return
	}
	subjects, all, now := f.store.FactsSince(f.at, f.tenant)
	f.at = now
	if all {
		fmt.Fprint(out, "event: facts\ndata: {}\n\n")
	}
	for _, s := range subjects {
		data, err := json.Marshal(struct {
			SubjectKey string `json:"subjectKey"`
		}{s})
		if err == nil { // a string always encodes
			fmt.Fprintf(out, "event: facts\ndata: %s\n\n", data)
		}
	}
}

// stream writes with a deadline and keeps its first error.
type stream struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	err     error
}

func (s *stream) Write(p []byte) (int, error) {
	if s.err == nil {
		_ = s.rc.SetWriteDeadline(time.Now().Add(s.timeout)) // not supported only where there is no connection
		_, s.err = s.w.Write(p)
	}
	return len(p), s.err
}

// send writes one event as a message, which the client must read within the timeout, without a copy of its body.
func (s *stream) send(e *store.Arrived) error {
	if s.err == nil {
		_ = s.rc.SetWriteDeadline(time.Now().Add(s.timeout))
		if _, s.err = fmt.Fprintf(s.w, "id: %d\nevent: runtime\ndata: ", e.Seq); s.err == nil { //nolint:gosec // a number, in a stream of events
			if _, s.err = e.WriteTo(s.w); s.err == nil {
				_, s.err = io.WriteString(s.w, "\n\n")
			}
		}
	}
	return s.err
}

func (s *stream) flush() error {
	if s.err == nil {
		_ = s.rc.SetWriteDeadline(time.Now().Add(s.timeout))
		s.err = s.rc.Flush()
	}
	return s.err
}

// lastEventID returns where to resume: the header that browsers send when they reconnect, else the parameter; nil means now.
func (p *params) lastEventID(r *http.Request) *int64 {
	name, v := "lastEventId", p.text("lastEventId")
	if h := r.Header.Get("Last-Event-ID"); h != "" {
		name, v = "Last-Event-ID", h
	}
	if v == "" {
		return nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		p.bad(name, "must be the id of a message of this stream")
		return nil
	}
	return &n
}
