// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	id1 = "1111111111111111111111111111111111111111111111111111111111111111"
	id2 = "2222222222222222222222222222222222222222222222222222222222222222"
	img = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	mfd = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	// canary is a stand-in for a secret. It must never leave this package.
	canary = "hunter2-canary"
)

// engine is a fake Docker Engine on a Unix socket.
type engine struct {
	t         *testing.T
	endpoint  string
	mu        sync.Mutex
	api       string            // the newest API version that it supports
	responses map[string]string // by path without the version
	status    map[string]int
	refuse    map[string]int // paths that only return this status
	slow      map[string]time.Duration
	requests  map[string]int
	streams   map[string]func(http.ResponseWriter) // responses of any length
	events    []string
	hangUp    chan struct{} // closes the event stream
	queries   []string      // of /events
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	dir, err := os.MkdirTemp("", "zst") //nolint:usetesting // a test's own directory has too long a name for a socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	e := &engine{
		t: t, api: "1.41",
		responses: map[string]string{
			"/version": `{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux","Arch":"amd64","Components":[{"Name":"Engine","Version":"20.10.24"}]}`,
		},
		status: map[string]int{}, refuse: map[string]int{}, requests: map[string]int{}, hangUp: make(chan struct{}),
	}
	l, endpoint := listen(t, dir)
	e.endpoint = endpoint
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: e, ReadHeaderTimeout: time.Minute}}
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return e
}

// newPodman returns a fake Podman.
func newPodman(t *testing.T) *engine {
	t.Helper()
	e := newEngine(t)
	e.respond("/version", `{"Version":"4.3.1","ApiVersion":"1.41","Os":"linux","Arch":"amd64","Components":[{"Name":"Podman Engine"},{"Name":"Conmon"}]}`)
	return e
}

func (e *engine) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	e.mu.Lock()
	api := e.api
	w.Header().Set("Api-Version", api)
	w.Header().Set("Content-Type", "application/json")
	path := q.URL.Path
	if rest, ok := strings.CutPrefix(path, "/v"); ok {
		version, after, _ := strings.Cut(rest, "/")
		path = "/" + after
		if version > api {
			e.mu.Unlock()
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"message":"client version %s is too new. Maximum supported API version is %s"}`, version, api)
			return
		}
	}
	e.requests[path]++
	response, known := e.responses[path]
	status, events, hangUp, refused := e.status[path], e.events, e.hangUp, e.refuse[path]
	wait := e.slow[path]
	if path == "/events" {
		e.queries = append(e.queries, q.URL.RawQuery)
	}
	stream := e.streams[path]
	e.mu.Unlock()
	time.Sleep(wait)
	switch {
	case stream != nil:
		stream(w)
	case refused != 0:
		w.WriteHeader(refused)
		_, _ = w.Write([]byte(`{"message":"refused"}`))
	case path == "/_ping":
		_, _ = w.Write([]byte("OK"))
	case path == "/events":
		for _, m := range events {
			_, _ = w.Write([]byte(m + "\n"))
		}
		w.(http.Flusher).Flush()
		select {
		case <-hangUp:
		case <-q.Context().Done():
		}
	case !known:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"message":"No such thing: ` + path + `"}`))
	default:
		if status != 0 {
			w.WriteHeader(status)
		}
		_, _ = w.Write([]byte(response))
	}
}

func (e *engine) respond(path, body string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.responses[path] = body
}

// stream has a function write the response to a path.
func (e *engine) stream(path string, write func(http.ResponseWriter)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.streams = map[string]func(http.ResponseWriter){path: write}
}

func (e *engine) times(path string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.requests[path]
}

func (e *engine) runtime(change ...func(*Options)) *Runtime {
	e.t.Helper()
	o := Options{Name: "test", Endpoint: e.endpoint, Timeout: 5 * time.Second, Labels: []string{"app", "tier.*"}}
	for _, c := range change {
		c(&o)
	}
	r, err := New(o)
	require.NoError(e.t, err)
	e.t.Cleanup(func() { assert.NoError(e.t, r.Close()) })
	return r
}

// informed returns a Runtime that knows the engine's name and platform.
func (e *engine) informed() *Runtime {
	e.t.Helper()
	r := e.runtime()
	_, err := r.Info(e.t.Context())
	require.NoError(e.t, err)
	return r
}

func listItem(id, state, status, more string) string {
	return fmt.Sprintf(`{"Id":%q,"Names":["/web","/other/alias"],"Image":"example.test/web:1","ImageID":%q,"Command":"/web --password %s",
		"Created":1700000000,"Ports":[],"Labels":{"app":"web","tier.a":"x","secret":%q,"com.docker.compose.project":"shop",
		"com.docker.compose.service":"web","com.docker.compose.container-number":"2"},"State":%q,"Status":%q%s}`, id, img, canary, canary, state, status, more)
}

func inspection(id, state string) string {
	return fmt.Sprintf(`{"Id":%q,"Created":"2023-11-14T22:13:20.123456789Z","Path":"/web","Args":["--password",%q],"State":%s,"Image":%q,
		"Name":"/web","Config":{"Image":"example.test/web:1","Env":["PASSWORD=%s"],"Cmd":[%q]}}`, id, canary, state, img, canary, canary)
}

// assertNoCanary searches the secret in all parts of a value.
func assertNoCanary(t *testing.T, v any) {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	assert.NotContains(t, string(raw), canary)
}
