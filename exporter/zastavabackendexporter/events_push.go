// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/delivery"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/credentials"
)

// eventSender sends events. It is the destination of their lane.
type eventSender struct {
	*connection

	url        string
	shownURL   string // without credentials
	core       bool   // event_kinds: core
	limit      byteLimit
	payloads   sync.Pool         // of *payload
	quarantine *quarantineWriter // nil if none is configured
}

var _ delivery.Destination = (*eventSender)(nil)

func newEventSender(c *connection) (*eventSender, error) {
	target, err := c.config.eventsURL()
	if err != nil {
		return nil, err
	}
	return &eventSender{
		connection: c,
		url:        target.String(),
		shownURL:   credentials.Show(target),
		core:       c.config.EventKinds == eventKindsCore,
		limit:      byteLimit{configured: c.config.MaxBatchBytes, now: time.Now},
		quarantine: newQuarantineWriter(c.config.Quarantine, c.logger),
	}, nil
}

// maxPooledBytes keeps one huge push from holding its memory permanently.
const maxPooledBytes = 8 << 20

// payload returns the events of logs; pass it to putBack afterwards.
func (e *eventSender) payload(logs plog.Logs) *payload {
	p, ok := e.payloads.Get().(*payload)
	if !ok {
		p = new(payload)
	}
	e.convert(p, logs)
	return p
}

func (e *eventSender) putBack(p *payload) {
	if cap(p.json) <= maxPooledBytes {
		e.payloads.Put(p)
	}
}

// Push delivers the events in logs. When it returns, events that no retry can deliver are in quarantine, if there is one.
// Errors: consumererror.Logs with what is to be pushed again; permanent where refused events were lost and nothing remains to be
// pushed.
func (e *eventSender) Push(ctx context.Context, logs plog.Logs) error {
	p := e.payload(logs)
	defer e.putBack(p)
	e.countConverted(ctx, p) // the rest of a partial success does not contain these records, so they are counted once

	done, refused, err := e.deliver(ctx, p)
	refusals := e.settle(ctx, p, refused)
	switch {
	case err != nil:
		if len(refusals) > 0 { // this error cannot carry both
			e.logger.Error("The backend refuses events permanently; dropped", zap.Errors("refused", refusals))
		}
		return consumererror.NewLogs(err, delivery.Select(logs, p.positions(done)))
	case len(refusals) > 0:
		return consumererror.NewPermanent(errors.Join(refusals...))
	}
	return nil
}

// deliver sends the items of p in order. It stops at the first answer that asks for a retry and returns how many items were
// settled before: stored, or refused permanently.
func (e *eventSender) deliver(ctx context.Context, p *payload) (done int, refusals []refusal, err error) {
	// todo holds the unsettled items, in order and without gaps. The parts of a span that is split go back to the front, so that
	// the order is kept and the number of settled items says which they are.
	todo := p.cut(nil, span{0, len(p.items)}, e.config.MaxBatchEvents, e.limit.get())
	var asked map[span]bool // halves of a batch that was stored before
	for len(todo) > 0 {
		s := todo[0]
		single := s.to-s.from == 1
		a := e.send(ctx, p, s)
		switch {
		case a.status == http.StatusConflict && !single && !asked[s]:
			// The batch was stored before, and the answer was lost. The answers to its halves, which are batches with other ids,
			// say what that answer rejected. Once only: two more requests at most.
			first, second := s.halves()
			if asked == nil {
				asked = map[span]bool{}
			}
			asked[first], asked[second] = true, true
			todo = append([]span{first, second}, todo[1:]...)
		case a.verdict == stored:
			rejected, known := p.rejected(s, a)
			if !known { // the answers to the halves say which; what is stored counts as a duplicate there
				todo = bisect(todo)
				continue
			}
			e.countStored(ctx, s.to-s.from-len(rejected), a.duplicates)
			refusals = append(refusals, rejected...)
			todo = todo[1:]
		case a.verdict == tooLarge && !single:
			most := e.limit.tooLarge(p.size(s))
			var smaller []span
			for _, s := range todo {
				smaller = p.cut(smaller, s, e.config.MaxBatchEvents, most)
			}
			todo = smaller
		case a.verdict == invalid && !single:
			todo = bisect(todo)
		case a.verdict == tooLarge, a.verdict == invalid, a.verdict == refused:
			refusals = append(refusals, refusal{span: s, status: a.status, reason: a.reason, err: a.err})
			todo = todo[1:]
		default:
			return s.from, refusals, e.retryable(laneEvents, a, "events_path")
		}
	}
	return len(p.items), refusals, nil
}

// send posts one batch.
func (e *eventSender) send(ctx context.Context, p *payload, s span) answer {
	id, body := p.body(s)
	header := e.header.Clone()
	header.Set("Content-Type", contentTypeJSON)
	header.Set(backendapi.HeaderIdempotencyKey, id)
	e.telemetry.ExporterZastavabackendBatchSize.Record(ctx, int64(len(body)))
	resp, failed := e.post(ctx, e.url, e.shownURL, header, body)
	if resp == nil {
		return failed
	}
	return e.read(resp, p, s)
}
