// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

func newInvalid() *problem.Details {
	return problem.New(http.StatusUnprocessableEntity, "invalid-batch", "The batch is not valid",
		"it does not follow docs/api/openapi.yaml, which is served at /openapi.yaml")
}

// invalid returns the leaves of the tree of a failed validation, one entry for each faulty field, up to problem.MaxErrors. prefix is the
// location of what was validated.
func invalid(err error, prefix ...string) *problem.Details {
	p := newInvalid()
	var failed *jsonschema.ValidationError
	if !errors.As(err, &failed) {
		p.Detail = err.Error()
		return p
	}
	printer := message.NewPrinter(language.English)
	var seen []string
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(p.Errors) == problem.MaxErrors {
			return
		}
		for _, cause := range e.Causes {
			walk(cause)
		}
		if len(e.Causes) > 0 {
			return
		}
		for _, f := range fields(e, printer, prefix) {
			if key := f.Field + "\x00" + f.Detail; !slices.Contains(seen, key) {
				seen = append(seen, key)
				p.With(f.Field, f.Detail)
			}
		}
	}
	walk(failed)
	return p
}

// fields returns the faulty fields of a leaf, at most problem.MaxErrors: the missing or unknown members, not the object that they
// belong to.
func fields(e *jsonschema.ValidationError, printer *message.Printer, prefix []string) []backendapi.FieldError {
	at := func(name ...string) string { return path(slices.Concat(prefix, e.InstanceLocation, name)) }
	first := func(names []string) []string { return names[:min(len(names), problem.MaxErrors)] }
	var out []backendapi.FieldError
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range first(k.Missing) {
			out = append(out, backendapi.FieldError{Field: at(name), Detail: "is required"})
		}
	case *kind.AdditionalProperties:
		for _, name := range first(k.Properties) {
			out = append(out, backendapi.FieldError{Field: at(name), Detail: "is not a field of this schema version"})
		}
	case *kind.FalseSchema:
		out = append(out, backendapi.FieldError{Field: at(), Detail: "is not a field of this schema version"})
	default:
		out = append(out, backendapi.FieldError{Field: at(), Detail: shorten(e.ErrorKind.LocalizedString(printer))})
	}
	return out
}

// path formats a location, for example as events[3].event.kind. The empty location is the body.
func path(location []string) string {
	var b strings.Builder
	for _, name := range location {
		if _, err := strconv.ParseUint(name, 10, 31); err == nil {
			b.WriteString("[" + name + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(shorten(name))
	}
	if b.Len() == 0 {
		return "body"
	}
	return b.String()
}

// shorten prevents hostile input from filling the answer.
func shorten(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
