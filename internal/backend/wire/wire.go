// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package wire turns the body of an ingest request into a batch of events. It accepts exactly what the schema in
// docs/api/openapi.yaml allows, because that schema is what it checks with, and refuses the rest with problem details that
// name the field. Good batches in canonical bytes, which the exporter sends, are told by a shorter way that costs a fraction
// of the schema; a test holds the two ways together. It holds at most the two limits in memory: the bytes as sent and the bytes unpacked.
package wire

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/backend/store"
)

// Limits bound a batch.
type Limits struct {
	Events int   // events in a batch, at least 1
	Bytes  int64 // of uncompressed JSON, at least 1; the body as sent must not be longer either
}

// Batch is what a body held.
type Batch struct {
	ID      string
	Records []store.Record
	Bytes   int // of uncompressed JSON
}

// Reader reads batches. It is safe for concurrent use.
type Reader struct {
	limits Limits
	schema *jsonschema.Schema
}

// NewReader makes a reader. Its error says that the embedded document is unusable, which only a faulty build can cause.
func NewReader(limits Limits) (*Reader, error) {
	s, err := batchSchema()
	if err != nil {
		return nil, err
	}
	return &Reader{limits: limits, schema: s}, nil
}

// Read reads the batch that a request of tenant carries.
func (r *Reader) Read(w http.ResponseWriter, req *http.Request, tenant string) (*Batch, *problem.Details) {
	if p := checkType(w, req); p != nil {
		return nil, p
	}
	body, p := r.unpack(w, req)
	if p != nil {
		return nil, p
	}
	return r.Parse(body, tenant)
}

func checkType(w http.ResponseWriter, req *http.Request) *problem.Details {
	mediaType, params, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	if err != nil || mediaType != "application/json" || (charset != "" && charset != "utf-8") {
		return problem.New(http.StatusUnsupportedMediaType, "unsupported-body", "Unsupported content type",
			"the body must be application/json in UTF-8, not %q", req.Header.Get("Content-Type")).
			With("Content-Type", "must be application/json")
	}
	switch strings.ToLower(strings.TrimSpace(strings.Join(req.Header.Values("Content-Encoding"), ","))) {
	case "", "identity", "gzip", "x-gzip":
		return nil
	}
	w.Header().Set("Accept-Encoding", "gzip, identity") // RFC 7694
	return problem.New(http.StatusUnsupportedMediaType, "unsupported-body", "Unsupported content encoding",
		"the body must be gzip or not encoded, not %q", req.Header.Values("Content-Encoding")).
		With("Content-Encoding", "must be gzip, identity or absent")
}

func (r *Reader) unpack(w http.ResponseWriter, req *http.Request) ([]byte, *problem.Details) {
	if req.ContentLength > r.limits.Bytes {
		return nil, r.tooLarge()
	}
	var in io.Reader = http.MaxBytesReader(w, req.Body, r.limits.Bytes)
	if strings.Contains(strings.ToLower(req.Header.Get("Content-Encoding")), "gzip") {
		unzip, err := gzip.NewReader(in)
		if err != nil {
			return nil, r.unreadable(err)
		}
		in = unzip
	}
	var buf bytes.Buffer
	if n := req.ContentLength; n > 0 {
		buf.Grow(int(n) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(in, r.limits.Bytes+1))
	if err != nil {
		return nil, r.unreadable(err)
	}
	if n > r.limits.Bytes {
		return nil, r.tooLarge()
	}
	return buf.Bytes(), nil
}

func (r *Reader) unreadable(err error) *problem.Details {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return r.tooLarge()
	}
	return problem.New(http.StatusBadRequest, "unreadable-body", "The body cannot be read", "read the body: %v", err)
}

func (r *Reader) tooLarge() *problem.Details {
	return problem.New(http.StatusRequestEntityTooLarge, "too-large", "The batch is too large",
		"a batch holds at most %d bytes of uncompressed JSON and %d events; send it in parts",
		r.limits.Bytes, r.limits.Events)
}

// Parse reads a batch of tenant from uncompressed JSON.
func (r *Reader) Parse(body []byte, tenant string) (*Batch, *problem.Details) {
	if b, ok := r.parseCanonical(body, tenant); ok {
		return b, nil
	}
	return r.parseAny(body, tenant)
}

// parseAny is the whole way: it takes JSON in any spelling and names what is wrong with it.
func (r *Reader) parseAny(body []byte, tenant string) (*Batch, *problem.Details) {
	if p := checkSyntax(body); p != nil {
		return nil, p
	}
	tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return nil, malformed("", err)
	}
	if m, ok := tree.(map[string]any); ok {
		if events, ok := m["events"].([]any); ok && len(events) > r.limits.Events {
			return nil, r.tooLarge().With("events", fmt.Sprintf("has %d events, at most %d are taken", len(events), r.limits.Events))
		}
	}
	if err := r.schema.Validate(tree); err != nil {
		return nil, invalid(err)
	}
	return decode(body, tenant)
}

// checkSyntax refuses what encoding/json would quietly mend: names that occur twice and text that is not UTF-8. Both would
// make the stored bytes mean something else to the next reader.
func checkSyntax(body []byte) *problem.Details {
	dec := jsontext.NewDecoder(bytes.NewReader(body))
	err := dec.SkipValue()
	if err == nil {
		if _, err = dec.ReadToken(); errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = errors.New("there is more after the batch")
		}
	}
	var where string
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		where = path(strings.Split(strings.TrimPrefix(string(syntax.JSONPointer), "/"), "/"))
	}
	return malformed(where, err)
}

func malformed(where string, err error) *problem.Details {
	p := problem.New(http.StatusBadRequest, "malformed-json", "The body is not well-formed JSON", "%v", err)
	if where != "" {
		p.With(where, "is not well-formed")
	}
	return p
}

func decode(body []byte, tenant string) (*Batch, *problem.Details) {
	var in struct {
		BatchID string `json:"batchId"`
		Events  []struct {
			Event json.RawMessage `json:"event"`
		} `json:"events"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, malformed("", err)
	}
	out := &Batch{ID: strings.ToLower(in.BatchID), Records: make([]store.Record, len(in.Events)), Bytes: len(body)}
	p := newInvalid()
	for i := range in.Events {
		rec := &out.Records[i]
		at := fmt.Sprintf("events[%d].event", i)
		if err := json.Unmarshal(in.Events[i].Event, &rec.Event); err != nil {
			var field *json.UnmarshalTypeError
			if errors.As(err, &field) && field.Field != "" {
				p.With(at+"."+field.Field, "is not a "+field.Type.String()+" in its plain form")
			} else {
				p.With(at, err.Error())
			}
			continue
		}
		rec.Event.EventID = strings.ToLower(rec.Event.EventID)
		rec.Body = compact(in.Events[i].Event)
		if rec.Event.Tenant != tenant {
			p.With(at+".tenant", fmt.Sprintf("is %q, but the request is of tenant %q", rec.Event.Tenant, tenant))
		}
	}
	if len(p.Errors) > 0 {
		return nil, p
	}
	return out, nil
}

func compact(raw []byte) []byte {
	var buf bytes.Buffer
	buf.Grow(len(raw))
	if err := json.Compact(&buf, raw); err != nil {
		return raw // cannot be: it was parsed before
	}
	return buf.Bytes()
}
