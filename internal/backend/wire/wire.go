// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package wire parses the body of an ingest request. It accepts exactly what the schema in docs/api/openapi.yaml allows, because it
// checks with that schema, and refuses everything else with problem details that name the field. Valid batches in canonical bytes,
// which the exporter sends, take a shorter way that costs a fraction of the schema; a test compares the two ways. It holds at most
// twice the limit in memory: the bytes as sent and the uncompressed bytes.
//
// What a body costs is bounded by its size: digits of numbers, nesting and values are counted before anything is decoded, events
// are checked one after the other, and the check ends with problem.MaxErrors faults. The work ends with the context of the request.
package wire

import (
	"bytes"
	"compress/gzip"
	"context"
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
	Events int   // at least 1
	Bytes  int64 // of uncompressed JSON, at least 1; the limit of the body as sent too
}

// Batch is the content of a body.
type Batch struct {
	ID      string
	Records []store.Record
	Bytes   int // of uncompressed JSON
}

// Reader reads batches of events. It is safe for concurrent use.
type Reader struct {
	limits          Limits
	batch, envelope *jsonschema.Schema
}

// NewReader returns a reader. Its error means that the embedded document is unusable, which only a faulty build can cause.
func NewReader(limits Limits) (*Reader, error) {
	s, err := batchSchemas()
	if err != nil {
		return nil, err
	}
	return &Reader{limits: limits, batch: s.batch, envelope: s.envelope}, nil
}

// Body reads the body of a request with a batch, uncompressed.
func (r *Reader) Body(w http.ResponseWriter, req *http.Request) ([]byte, *problem.Details) {
	if p := checkType(w, req, "application/json"); p != nil {
		return nil, p
	}
	return r.uncompressed(w, req)
}

// checkType accepts a media type in UTF-8, compressed with gzip or not at all.
func checkType(w http.ResponseWriter, req *http.Request, want string) *problem.Details {
	mediaType, params, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	if err != nil || mediaType != want || (charset != "" && charset != "utf-8") {
		return problem.New(http.StatusUnsupportedMediaType, "unsupported-body", "Unsupported content type",
			"the body must be %s in UTF-8, not %q", want, req.Header.Get("Content-Type")).
			With("Content-Type", "must be "+want)
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

func (r *Reader) uncompressed(w http.ResponseWriter, req *http.Request) ([]byte, *problem.Details) {
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
		r.limits.Bytes, r.limits.Events).Because(problem.Size)
}

// Parse reads a batch of tenant from uncompressed JSON. When ctx ends, it stops and returns problem.Stopped.
func (r *Reader) Parse(ctx context.Context, body []byte, tenant string) (*Batch, *problem.Details) {
	if p := r.checkBounds(body); p != nil {
		return nil, p
	}
	if b, ok := r.parseCanonical(body, tenant); ok {
		return b, nil
	}
	return r.parseAny(ctx, body, tenant)
}

// parseAny parses JSON in any form and reports its faults.
func (r *Reader) parseAny(ctx context.Context, body []byte, tenant string) (*Batch, *problem.Details) {
	if p := checkSyntax(body); p != nil {
		return nil, p
	}
	events, p := r.checkBatch(ctx, body)
	if p != nil {
		return nil, p
	}
	if p := r.checkEvents(ctx, events, nil); p != nil {
		return nil, p
	}
	return decode(body, tenant)
}

// checkSyntax refuses duplicate names and invalid UTF-8, which encoding/json accepts: with both, the next reader of the stored bytes
// could read something else.
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
		return raw // not reached: it was parsed before
	}
	return buf.Bytes()
}
