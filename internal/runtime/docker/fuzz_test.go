// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package docker

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/test/oracle"
	"github.com/zastava-otel/zastava/internal/test/socketdir"
)

// answering is an engine that gives the same answer to every question but the first two, which are about its version.
type answering struct {
	status atomic.Int64
	body   atomic.Pointer[[]byte]
}

func (a *answering) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Api-Version", "1.45")
	if strings.HasSuffix(q.URL.Path, "/_ping") {
		return
	}
	w.WriteHeader(int(a.status.Load()))
	_, _ = w.Write(*a.body.Load())
}

func (a *answering) start(f *testing.F) *Runtime {
	f.Helper()
	path := filepath.Join(socketdir.New(f), "e.sock")
	l, err := (&net.ListenConfig{}).Listen(f.Context(), "unix", path)
	require.NoError(f, err)
	server := httptest.NewUnstartedServer(a)
	_ = server.Listener.Close()
	server.Listener = l
	server.Start()
	f.Cleanup(server.Close)
	r, err := New(Options{Endpoint: "unix://" + path, Labels: []string{"*"}, Timeout: 10 * time.Second})
	require.NoError(f, err)
	f.Cleanup(func() { _ = r.Close() })
	return r
}

func plausibleOrZero(t *testing.T, at time.Time) {
	t.Helper()
	assert.True(t, at.IsZero() || (!at.Before(earliest) && !at.After(latest)), "an implausible time: %v", at)
}

// FuzzEngineAnswers: whatever an engine answers to a list, an inspection or a subscription, it yields valid ids, bounded texts and
// plausible times, or an error.
func FuzzEngineAnswers(f *testing.F) {
	a := &answering{}
	r := a.start(f)
	f.Add(200, []byte("["+listItem(id1, "running", "Up 291 years", `,"Labels":{"a":"b"},"Health":{"Status":"healthy"}`)+"]"))
	f.Add(200, []byte(`[{"Id":"`+id1+`","Created":-9223372036854775808,"Names":["/a",""],"Status":"Exited (137) 2147483647 years ago"},{}]`))
	f.Add(200, []byte(inspection(id1, `{"Status":"exited","ExitCode":-1073741510,"StartedAt":"2023-11-14T22:13:21.5Z","FinishedAt":"0001-01-01T00:00:00Z","Pid":-1}`)))
	f.Add(200, []byte(event("die", 1700000000e9, `"exitCode":"99999999999"`)+event("oom", -1, "")))
	f.Add(500, []byte(`{"message":"`+strings.Repeat("x", 5000)+`"}`))
	f.Add(200, []byte(strings.Repeat("[", 20_000)))
	f.Add(200, []byte(`{"State":{"Pid":1e999999}}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		oracle.Bound(t, oracle.Parsing(len(body)))
		a.status.Store(int64(200 + max(0, status)%400))
		a.body.Store(&body)
		summaries, err := r.List(t.Context(), nil)
		if err != nil {
			assert.Empty(t, summaries)
			assert.Less(t, len(err.Error()), 16<<10)
		}
		for _, s := range summaries {
			assert.True(t, validID(s.ID))
			c, err := r.Describe(t.Context(), s)
			require.NoError(t, err)
			assert.LessOrEqual(t, len(c.Name), 3*runtime.MaxText)
			plausibleOrZero(t, c.CreatedAt)
		}
		if s, err := r.Inspect(t.Context(), &container.Container{ID: id1}); err == nil {
			plausibleOrZero(t, s.Run.StartedAt)
			plausibleOrZero(t, s.Run.FinishedAt)
		}
		assert.Error(t, r.Watch(t.Context(), func() {}, func(n runtime.Notice) {
			assert.True(t, validID(n.ID))
			plausibleOrZero(t, n.At)
		}), "the stream of this engine always ends")
	})
}
