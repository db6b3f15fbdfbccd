// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"errors"
	"iter"
	"maps"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/delivery"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/record"
)

// item is one event, encoded, and the position of its record.
type item struct {
	eventID  string
	revision uint32
	kind     backendapi.Kind
	from, to int               // of its envelope in payload.json
	position delivery.Position // in the logs that were pushed
}

// payload is the events of one push, in the order of their records.
type payload struct {
	json  []byte // canonical envelopes, back to back
	items []item

	origin record.Origin // scratch

	oldest time.Time // when the oldest record was observed

	skipped int64   // records of other origin
	folded  int64   // events that event_kinds: core excludes
	invalid []error // *record.InvalidError; not sent
}

// convert decodes logs and encodes their events into p.
func (e *eventSender) convert(p *payload, logs plog.Logs) {
	p.json, p.items, p.invalid = p.json[:0], p.items[:0], p.invalid[:0]
	p.skipped, p.folded, p.oldest = 0, 0, time.Time{}
	resources := logs.ResourceLogs()
	for r := range resources.Len() {
		rl := resources.At(r)
		p.origin.Read(&e.decoder, rl.Resource())
		scopes := rl.ScopeLogs()
		for s := range scopes.Len() {
			records := scopes.At(s).LogRecords()
			for l := range records.Len() {
				ev, err := p.origin.Event(records.At(l))
				switch {
				case errors.Is(err, record.ErrForeign):
					p.skipped++
				case err != nil:
					p.invalid = append(p.invalid, err)
				case e.core && !toCore(&ev):
					p.folded++
				default:
					p.add(&ev, delivery.Position{Resource: r, Scope: s, Record: l})
					p.oldest = delivery.Earlier(p.oldest, records.At(l))
				}
			}
		}
	}
}

func (p *payload) add(ev *backendapi.Event, at delivery.Position) {
	from := len(p.json)
	p.json = backendapi.AppendEnvelope(p.json, ev)
	p.items = append(p.items, item{
		eventID: ev.EventID, revision: ev.Revision, kind: ev.Kind, from: from, to: len(p.json), position: at,
	})
}

// positions yields the positions of the records from the item with index from.
func (p *payload) positions(from int) iter.Seq[delivery.Position] {
	return func(yield func(delivery.Position) bool) {
		for i := from; i < len(p.items); i++ {
			if !yield(p.items[i].position) {
				return
			}
		}
	}
}

// toCore converts ev to one of the two kinds of event_kinds: core. It returns false for an event that neither kind can express.
func toCore(ev *backendapi.Event) bool {
	if ev.Kind == backendapi.KindRestart {
		ev.Kind = backendapi.KindStart
		annotations := make(map[string]string, len(ev.Annotations)+1) // a copy: all events share the map
		maps.Copy(annotations, ev.Annotations)
		annotations["restart"] = "true"
		ev.Annotations = annotations
	}
	return ev.Kind == backendapi.KindStart || ev.Kind == backendapi.KindStop
}
