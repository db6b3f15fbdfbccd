// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
	maxText      = 512 // characters of a text filter
)

// params reads a query string strictly: a misspelled filter would otherwise select everything without a warning. It collects
// the faults, which one answer reports.
type params struct {
	values url.Values
	known  []string
	fault  *problem.Details
}

func newParams(r *http.Request) (*params, string, *problem.Details) {
	tenant, p := tenantOf(r, false)
	if p != nil {
		return nil, "", p
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, "", badRequest().With("query", "is not a well-formed query string")
	}
	return &params{values: values}, tenant, nil
}

func badRequest() *problem.Details {
	return problem.New(http.StatusBadRequest, "bad-request", "The request is not valid", "see /openapi.yaml for what it may hold")
}

func (p *params) bad(name, format string, args ...any) {
	if p.fault == nil {
		p.fault = badRequest()
	}
	p.fault.With(name, fmt.Sprintf(format, args...))
}

// problem returns the faults, unknown parameters included; nil if there are none. Call it after all known parameters were read.
func (p *params) problem() *problem.Details {
	for name := range p.values {
		if !slices.Contains(p.known, name) {
			p.bad(shortened(name), "is not a parameter of this operation; it has %s", strings.Join(p.known, ", "))
		}
	}
	return p.fault
}

func shortened(name string) string {
	if len(name) > 64 {
		return strings.ToValidUTF8(name[:64], "") + "…"
	}
	return name
}

func (p *params) text(name string) string {
	p.known = append(p.known, name)
	v := p.values[name]
	if len(v) > 1 {
		p.bad(name, "must be given once")
	}
	if len(v) == 0 {
		return ""
	}
	if len(v[0]) > maxText && name != "cursor" {
		p.bad(name, "must not be longer than %d bytes", maxText)
	}
	return v[0]
}

func (p *params) oneOf(name string, allowed ...string) string {
	v := p.text(name)
	if v != "" && !slices.Contains(allowed, v) {
		p.bad(name, "must be one of %s", strings.Join(allowed, ", "))
	}
	return v
}

func (p *params) limit() int {
	v := p.text("limit")
	if v == "" {
		return defaultLimit
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > maxLimit {
		p.bad("limit", "must be a number from 1 to %d", maxLimit)
		return defaultLimit
	}
	return n
}

func (p *params) time(name string) time.Time {
	v := p.text(name)
	if v == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil || !backendapi.PlausibleTime(t) {
		p.bad(name, "must be an RFC 3339 time between 1971 and 2199, for example 2026-11-22T18:09:44Z")
		return time.Time{}
	}
	return t
}

func (p *params) kinds() []string {
	p.known = append(p.known, "kind")
	kinds := p.values["kind"]
	for _, k := range kinds {
		if !slices.Contains(backendapi.Kinds(), backendapi.Kind(k)) {
			p.bad("kind", "%q is not a kind of event", shortened(k))
		}
	}
	if len(kinds) > 32 {
		p.bad("kind", "must not be given more than 32 times")
	}
	return kinds
}
