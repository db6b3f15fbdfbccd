// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// parseCanonical reads a good batch that comes in the bytes in which this API's own types are written (RFC 8785). False: it
// is not one, or something is wrong with it; parseAny then says what.
//
// Two things together are as good as the schema. What is written anew from the decoded batch is, byte for byte, what came:
// so there were no other fields, none twice, no nulls, no empty strings or zero values in place of absent ones, no times
// in another zone, no numbers in another spelling, and no text that is not UTF-8. And Event.Validate finds nothing in what
// was decoded.
func (r *Reader) parseCanonical(body []byte, tenant string) (*Batch, bool) {
	var in backendapi.Batch
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, false
	}
	if n := len(in.Events); n == 0 || n > r.limits.Events || len(in.BatchID) != 36 || uuid.Validate(in.BatchID) != nil {
		return nil, false
	}
	out := &Batch{ID: strings.ToLower(in.BatchID), Records: make([]store.Record, len(in.Events)), Bytes: len(body)}
	buf := backendapi.AppendBatchHead(make([]byte, 0, len(body)), in.BatchID)
	for i := range in.Events {
		e := &in.Events[i].Event
		if in.Events[i].SchemaVersion != backendapi.SchemaVersion || e.Tenant != tenant || e.Validate() != nil {
			return nil, false
		}
		if i > 0 {
			buf = append(buf, ',')
		}
		const head, tail = `{"event":`, `,"schemaVersion":"` + backendapi.SchemaVersion + `"}`
		begun := len(buf) + len(head)
		buf = backendapi.AppendEnvelope(buf, e)
		if len(buf) > len(body) || !bytes.Equal(buf[begun:], body[begun:len(buf)]) {
			return nil, false
		}
		out.Records[i] = store.Record{Event: *e, Body: body[begun : len(buf)-len(tail) : len(buf)-len(tail)]}
		out.Records[i].Event.EventID = strings.ToLower(e.EventID)
	}
	if buf = append(buf, backendapi.BatchTail...); !bytes.Equal(buf, body) {
		return nil, false
	}
	return out, true
}
