// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/limit"
)

// checkBatch checks the batch as such with its schema, with the first of its events, and returns all events.
func (r *Reader) checkBatch(ctx context.Context, body []byte) ([]json.RawMessage, *problem.Details) {
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return nil, invalid(r.batch.Validate(shallow(body)))
	}
	tree := make(map[string]any, len(members))
	for name, raw := range members {
		tree[name] = shallow(raw)
	}
	var events []json.RawMessage
	if _, ok := tree["events"].([]any); ok {
		if err := json.Unmarshal(members["events"], &events); err != nil {
			return nil, malformed("", err) // not reached: the syntax was checked
		}
	}
	if len(events) > r.limits.Events {
		return nil, r.tooLarge().With("events", fmt.Sprintf("has %d events, at most %d are accepted", len(events), r.limits.Events))
	}
	if len(events) > 0 {
		first, p := treeOf(events, 0)
		if p != nil {
			return nil, p
		}
		tree["events"] = []any{first}
	}
	if err := r.batch.Validate(tree); err != nil {
		return nil, r.checkEvents(ctx, events, invalid(err))
	}
	return events, nil
}

// checkEvents checks the events after the first, which is checked with the batch, until found, which may be nil, has problem.MaxErrors
// faults. It returns found with theirs.
func (r *Reader) checkEvents(ctx context.Context, events []json.RawMessage, found *problem.Details) *problem.Details {
	for i := 1; i < len(events); i++ {
		if ctx.Err() != nil {
			return problem.Stopped(ctx)
		}
		tree, p := treeOf(events, i)
		if p == nil {
			if err := r.envelope.Validate(tree); err != nil {
				p = invalid(err, "events", strconv.Itoa(i))
			}
		}
		found = found.Merge(p)
		if found != nil && len(found.Errors) >= problem.MaxErrors {
			break
		}
	}
	return found
}

// treeOf decodes an event for the schema. It refuses one with so many values that its validation would be expensive.
func treeOf(events []json.RawMessage, i int) (any, *problem.Details) {
	if err := limit.CheckJSON(events[i], boundsOf(maxEventValues)); err != nil {
		detail, reason := exceeded(err)
		return nil, newInvalid().Because(reason).With("events["+strconv.Itoa(i)+"]", detail)
	}
	tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(events[i]))
	if err != nil {
		return nil, malformed("", err) // not reached: the syntax was checked
	}
	return tree, nil
}

// shallow returns a value for the schema; of an array or object only the type, because no member of a batch but its events has content.
func shallow(raw []byte) any {
	switch raw = bytes.TrimSpace(raw); raw[0] {
	case '{':
		return map[string]any{}
	case '[':
		return []any{}
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil // not reached: the syntax was checked
	}
	return v
}
