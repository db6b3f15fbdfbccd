// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/docs/api"
	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// route is one operation of docs/api/openapi.yaml.
type route struct {
	pattern string // of http.ServeMux
	open    bool   // served without a token
	query   bool   // reads the store: one of few at a time
	shows   scope
	handle  http.HandlerFunc
}

func (b *Backend) table() []route {
	return []route{
		{pattern: "POST " + backendapi.EventsPath, handle: b.postEvents},
		{pattern: "GET " + backendapi.EventsPath, query: true, handle: b.getEvents},
		{pattern: "GET " + backendapi.EventsPath + "/stream", handle: b.streamEvents},
		{pattern: "POST " + backendapi.FactsPath, handle: b.postFacts},
		{pattern: "POST " + backendapi.FactsNDJSONPath, handle: b.postFactsNDJSON},
		{pattern: "GET " + backendapi.FactsPath, query: true, handle: b.getFacts},
		{pattern: "GET /api/v1/containers", query: true, handle: b.getContainers},
		{pattern: "GET /api/v1/containers/{id...}", query: true, handle: b.getContainer},
		{pattern: "GET /api/v1/images", query: true, handle: b.getImages},
		{pattern: "GET /healthz", open: true, handle: b.getHealth},
		{pattern: "GET /readyz", open: true, handle: b.getReadiness},
		{pattern: "GET /metrics", shows: allTenants, handle: b.metrics.handler.ServeHTTP},
		{pattern: "GET /openapi.yaml", shows: noTenant, handle: getDocument},
		{pattern: "GET /{$}", query: true, handle: b.page.Overview},
		{pattern: "GET /containers/{id...}", query: true, handle: b.page.Container},
		{pattern: "GET /images/{digest}", query: true, handle: b.page.Image},
		{pattern: "GET /assets/{file}", open: true, handle: b.page.Asset},
	}
}

func (b *Backend) routes(auth *authenticator) http.Handler {
	mux := http.NewServeMux()
	for _, r := range b.table() {
		var h http.Handler = r.handle
		if r.query {
			h = b.query(h)
		}
		if !r.open {
			h = auth.require(h, r.shows)
		}
		mux.Handle(r.pattern, h)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		counted := newAnswerWriter(w, b.opts.WriteTimeout)
		defer func() { b.metrics.done(counted, r) }()
		if r.ContentLength != 0 { // a client that sends its body slowly must not hold a place without limit
			_ = counted.rc.SetReadDeadline(time.Now().Add(bodyTimeout))
		}
		if b.opts.LocalHostOnly && !isLocalHost(r.Host) {
			problem.New(http.StatusMisdirectedRequest, "wrong-host", "This name is not served here",
				"without a token the backend serves this machine only; open it as localhost or by address").Write(counted)
			return
		}
		h, pattern := mux.Handler(r)
		if pattern == "" {
			refuse(counted, r, h)
			return
		}
		mux.ServeHTTP(counted, r)
	})
}

// refuse turns the plain answers of the mux for unknown paths and methods into problem details.
func refuse(w http.ResponseWriter, r *http.Request, plain http.Handler) {
	answer := &statusOnly{header: http.Header{}}
	plain.ServeHTTP(answer, r)
	if allow := answer.header.Get("Allow"); answer.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", allow)
		problem.New(http.StatusMethodNotAllowed, "wrong-method", "Method not allowed", "%s allows %s", r.URL.Path, allow).Write(w)
		return
	}
	problem.New(http.StatusNotFound, "wrong-path", "Unknown path", "%s is not a path of this API; see /openapi.yaml", r.URL.Path).Write(w)
}

type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }
func (s *statusOnly) Write(p []byte) (int, error) { return len(p), nil }

// isLocalHost reports whether a Host header is an address or localhost, which DNS rebinding cannot use. A page of a foreign name
// that resolves to this machine would have the same origin as a backend without a token.
func isLocalHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || net.ParseIP(name) != nil
}

func (b *Backend) getHealth(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}

func (b *Backend) getReadiness(w http.ResponseWriter, r *http.Request) {
	if err := b.store.Ready(r.Context()); err != nil {
		b.log.Warn("The database cannot be written", "error", err)
		problem.New(http.StatusServiceUnavailable, "not-ready", "Events cannot be stored now", "the log says why").
			RetryAfter(retryStore).Write(w)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ready\n")
}

func getDocument(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(api.OpenAPI)
}
