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
	"github.com/zastava-otel/zastava/internal/limit"
)

// parseCanonical parses a valid batch in canonical bytes (RFC 8785), as the types of this API encode it. It returns false if the
// body is not one; parseAny then reports the faults, if there are any.
//
// Two conditions together replace the schema. The decoded batch encodes to the same bytes as the body: so the body has no other or
// duplicate fields, no nulls, no empty strings or zero values in place of absent ones, no times in another zone, no numbers in
// another form, and no invalid UTF-8. And Event.Validate finds no fault in the decoded events.
func (r *Reader) parseCanonical(body []byte, tenant string) (*Batch, bool) {
	var in backendapi.Batch
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, false
	}
	if n := len(in.Events); n == 0 || n > r.limits.Events || !isUUID(in.BatchID) {
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
		start := len(buf) + len(head)
		buf = backendapi.AppendEnvelope(buf, e)
		if len(buf) > len(body) || !bytes.Equal(buf[start:], body[start:len(buf)]) {
			return nil, false
		}
		if hasTooManyValues(body[start:len(buf)]) {
			return nil, false
		}
		out.Records[i] = store.Record{Event: *e, Body: body[start : len(buf)-len(tail) : len(buf)-len(tail)]}
		out.Records[i].Event.EventID = strings.ToLower(e.EventID)
	}
	if buf = append(buf, backendapi.BatchTail...); !bytes.Equal(buf, body) {
		return nil, false
	}
	return out, true
}

// isUUID reports whether an id has the one spelling of a UUID that has 36 characters.
func isUUID(id string) bool { return len(id) == 36 && uuid.Validate(id) == nil }

// hasTooManyValues applies parseAny's bound. Each value has at least two bytes, so only a large event needs counting.
func hasTooManyValues(event []byte) bool {
	return len(event) > 2*maxEventValues && limit.CheckJSON(event, boundsOf(maxEventValues)) != nil
}
