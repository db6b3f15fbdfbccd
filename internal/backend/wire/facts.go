// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/limit"
)

// FactsReader reads the bodies of requests with runtime facts. It is safe for concurrent use.
type FactsReader struct{ body Reader }

// NewFactsReader returns a reader that accepts at most limit bytes of uncompressed facts.
func NewFactsReader(limit int64) *FactsReader {
	return &FactsReader{Reader{limits: Limits{Events: backendapi.MaxFactsRequest, Bytes: limit}}}
}

// Body reads the body of a request with facts, uncompressed.
func (r *FactsReader) Body(w http.ResponseWriter, req *http.Request, contentType string) ([]byte, *problem.Details) {
	if p := checkType(w, req, contentType); p != nil {
		return nil, p
	}
	return r.body.uncompressed(w, req)
}

// ParseNDJSON parses facts, one a line. Empty lines are skipped, but counted. Faults name the line, counted from 1, and the field. When ctx ends, it stops and returns
// problem.Stopped.
func ParseNDJSON(ctx context.Context, body []byte) ([]backendapi.Fact, *problem.Details) {
	var (
		out    []backendapi.Fact
		reader = backendapi.NewFactReader()
		p      = newInvalidFacts()
		line   int
	)
	for len(body) > 0 && len(p.Errors) < problem.MaxErrors {
		line++
		var raw []byte
		raw, body, _ = bytes.Cut(body, []byte{'\n'})
		if raw = bytes.TrimSpace(raw); len(raw) == 0 {
			continue
		}
		if len(out) == backendapi.MaxFactsRequest {
			return nil, tooManyFacts()
		}
		f, err := readFact(ctx, reader, raw, "line "+strconv.Itoa(line), p)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return checked(out, p)
}

// readFact reads one fact and adds its faults to p. It returns a problem when ctx has ended.
func readFact(ctx context.Context, reader *backendapi.FactReader, raw []byte, at string, p *problem.Details) (backendapi.Fact, *problem.Details) {
	if ctx.Err() != nil {
		return backendapi.Fact{}, problem.Stopped(ctx)
	}
	if err := limit.CheckJSON(raw, boundsOf(maxFactValues)); err != nil {
		detail, reason := exceeded(err)
		p.Because(reason).With(at, detail)
		return backendapi.Fact{}, nil
	}
	f, err := reader.Read(raw, at+".")
	addFaults(p, err)
	return f, nil
}

// ParseFacts parses a request in JSON. When ctx ends, it stops and returns problem.Stopped.
func ParseFacts(ctx context.Context, body []byte) (*backendapi.Facts, *problem.Details) {
	if err := limit.CheckJSON(body, bounds(backendapi.MaxFactsBytes)); err != nil {
		if p := checkSyntax(body); p != nil {
			return nil, p
		}
		detail, reason := exceeded(err)
		return nil, newInvalidFacts().Because(reason).With("body", detail)
	}
	if p := checkSyntax(body); p != nil {
		return nil, p
	}
	var in struct {
		CallgraphID string             `json:"callgraphId"`
		Events      json.RawMessage    `json:"events"`
		Subject     backendapi.Subject `json:"subject"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		if field, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return nil, newInvalidFacts().With(field.Field, "must not be a "+field.Value)
		}
		return nil, newInvalidFacts().With("body", strings.TrimPrefix(err.Error(), "json: "))
	}
	out := &backendapi.Facts{CallgraphID: in.CallgraphID, Subject: in.Subject}
	var p *problem.Details
	out.Events, p = parseArray(ctx, in.Events)
	return out, p
}

// parseArray parses the facts of a request in JSON one by one: an array of millions of them is refused before it is held as such.
func parseArray(ctx context.Context, raw json.RawMessage) ([]backendapi.Fact, *problem.Details) {
	var out []backendapi.Fact
	p, reader := newInvalidFacts(), backendapi.NewFactReader()
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	switch kind := dec.PeekKind(); kind {
	case '[':
		_, _ = dec.ReadToken() // the syntax was checked
	case 'n', 0: // absent
		return checked(nil, p)
	default:
		return nil, p.With("events", "must be an array")
	}
	for dec.PeekKind() != ']' && len(p.Errors) < problem.MaxErrors {
		fact, err := dec.ReadValue()
		if err != nil {
			return nil, malformed("events", err) // not reached: the syntax was checked
		}
		if len(out) == backendapi.MaxFactsRequest {
			return nil, tooManyFacts()
		}
		f, stopped := readFact(ctx, reader, fact, fmt.Sprintf("events[%d]", len(out)), p)
		if stopped != nil {
			return nil, stopped
		}
		out = append(out, f)
	}
	return checked(out, p)
}

func checked(facts []backendapi.Fact, p *problem.Details) ([]backendapi.Fact, *problem.Details) {
	switch {
	case len(p.Errors) > 0:
		return nil, p
	case len(facts) == 0:
		p.Detail = backendapi.NoFacts
		return nil, p.With("events", backendapi.NoFacts)
	}
	return facts, nil
}

// addFaults adds the faults of a fact to the problem.
func addFaults(p *problem.Details, err error) {
	if err == nil {
		return
	}
	faults := []error{err}
	if many, ok := err.(interface{ Unwrap() []error }); ok { // errors.Join made it
		faults = many.Unwrap()
	}
	for _, fault := range faults {
		if f, ok := errors.AsType[*backendapi.FieldError](fault); ok {
			p.With(f.Field, f.Detail)
		}
	}
}

func newInvalidFacts() *problem.Details {
	return problem.New(http.StatusBadRequest, "invalid-facts", "The facts are not valid",
		"they do not follow docs/api/openapi.yaml, which is served at /openapi.yaml")
}

func tooManyFacts() *problem.Details {
	return problem.New(http.StatusRequestEntityTooLarge, "too-large", "There are too many facts",
		"a request holds at most %d facts; send them in parts", backendapi.MaxFactsRequest).Because(problem.Size)
}
