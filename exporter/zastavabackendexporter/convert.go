// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"errors"
	"maps"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/record"
)

// item is one event, encoded, and where its record was.
type item struct {
	eventID  string
	revision uint32
	kind     backendapi.Kind
	from, to int // its envelope in payload.json

	resource, scope, record int // indexes in the logs that were pushed
}

// payload is the events of one push, in the order of their records.
type payload struct {
	json  []byte // canonical envelopes, one after the other
	items []item

	origin record.Origin // scratch

	oldest time.Time // when the first of them was seen

	skipped, folded int64
	invalid         []error // *record.InvalidError; not sent
}

// convert decodes logs and encodes their events into p.
func (e *backendExporter) convert(p *payload, logs plog.Logs) {
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
				case e.core && !foldToCore(&ev):
					p.folded++
				default:
					p.add(&ev, r, s, l)
					p.seen(records.At(l))
				}
			}
		}
	}
}

// seen notes when a record came into being, for the age of what is not delivered.
func (p *payload) seen(lr plog.LogRecord) {
	p.oldest = earlier(p.oldest, lr)
}

func (p *payload) add(ev *backendapi.Event, resource, scope, rec int) {
	from := len(p.json)
	p.json = backendapi.AppendEnvelope(p.json, ev)
	p.items = append(p.items, item{
		eventID: ev.EventID, revision: ev.Revision, kind: ev.Kind, from: from, to: len(p.json),
		resource: resource, scope: scope, record: rec,
	})
}

// foldToCore turns ev into one of the classic two kinds; false: it has no place among them.
func foldToCore(ev *backendapi.Event) bool {
	if ev.Kind == backendapi.KindRestart {
		ev.Kind = backendapi.KindStart
		annotations := make(map[string]string, len(ev.Annotations)+1) // the event's map is shared
		maps.Copy(annotations, ev.Annotations)
		annotations["restart"] = "true"
		ev.Annotations = annotations
	}
	return ev.Kind == backendapi.KindStart || ev.Kind == backendapi.KindStop
}

// remaining copies the records of items out of logs, for another try.
func remaining(logs plog.Logs, items []item) plog.Logs {
	out := plog.NewLogs()
	var rl plog.ResourceLogs
	var sl plog.ScopeLogs
	resource, scope := -1, -1
	for i := range items {
		it := &items[i]
		from := logs.ResourceLogs().At(it.resource)
		if it.resource != resource {
			resource, scope = it.resource, -1
			rl = out.ResourceLogs().AppendEmpty()
			rl.SetSchemaUrl(from.SchemaUrl())
			from.Resource().CopyTo(rl.Resource())
		}
		fromScope := from.ScopeLogs().At(it.scope)
		if it.scope != scope {
			scope = it.scope
			sl = rl.ScopeLogs().AppendEmpty()
			sl.SetSchemaUrl(fromScope.SchemaUrl())
			fromScope.Scope().CopyTo(sl.Scope())
		}
		fromScope.LogRecords().At(it.record).CopyTo(sl.LogRecords().AppendEmpty())
	}
	return out
}
