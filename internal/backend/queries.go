// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/zastava-otel/zastava/internal/backend/page"
	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/backend/store"
)

// EventPage is the answer to GET /api/v1/runtime/events.
type EventPage struct {
	Events     []store.StoredEvent `json:"events"`
	NextCursor string              `json:"nextCursor,omitempty"`
}

// ContainerPage is the answer to GET /api/v1/containers.
type ContainerPage struct {
	Containers []store.Container `json:"containers"`
	NextCursor string            `json:"nextCursor,omitempty"`
}

// ImagePage is the answer to GET /api/v1/images.
type ImagePage struct {
	Images     []store.Image `json:"images"`
	NextCursor string        `json:"nextCursor,omitempty"`
}

func (p *params) eventFilter(tenant string) store.EventFilter {
	return store.EventFilter{Tenant: tenant, Kinds: p.kinds(), Namespace: p.text("namespace"), Container: p.text("container")}
}

func (b *Backend) getEvents(w http.ResponseWriter, r *http.Request) {
	p, tenant, fault := newParams(r)
	if fault != nil {
		fault.Write(w)
		return
	}
	ask := store.EventQuery{EventFilter: p.eventFilter(tenant)}
	ask.Since, ask.Until = p.time("since"), p.time("until")
	ask.AllRevisions = p.oneOf("revisions", "latest", "all") == "all"
	ask.Limit, ask.Cursor = p.limit(), p.text("cursor")
	if fault := p.problem(); fault != nil {
		fault.Write(w)
		return
	}
	events, next, err := b.store.Events(r.Context(), ask)
	if err != nil {
		b.queryFailed(w, r, err)
		return
	}
	writeEvents(w, events, next)
}

// writeEvents writes an EventPage from the stored bytes: an event is returned as it was sent, and the page is not held twice.
func writeEvents(w http.ResponseWriter, events []store.Arrived, next string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	out := bufio.NewWriterSize(w, answerStep) // keeps its first error; then the client is gone
	_, _ = out.WriteString(`{"events":[`)
	for i := range events {
		if i > 0 {
			_ = out.WriteByte(',')
		}
		_, _ = events[i].WriteTo(out)
		events[i].Body = nil // what is sent need not be held while the client reads
	}
	_ = out.WriteByte(']')
	if next != "" {
		_, _ = out.WriteString(`,"nextCursor":"` + next + `"`)
	}
	_, _ = out.WriteString("}\n")
	_ = out.Flush()
}

func (b *Backend) getContainers(w http.ResponseWriter, r *http.Request) {
	p, tenant, fault := newParams(r)
	if fault != nil {
		fault.Write(w)
		return
	}
	ask := store.ContainerQuery{
		Tenant: tenant, Namespace: p.text("namespace"), Text: p.text("q"),
		State:   p.oneOf("state", "unknown", "created", "running", "paused", "exited", "removed"),
		Current: p.oneOf("current", "true", "false") == "true",
		Limit:   p.limit(), Cursor: p.text("cursor"),
	}
	if fault := p.problem(); fault != nil {
		fault.Write(w)
		return
	}
	found, next, err := b.store.Containers(r.Context(), ask)
	b.answer(w, r, ContainerPage{append([]store.Container{}, found...), next}, err)
}

func (b *Backend) getContainer(w http.ResponseWriter, r *http.Request) {
	p, tenant, fault := newParams(r)
	if fault == nil {
		fault = p.problem()
	}
	if fault != nil {
		fault.Write(w)
		return
	}
	found, err := b.store.Container(r.Context(), tenant, page.ContainerID(r))
	b.answer(w, r, found, err)
}

func (b *Backend) getImages(w http.ResponseWriter, r *http.Request) {
	p, tenant, fault := newParams(r)
	if fault != nil {
		fault.Write(w)
		return
	}
	limit, cursor := p.limit(), p.text("cursor")
	if fault := p.problem(); fault != nil {
		fault.Write(w)
		return
	}
	found, next, err := b.store.Images(r.Context(), tenant, limit, cursor)
	b.answer(w, r, ImagePage{append([]store.Image{}, found...), next}, err)
}

func (b *Backend) answer(w http.ResponseWriter, r *http.Request, v any, err error) {
	if err != nil {
		b.queryFailed(w, r, err)
		return
	}
	out, err := json.Marshal(v)
	if err != nil {
		b.queryFailed(w, r, err)
		return
	}
	writeJSON(w, append(out, '\n'))
}

func writeJSON(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body)
}

func (b *Backend) queryFailed(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, store.ErrCursor):
		badRequest().With("cursor", err.Error()).Write(w)
	case errors.Is(err, store.ErrNotFound):
		problem.New(http.StatusNotFound, "no-container", "The container is not known", "%v", err).Write(w)
	case errors.Is(err, store.ErrAmbiguous):
		problem.New(http.StatusConflict, "ambiguous-id", "The id is not unique",
			"%v; use <engine>://<id>, and the tenant header", err).Write(w)
	case errors.Is(r.Context().Err(), context.DeadlineExceeded):
		b.refuse(w, problem.New(http.StatusServiceUnavailable, "busy", "The query took too long",
			"it was stopped after %s; narrow it with since and until", b.opts.RequestTimeout).Because(problem.Deadline).RetryAfter(retryBusy))
	case r.Context().Err() != nil: // the client is gone
	default:
		b.log.Error("A query failed", "path", r.URL.Path, "error", err)
		problem.New(http.StatusInternalServerError, "internal", "The query failed", "the backend's log says why").Write(w)
	}
}
