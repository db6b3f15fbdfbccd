// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package problem has the form of all refusals of the backend: RFC 9457 problem details that name the field.
package problem

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// MaxErrors bounds the fields that one answer names.
const MaxErrors = 20

// typeBase is the address of docs/reference-backend.md, which explains the problem types; RFC 9457 section 3.1.1 recommends
// addresses that a reader can open.
const typeBase = "https://github.com/zastava-otel/zastava/blob/main/docs/reference-backend.md#"

// Details is a problem that a request is answered with.
type Details struct {
	backendapi.Problem

	retryAfter time.Duration
}

// New returns a problem. kind is its anchor in docs/reference-backend.md, for example invalid-batch.
func New(status int, kind, title, format string, args ...any) *Details {
	return &Details{Problem: backendapi.Problem{
		Type: typeBase + kind, Title: title, Status: status, Detail: fmt.Sprintf(format, args...),
	}}
}

// With adds the fault of a field; beyond MaxErrors it adds nothing.
func (d *Details) With(field, detail string) *Details {
	if len(d.Errors) < MaxErrors {
		d.Errors = append(d.Errors, backendapi.FieldError{Field: field, Detail: detail})
	}
	return d
}

// RetryAfter sets the time after which a repeated request may succeed; it is sent in whole seconds, at least 1.
func (d *Details) RetryAfter(after time.Duration) *Details {
	d.retryAfter = max(after, time.Second)
	return d
}

// Write answers with the problem.
func (d *Details) Write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", backendapi.ProblemContentType)
	h.Set("Cache-Control", "no-store")
	if d.retryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((d.retryAfter+time.Second-1)/time.Second), 10))
	}
	w.WriteHeader(d.Status)
	_ = json.NewEncoder(w).Encode(&d.Problem) //nolint:errchkjson // its fields always encode; an error means that the client is gone
}
