// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

const startLimit = 2 * time.Minute // for a program to serve, on a small busy machine

// Backend is the reference backend. Its process may end and be started again; its address and its database stay.
type Backend struct {
	*Process
	Address string // host:port

	tb      TB
	program Program
	https   bool
}

// StartBackend starts the reference backend with a database below dir, and waits until it serves.
func StartBackend(tb TB, dir string, flags ...string) *Backend {
	tb.Helper()
	b := &Backend{Address: FreeAddress(tb), tb: tb}
	b.program = Program{Path: Built(tb, BackendName), Log: filepath.Join(dir, "backend.log")}
	b.program.Args = []string{"--listen", b.Address, "--db", filepath.Join(dir, "backend.db")}
	b.Restart(flags...)
	return b
}

// Restart starts it again, with other flags, after Stop or Kill, and waits until it serves. With --client-ca, with which it answers
// no client without a certificate, it waits until the backend listens.
func (b *Backend) Restart(flags ...string) {
	b.tb.Helper()
	b.https = slices.Contains(flags, "--tls-cert")
	program := b.program
	program.Args = slices.Concat(program.Args, flags)
	b.Process = Start(b.tb, program)
	b.Await(startLimit, "the backend", func() bool {
		if slices.Contains(flags, "--client-ca") {
			return Listens(b.Address)
		}
		status, _ := b.Ask("/readyz")
		return status == http.StatusOK
	})
}

// URL returns the backend's base URL.
func (b *Backend) URL() string {
	if b.https {
		return "https://" + b.Address
	}
	return "http://" + b.Address
}

// Ask gets a path of the backend.
func (b *Backend) Ask(path string) (status int, body string) { return Get(b.URL() + path) }

// Events returns every revision of every stored event, the newest first.
func (b *Backend) Events() []backendapi.Event {
	b.tb.Helper()
	var all []backendapi.Event
	query := url.Values{"revisions": {"all"}, "limit": {"500"}}
	for {
		var page struct {
			Events     []backendapi.Event `json:"events"`
			NextCursor string             `json:"nextCursor"`
		}
		_, body := b.Ask(backendapi.EventsPath + "?" + query.Encode())
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			b.tb.Fatalf("read the backend's events: %v; it answered %.200q", err, body)
			return nil
		}
		all = append(all, page.Events...)
		if page.NextCursor == "" {
			return all
		}
		query.Set("cursor", page.NextCursor)
	}
}
