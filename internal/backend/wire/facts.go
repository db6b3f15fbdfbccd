// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// FactsReader reads requests with runtime facts. It is safe for concurrent use.
type FactsReader struct{ body Reader }

// NewFactsReader returns a reader that accepts at most limit bytes of uncompressed facts.
func NewFactsReader(limit int64) *FactsReader {
	return &FactsReader{Reader{limits: Limits{Events: backendapi.MaxFactsRequest, Bytes: limit}}}
}

// NDJSON reads one fact a line. Empty lines are skipped, but counted.
func (r *FactsReader) NDJSON(w http.ResponseWriter, req *http.Request) ([]backendapi.Fact, *problem.Details) {
	body, p := r.read(w, req, backendapi.NDJSONContentType)
	if p != nil {
		return nil, p
	}
	return ParseNDJSON(body)
}

// JSON reads a backendapi.Facts.
func (r *FactsReader) JSON(w http.ResponseWriter, req *http.Request) (*backendapi.Facts, *problem.Details) {
	body, p := r.read(w, req, "application/json")
	if p != nil {
		return nil, p
	}
	return ParseFacts(body)
}

func (r *FactsReader) read(w http.ResponseWriter, req *http.Request, want string) ([]byte, *problem.Details) {
	if p := checkType(w, req, want); p != nil {
		return nil, p
	}
	return r.body.uncompressed(w, req)
}

// ParseNDJSON parses facts, one a line. Faults name the line, counted from 1, and the field.
func ParseNDJSON(body []byte) ([]backendapi.Fact, *problem.Details) {
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
		f, err := reader.Read(raw, "line "+strconv.Itoa(line)+".")
		addFaults(p, err)
		out = append(out, f)
	}
	return checked(out, p)
}

// ParseFacts parses a request in JSON.
func ParseFacts(body []byte) (*backendapi.Facts, *problem.Details) {
	if p := checkSyntax(body); p != nil {
		return nil, p
	}
	var in struct {
		CallgraphID string             `json:"callgraphId"`
		Events      []json.RawMessage  `json:"events"`
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
	if len(in.Events) > backendapi.MaxFactsRequest {
		return nil, tooManyFacts()
	}
	out := &backendapi.Facts{CallgraphID: in.CallgraphID, Subject: in.Subject}
	p, reader := newInvalidFacts(), backendapi.NewFactReader()
	for i := range in.Events {
		if len(p.Errors) == problem.MaxErrors {
			break
		}
		f, err := reader.Read(in.Events[i], fmt.Sprintf("events[%d].", i))
		addFaults(p, err)
		out.Events = append(out.Events, f)
	}
	var fault *problem.Details
	out.Events, fault = checked(out.Events, p)
	return out, fault
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
		"a request holds at most %d facts; send them in parts", backendapi.MaxFactsRequest)
}
