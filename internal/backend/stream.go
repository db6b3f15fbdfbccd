// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/backend/store"
)

// streamStep bounds the events that a stream holds in memory at a time.
const streamStep = 200

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
	if !b.slots.streams.take() {
		b.metrics.dropped.Inc()
		problem.New(http.StatusServiceUnavailable, "busy", "Too many streams", "at most %d are served at a time", maxStreams).
			RetryAfter(retryBusy).Write(w)
		return
	}
	defer b.slots.streams.release()
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
	var message []byte
	for {
		changed := b.store.Changed()
		events, next, err := b.store.After(r.Context(), at, filter, streamStep)
		if err != nil {
			if r.Context().Err() != nil {
				return nil
			}
			return err
		}
		for i := range events {
			message = append(message[:0], "id: "...)
			message = strconv.AppendInt(message, events[i].Seq, 10)
			message = append(message, "\nevent: runtime\ndata: "...)
			message = events[i].AppendJSON(message)
			_, _ = out.Write(append(message, '\n', '\n'))
		}
		at = next
		facts.report(out)
		if err := out.flush(); err != nil {
			// A failed write ends the request's context too, so the context does not show which came first.
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return err
			}
			return nil
		}
		if len(events) == streamStep {
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
		_, s.err = s.w.Write(p)                              //nolint:gosec // sent as text/event-stream with nosniff, never as a page
	}
	return len(p), s.err
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
