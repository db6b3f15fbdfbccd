// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// request is one request that the test's server received.
type request struct {
	header http.Header
	path   string
	proto  string
	body   []byte
	batch  backendapi.Batch
	done   <-chan struct{} // closed when the client is gone
}

func (r *request) ids() []string {
	out := make([]string, len(r.batch.Events))
	for i := range out {
		out[i] = r.batch.Events[i].Event.EventID
	}
	return out
}

// reply answers a request.
type reply func(w http.ResponseWriter, r *request)

// accept answers that every event was stored.
func accept(w http.ResponseWriter, r *request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = fmt.Fprintf(w, `{"accepted":%d,"duplicates":0}`, len(r.batch.Events))
}

func status(code int, header ...string) reply {
	return func(w http.ResponseWriter, _ *request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

func answers(code int, contentType, body string) reply {
	return func(w http.ResponseWriter, _ *request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// refuse answers that the events are invalid, as the API says it.
func refuse(w http.ResponseWriter, code int) {
	answers(code, backendapi.ProblemContentType, `{"title":"No such kind"}`)(w, nil)
}

// server is a backend that answers each request with the next of the replies, and all further ones with the last.
type server struct {
	*httptest.Server

	mu       sync.Mutex
	replies  []reply
	requests []*request
}

func newServer(t *testing.T, replies ...reply) *server {
	t.Helper()
	s := unstarted(t, replies...)
	s.Start()
	return s
}

func unstarted(t *testing.T, replies ...reply) *server {
	t.Helper()
	s := &server{replies: replies}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := &request{header: r.Header.Clone(), path: r.URL.Path, proto: r.Proto, done: r.Context().Done()}
		var in io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			unzip, err := gzip.NewReader(r.Body)
			if !assert.NoError(t, err) {
				return
			}
			in = unzip
		}
		var err error
		got.body, err = io.ReadAll(in)
		if !assert.NoError(t, err) || !assert.NoError(t, json.Unmarshal(got.body, &got.batch)) {
			return
		}
		s.mu.Lock()
		s.requests = append(s.requests, got)
		answer := s.replies[0]
		if len(s.replies) > 1 {
			s.replies = s.replies[1:]
		}
		s.mu.Unlock()
		answer(w, got)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) got() []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*request(nil), s.requests...)
}

// sizes returns the number of events of each request.
func (s *server) sizes() []int {
	var out []int
	for _, r := range s.got() {
		out = append(out, len(r.batch.Events))
	}
	return out
}

func (s *server) first(t *testing.T) *request {
	t.Helper()
	got := s.got()
	require.NotEmpty(t, got)
	return got[0]
}
