// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/backend"
	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a backend whose pages are tested.
type site struct {
	t   testing.TB
	url string
	b   *backend.Backend
}

// serve starts a backend whose clock is now; nil is the real one.
func serve(tb testing.TB, now func() time.Time) *site {
	tb.Helper()
	b, err := backend.New(tb.Context(), backend.Options{DB: filepath.Join(tb.TempDir(), "x.db"), Now: now, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(tb, err)
	srv := httptest.NewServer(b.Handler())
	tb.Cleanup(func() {
		b.StopStreams()
		srv.Close()
		assert.NoError(tb, b.Close())
	})
	return &site{tb, srv.URL, b}
}

func (s *site) put(events ...backendapi.Event) {
	s.t.Helper()
	batch := backendtest.RandomBatchID(backendtest.Batch(events...))
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, backendapi.EventsPath, strings.NewReader(mustJSON(s.t, batch)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(backendapi.HeaderTenant, backendtest.Tenant)
	s.b.Handler().ServeHTTP(w, r)
	require.Equal(s.t, http.StatusAccepted, w.Code, "%s", w.Body)
}

func (s *site) get(path string, header ...string) (int, http.Header, string) {
	s.t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	s.b.Handler().ServeHTTP(w, r)
	return w.Code, w.Header(), w.Body.String()
}

// recent returns a life that began some minutes ago, so that the last hour shows it.
func recent(n int, name string, minutes float64) backendtest.Life {
	l := backendtest.NewLife(n)
	l.Name, l.Created = name, time.Now().UTC().Add(-time.Duration(minutes*float64(time.Minute)))
	return l
}

func TestOverviewOfEmptyBackendShowsRemedy(t *testing.T) {
	code, header, body := serve(t, nil).get("/")
	assert.Equal(t, 200, code)
	assert.Contains(t, body, "No container is known yet")
	csp := header.Get("Content-Security-Policy")
	assert.Contains(t, csp, "default-src 'none'")
	assert.NotContains(t, csp, "unsafe")
	assert.NotContains(t, body, "style=", "the policy forbids styles in attributes")
	assert.NotContains(t, body, "http://", "nothing is loaded from elsewhere")
	assert.NotContains(t, body, "https://")
}

func TestHostileNamesAreEscaped(t *testing.T) {
	s := serve(t, nil)
	const hostile = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	l := recent(0, hostile, 5)
	start, stop := l.Started(1), l.Stopped(2, 1, 1, hostile)
	for _, e := range []*backendapi.Event{&start, &stop} {
		e.Node, e.Workload.Pod, e.Workload.Namespace, e.Workload.ImageRef = hostile, hostile, hostile, hostile
		e.Workload.Labels = map[string]string{hostile: hostile}
		e.Process = &backendapi.Process{Executable: hostile, BuildID: hostile}
		e.LoadedLibs = []backendapi.LoadedLib{{Path: hostile, BuildID: hostile}}
		e.Evidence = []backendapi.Evidence{{Signal: hostile, Value: hostile}}
		e.Run.Signal = hostile
	}
	loop := l.InRun(backendapi.KindCrashLoop, 3, 1)
	loop.Workload = start.Workload
	loop.CrashLoop = &backendapi.CrashLoop{Count: 3, WindowSeconds: 600, Reason: hostile}
	gap := l.Event(backendapi.KindObserverGap, 4)
	gap.Workload, gap.Gap = nil, &backendapi.Gap{Runtime: hostile, Cause: hostile, From: l.At(1), To: l.At(2)}
	health := l.InRun(backendapi.KindHealth, 5, 1)
	health.Workload, health.Evidence = start.Workload, start.Evidence
	s.put(start, stop, loop, gap, health)
	for _, path := range []string{"/", "/?show=all", "/?q=" + strings.NewReplacer(`"`, "%22", "<", "%3C", ">", "%3E", " ", "%20").Replace(hostile), "/containers/" + l.ID, "/containers/%3Cscript%3E"} {
		_, _, body := s.get(path)
		assert.NotContains(t, body, "<script>", path)
		assert.NotContains(t, body, "<img", path)
		assert.Contains(t, body, "&lt;script&gt;", path)
	}
}

func TestOverviewCountsAndOrdersContainers(t *testing.T) {
	s := serve(t, nil)
	fine, dead, killed, done := recent(0, "fine", 30), recent(1, "dead", 20), recent(2, "killed", 10), recent(3, "done", 5)
	looping := recent(4, "looping", 3)
	loop := looping.InRun(backendapi.KindCrashLoop, 2, 1)
	loop.CrashLoop = &backendapi.CrashLoop{Count: 3, WindowSeconds: 600}
	old := recent(5, "old", 300)
	s.put(fine.Started(1), dead.Started(1), dead.Stopped(61, 1, 3, "Error"), killed.Started(1), killed.Stopped(2, 1, 137, "OOMKilled"),
		done.Started(1), done.Stopped(9, 1, 0, "Completed"), looping.Started(1), loop, old.Started(1), old.Stopped(3, 1, 137, "OOMKilled"),
		old.Event(backendapi.KindRemove, 4))
	_, _, body := s.get("/")
	flat := strings.Join(strings.Fields(body), " ")
	for _, want := range []string{
		"<b>2</b><span>running<small> of 5 containers</small>", "<b>2</b><span>failed", "<b>1</b><span>crash-looping",
		"<b>1</b><span>OOM kills", "crash-looping", "OOM-killed, exit 137", "exit 3", "completed",
		"stopped: exit 3, ran 1 m",
	} {
		assert.Contains(t, flat, want)
	}
	at := func(name string) int { return strings.Index(body, `">`+name+`</a>`) }
	assert.Less(t, at("looping"), at("dead"), "trouble first")
	assert.Less(t, at("dead"), at("fine"))
	assert.Less(t, at("fine"), at("done"))
	assert.Equal(t, -1, at("old"))

	_, _, body = s.get("/?show=problems")
	assert.Equal(t, 3, strings.Count(body, "<tr data-key="))
	_, _, body = s.get("/?show=all&q=OLD")
	assert.Equal(t, 1, strings.Count(body, "<tr data-key="))
	_, _, body = s.get("/?q=nothing-like-it")
	assert.Contains(t, body, "Nothing matches")
	_, _, body = s.get("/", backendapi.HeaderTenant, "globex")
	assert.Zero(t, strings.Count(body, "<tr data-key="), "another tenant's view")
}

func TestContainerPageShowsRunsAndUncertainty(t *testing.T) {
	s := serve(t, nil)
	l := recent(0, "api", 30)
	stop := l.Stopped(600, 1, 0, "host_reboot")
	stop.Run.ExitCode = nil
	stop.Observation.Precision, stop.Observation.WindowStart = "window", new(l.At(500))
	stop.Observation.MissedRuns = new(uint32(2))
	failed := recent(1, "api", 1)
	never := failed.Stopped(1, 0, 128, "StartError")
	never.Run.StartedAt = nil
	s.put(l.Started(1), stop, l.InRun(backendapi.KindRestart, 700, 700), never)
	for _, id := range []string{l.ID, "containerd:%2F%2F" + l.ID} {
		code, _, body := s.get("/containers/" + id)
		assert.Equal(t, 200, code)
		for _, want := range []string{
			"exit unknown, host_reboot", "9 m 59 s", "happened at some time since", "2 runs before it were missed", "never started",
			fmt.Sprintf("/containers/containerd:%%2F%%2F%s", failed.ID),
		} {
			assert.Contains(t, body, want)
		}
	}
	code, _, body := s.get("/containers/unknown")
	assert.Equal(t, 404, code)
	assert.Contains(t, body, "not known")
}

func TestAssetsAreServedWithETag(t *testing.T) {
	s := serve(t, nil)
	for file, want := range map[string]string{"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"} {
		code, header, _ := s.get("/assets/" + file)
		assert.Equal(t, 200, code)
		assert.True(t, strings.HasPrefix(header.Get("Content-Type"), want), header.Get("Content-Type"))
		code, _, _ = s.get("/assets/"+file, "If-None-Match", header.Get("ETag"))
		assert.Equal(t, 304, code)
	}
	for _, file := range []string{"page.html", "..%2Fpage.go", "%2E%2E", ""} {
		code, _, _ := s.get("/assets/" + file)
		assert.Equal(t, 404, code, file)
	}
}

func TestOverviewShowsUnknownStateForLoneCrashLoopEnd(t *testing.T) {
	s := serve(t, nil)
	s.put(func() backendapi.Event {
		e := backendtest.NewLife(0).Event(backendapi.KindCrashLoopEnd, 0)
		e.EventID = uuid.NewString()
		return e
	}())
	code, _, body := s.get("/")
	assert.Equal(t, 200, code)
	assert.Contains(t, body, "unknown", "a container of which only that is known")
}
