// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package page is
package page

import (
	"net/http"
	"regexp"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/store"
)

type Page struct {
	store *store.Store
	now   func() time.Time
}

func New(s *store.Store, now func() time.Time) *Page { return &Page{s, now} }

func (p *Page) Overview(w http.ResponseWriter, r *http.Request)  {}
func (p *Page) Container(w http.ResponseWriter, r *http.Request) {}
func (p *Page) Asset(w http.ResponseWriter, r *http.Request)     {}

// cleaned matches <engine>:/<id>, which is what is left of an unescaped <engine>://<id> after the server and browsers have
// cleaned the path.
var cleaned = regexp.MustCompile(`^([a-z][a-z0-9+.-]*):/([^/].*)$`)

// ContainerID reads the container id from the path of a request: escaped, bare, or not escaped though it should have been.
func ContainerID(r *http.Request) string {
	return cleaned.ReplaceAllString(r.PathValue("id"), "$1://$2")
}
