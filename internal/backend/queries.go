// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
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
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	events, next, err := b.store.Events(ctx, ask)
	if err != nil {
		b.queryFailed(w, r, err)
		return
	}
	// From the stored bytes: an event is returned as it was sent.
	out := []byte(`{"events":[`)
	for i := range events {
		if i > 0 {
			out = append(out, ',')
		}
		out = events[i].AppendJSON(out)
	}
	out = append(out, ']')
	if next != "" {
		out = append(out, `,"nextCursor":"`+next+`"`...)
	}
	writeJSON(w, append(out, '}', '\n'))
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
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	found, next, err := b.store.Containers(ctx, ask)
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
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	found, err := b.store.Container(ctx, tenant, page.ContainerID(r))
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
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	found, next, err := b.store.Images(ctx, tenant, limit, cursor)
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
	case r.Context().Err() != nil: // the client is gone
	case errors.Is(err, context.DeadlineExceeded):
		problem.New(http.StatusServiceUnavailable, "busy", "The query took too long",
			"it was stopped after %s; narrow it with since and until", queryTimeout).RetryAfter(retryBusy).Write(w)
	default:
		b.log.Error("A query failed", "path", r.URL.Path, "error", err)
		problem.New(http.StatusInternalServerError, "internal", "The query failed", "the backend's log says why").Write(w)
	}
}
