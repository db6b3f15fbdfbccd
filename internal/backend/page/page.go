// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package page shows the content of the store to people: the containers, their events, and the timeline of each container. The
// server renders plain HTML. A small script of ours keeps the page current: it requests the same page again when the event stream
// reports a change, so that only the server renders. The page loads nothing from other hosts, and all content is escaped,
// characters that are not shown included.
package page

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"regexp"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// policy lets the page use its own script, style and stream, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Page serves the pages.
type Page struct {
	store     *store.Store
	now       func() time.Time
	log       *slog.Logger
	templates *template.Template
}

// New returns the page of a store. The last hour, which the page shows, ends at now.
func New(s *store.Store, now func() time.Time, log *slog.Logger) *Page {
	return &Page{
		store: s, now: now, log: log,
		templates: template.Must(template.New("").Funcs(functions).ParseFS(templateFiles, "templates/*.html")),
	}
}

// Overview serves GET /.
func (p *Page) Overview(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	v, err := p.overview(ctx, r)
	p.render(w, r, "overview.html", http.StatusOK, v, err)
}

// Container serves GET /containers/{id}.
func (p *Page) Container(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	id := ContainerID(r)
	v, err := p.container(ctx, r, id)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrAmbiguous) {
		p.render(w, r, "missing.html", http.StatusNotFound, missingView{ID: id, Ambiguous: errors.Is(err, store.ErrAmbiguous)}, nil)
		return
	}
	p.render(w, r, "container.html", http.StatusOK, v, err)
}

func (p *Page) render(w http.ResponseWriter, r *http.Request, name string, status int, view any, err error) {
	var out visible
	if err == nil {
		err = p.templates.ExecuteTemplate(&out, name, view)
	}
	if err != nil && errors.Is(r.Context().Err(), context.DeadlineExceeded) {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "The page took too long; a filter makes it faster.", http.StatusServiceUnavailable)
		return
	}
	if err != nil {
		if r.Context().Err() == nil {
			p.log.Error("A page could not be rendered", "path", r.URL.Path, "error", err)
		}
		http.Error(w, "The page could not be rendered; the backend's log says why.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(out.html)
}

// Asset serves GET /assets/{file}.
func (p *Page) Asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	content, err := fs.ReadFile(assetFiles, path.Join("assets", name))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	digest := sha256.Sum256(content)
	h := w.Header()
	h.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	h.Set("Cache-Control", "no-cache") // requested again each time, and answered with 304 if it did not change
	h.Set("ETag", `"`+hex.EncodeToString(digest[:8])+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// cleaned matches <engine>:/<id>, to which the server and browsers reduce an unescaped <engine>://<id> in a path.
var cleaned = regexp.MustCompile(`^([a-z][a-z0-9+.-]*):/([^/].*)$`)

// ContainerID returns the container id in the path of a request: escaped, bare, or with its slashes unescaped.
func ContainerID(r *http.Request) string {
	return cleaned.ReplaceAllString(r.PathValue("id"), "$1://$2")
}

func tenantOf(r *http.Request) string { return r.Header.Get(backendapi.HeaderTenant) }
