// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package problem has the form of all refusals of the backend: RFC 9457 problem details that name the field.
package problem

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
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

// Reason is why a request was refused, for metrics.
type Reason string

// The reasons of refusals that protect the backend.
const (
	Invalid    Reason = ""            // no limit: the request does not conform to the API document
	Number     Reason = "number"      // too many characters, or an exponent beyond a double
	Nesting    Reason = "nesting"     // of JSON
	Values     Reason = "values"      // of JSON
	Size       Reason = "size"        // bytes, events or facts of a request
	Rate       Reason = "rate"        // events per second of the tenant
	TenantBusy Reason = "tenant_busy" // all places of the tenant are taken
	Busy       Reason = "busy"        // all places of the backend are taken
	Deadline   Reason = "deadline"    // the work took too long
	Full       Reason = "full"        // the database has its largest size
)

// Reasons returns all reasons that are limits.
func Reasons() []Reason {
	return []Reason{Number, Nesting, Values, Size, Rate, TenantBusy, Busy, Deadline, Full}
}

// Details is a problem that a request is answered with.
type Details struct {
	backendapi.Problem

	Reason     Reason `json:"-"`
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

// Because sets the reason.
func (d *Details) Because(reason Reason) *Details {
	d.Reason = reason
	return d
}

// Merge adds the faults of other and returns the result. Either may be nil.
func (d *Details) Merge(other *Details) *Details {
	if d == nil || other == nil {
		return cmp.Or(d, other)
	}
	for _, e := range other.Errors {
		d.With(e.Field, e.Detail)
	}
	d.Reason = cmp.Or(d.Reason, other.Reason)
	return d
}

// Stopped returns the problem of a request whose work was stopped when ctx ended, because its client is gone or it took too long.
func Stopped(ctx context.Context) *Details {
	detail := "its client is gone"
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		detail = "it took longer than --request-timeout"
	}
	return New(http.StatusServiceUnavailable, "busy", "The request was stopped", "%s", detail).Because(Deadline).RetryAfter(time.Second)
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
