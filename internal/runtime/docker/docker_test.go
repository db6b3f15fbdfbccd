// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// maxParallel is the maximum number of parallel tests. Tests with a real engine mostly wait for it, so the number does not depend
// on the number of processors.
const maxParallel = "4"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", maxParallel); err != nil { // an argument on the command line overrides it
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/Microsoft/go-winio.ioCompletionProcessor")) // it never ends
}

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
	e.mu.Unlock()
	time.Sleep(wait)
	switch {
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

func listItem(id, state, status, more string) string {
	return fmt.Sprintf(`{"Id":%q,"Names":["/web","/other/alias"],"Image":"example.test/web:1","ImageID":%q,"Command":"/web --password %s",
		"Created":1700000000,"Ports":[],"Labels":{"app":"web","tier.a":"x","secret":%q,"com.docker.compose.project":"shop",
		"com.docker.compose.service":"web","com.docker.compose.container-number":"2"},"State":%q,"Status":%q%s}`, id, img, canary, canary, state, status, more)
}

func inspection(id, state string) string {
	return fmt.Sprintf(`{"Id":%q,"Created":"2023-11-14T22:13:20.123456789Z","Path":"/web","Args":["--password",%q],"State":%s,"Image":%q,
		"Name":"/web","Config":{"Image":"example.test/web:1","Env":["PASSWORD=%s"],"Cmd":[%q]}}`, id, canary, state, img, canary, canary)
}

func TestInfoDescribesEngine(t *testing.T) {
	t.Run("Docker", func(t *testing.T) {
		info, err := newEngine(t).runtime().Info(t.Context())
		require.NoError(t, err)
		assert.Equal(t, runtime.Info{Engine: "docker", Version: "20.10.24", APIVersion: "1.41", ShowsPause: true, RestartsInPlace: true, Platform: container.Platform{OS: "linux", Arch: "amd64"}}, info)
	})
	t.Run("Podman", func(t *testing.T) {
		e := newEngine(t)
		e.respond("/version", `{"Version":"4.3.1","ApiVersion":"1.41","Components":[{"Name":"Podman Engine"},{"Name":"Conmon"}]}`)
		info, err := e.runtime().Info(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "podman", info.Engine)
	})
	t.Run("an engine that is older than 19.03", func(t *testing.T) {
		e := newEngine(t)
		e.api = "1.24"
		_, err := e.runtime().Info(t.Context())
		require.ErrorContains(t, err, "upgrade the engine")
	})
	for newest, want := range map[string]string{"1.39": "", "1.40": "1.40", "1.56": "1.56", "1.99": "1.56"} {
		t.Run("an engine whose newest version is "+newest, func(t *testing.T) {
			e := newEngine(t)
			e.api = newest
			info, err := e.runtime().Info(t.Context())
			if want == "" {
				require.ErrorContains(t, err, "upgrade the engine")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, want, info.APIVersion)
		})
	}
	t.Run("an engine that is downgraded", func(t *testing.T) {
		e := newEngine(t)
		e.api = "1.45"
		e.respond("/containers/json", `[]`)
		r := e.runtime()
		_, err := r.List(t.Context(), nil)
		require.NoError(t, err)
		e.mu.Lock()
		e.api = "1.41"
		e.mu.Unlock()
		_, err = r.List(t.Context(), nil)
		require.Error(t, err)
		_, err = r.List(t.Context(), nil)
		require.NoError(t, err, "the version was negotiated again")
	})
	t.Run("no socket", func(t *testing.T) {
		r, err := New(Options{Endpoint: nowhere})
		require.NoError(t, err)
		_, err = r.Info(t.Context())
		require.ErrorContains(t, err, "does not exist")
	})
	t.Run("another server listens", func(t *testing.T) {
		e := newEngine(t)
		e.mu.Lock()
		delete(e.responses, "/version")
		e.mu.Unlock()
		_, err := e.runtime().Info(t.Context())
		require.ErrorIs(t, err, runtime.ErrNotSupported)
	})
}

func TestListReturnsAllStates(t *testing.T) {
	states := map[string]container.State{
		"created": container.StateCreated, "running": container.StateRunning, "paused": container.StatePaused,
		"restarting": container.StateExited, "removing": container.StateExited, "exited": container.StateExited, "dead": container.StateExited,
		"configured": container.StateCreated, "stopped": container.StateExited, "": container.StateUnknown, "new": container.StateUnknown,
	}
	for word, want := range states {
		t.Run("state "+word, func(t *testing.T) {
			e := newEngine(t)
			e.respond("/containers/json", "["+listItem(id1, word, "Up 1 second", "")+"]")
			list, err := e.runtime().List(t.Context(), nil)
			require.NoError(t, err)
			require.Len(t, list, 1)
			assert.Equal(t, want, list[0].State)
			assert.Equal(t, id1, list[0].ID)
			assert.Equal(t, int64(1700000000e9), list[0].CreatedAt)
		})
	}
}

func TestListFailsWhenResponseIsCutOff(t *testing.T) {
	e := newEngine(t)
	e.respond("/containers/json", "["+listItem(id1, "running", "Up 1 second", "")+",")
	_, err := e.runtime().List(t.Context(), nil)
	require.Error(t, err)
}

func TestDescribeReadsListItem(t *testing.T) {
	e := newEngine(t)
	e.respond("/containers/json", "["+listItem(id1, "running", "Up 1 second", `,"ImageManifestDescriptor":{"digest":"`+mfd+`"}`)+"]")
	r := e.runtime()
	list, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	c, err := r.Describe(t.Context(), list[0])
	require.NoError(t, err)
	assert.Equal(t, &container.Container{
		Engine: "docker", Runtime: "test", ID: id1, Name: "web", CreatedAt: time.Unix(1700000000, 0).UTC(),
		Image:   container.Image{Reference: "example.test/web:1", ID: img, ManifestDigest: mfd},
		Labels:  map[string]string{"app": "web", "tier.a": "x"},
		Compose: container.Compose{Project: "shop", Service: "web", Number: "2"},
	}, c)
}

func TestListOmitsKubernetesContainersWhenObservedThroughCRI(t *testing.T) {
	const labels = `"io.kubernetes.pod.uid":"u1","io.kubernetes.pod.name":"p","io.kubernetes.pod.namespace":"ns","io.kubernetes.container.name":"api"`
	item := `{"Id":"` + id1 + `","Names":["/k8s_api_p_ns_u1_3"],"Image":"` + img + `","ImageID":"` + img + `","Created":1700000000,"Labels":{` + labels + `},"State":"running","Status":"Up 1 second"}`
	sandbox := `{"Id":"` + id2 + `","Names":["/k8s_POD_p_ns_u1_0"],"Created":1700000000,"Labels":{` + labels + `,"io.kubernetes.docker.type":"podsandbox"},"State":"running","Status":"Up 1 second"}`
	e := newEngine(t)
	e.respond("/containers/json", "["+item+","+sandbox+"]")
	spoken := false
	r := e.runtime(func(o *Options) { o.ObservedThroughCRI = func() bool { return spoken } })
	list, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, list, 2, "any container may bear the label of a sandbox: it hides nothing")
	c, err := r.Describe(t.Context(), list[0])
	require.NoError(t, err)
	assert.Equal(t, container.Pod{Namespace: "ns", Name: "p", UID: "u1"}, c.Pod)
	assert.Equal(t, "api", c.Name)
	assert.EqualValues(t, 3, c.Attempt)
	assert.Empty(t, c.Image.Reference, "an image id is not a reference")

	spoken = true
	list, err = r.List(t.Context(), nil)
	require.NoError(t, err)
	assert.Len(t, list, 2, "a listed container is not omitted later")
	fresh := e.runtime(func(o *Options) { o.ObservedThroughCRI = func() bool { return true } })
	list, err = fresh.List(t.Context(), nil)
	require.NoError(t, err)
	assert.Empty(t, list, "it is observed through CRI")
}

func TestInspectReturnsSnapshotOfEachStatus(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, s)
		require.NoError(t, err)
		return v
	}
	const start, end = "2023-11-14T22:13:21.5Z", "2023-11-14T22:14:00.25Z"
	cases := []struct {
		name  string
		state string
		want  container.Snapshot
	}{
		{"created", `{"Status":"created","StartedAt":"0001-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z"}`, container.Snapshot{State: container.StateCreated}},
		{
			"running", `{"Status":"running","Running":true,"Pid":42,"StartedAt":"` + start + `","FinishedAt":"0001-01-01T00:00:00Z"}`,
			container.Snapshot{State: container.StateRunning, Run: container.Run{StartedAt: at(start), PID: 42}},
		},
		{
			"running again", `{"Status":"running","Running":true,"Pid":42,"StartedAt":"` + end + `","FinishedAt":"` + start + `"}`,
			container.Snapshot{State: container.StateRunning, Run: container.Run{StartedAt: at(end), FinishedAt: at(start), PID: 42}},
		},
		{
			"paused", `{"Status":"paused","Running":true,"Paused":true,"Pid":42,"StartedAt":"` + start + `"}`,
			container.Snapshot{State: container.StatePaused, Run: container.Run{StartedAt: at(start), PID: 42}},
		},
		{
			"healthy", `{"Status":"running","Pid":42,"StartedAt":"` + start + `","Health":{"Status":"healthy","Log":[{"Output":"` + canary + `"}]}}`,
			container.Snapshot{State: container.StateRunning, Run: container.Run{StartedAt: at(start), PID: 42}, Health: "healthy"},
		},
		{
			"health without a check", `{"Status":"running","Pid":42,"StartedAt":"` + start + `","Health":{"Status":""}}`,
			container.Snapshot{State: container.StateRunning, Run: container.Run{StartedAt: at(start), PID: 42}},
		},
		{
			"a child OOM-killed", `{"Status":"running","Pid":42,"OOMKilled":true,"StartedAt":"` + start + `"}`,
			container.Snapshot{State: container.StateRunning, Run: container.Run{StartedAt: at(start), PID: 42}, OOM: true},
		},
		{
			"exited", `{"Status":"exited","ExitCode":3,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 3, ExitKnown: true, Reason: "Error"}},
		},
		{
			"completed", `{"Status":"exited","ExitCode":0,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitKnown: true, Reason: "Completed"}},
		},
		{
			"OOM-killed", `{"Status":"exited","ExitCode":137,"OOMKilled":true,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 137, ExitKnown: true, Reason: "OOMKilled", OOMKilled: true}},
		},
		{
			"ended by itself after a child was OOM-killed", `{"Status":"exited","ExitCode":0,"OOMKilled":true,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitKnown: true, Reason: "Completed"}},
		},
		{
			"restarting", `{"Status":"restarting","Running":true,"Restarting":true,"ExitCode":1,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 1, ExitKnown: true, Reason: "Error"}},
		},
		{
			"restarting for the third time", `{"Status":"restarting","ExitCode":1,"StartedAt":"` + start + `","FinishedAt":"` + end + `"},"RestartCount":3,"Ignored":{}`,
			container.Snapshot{State: container.StateExited, RestartCount: 2, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 1, ExitKnown: true, Reason: "Error"}},
		},
		{
			"Windows, unsigned", `{"Status":"exited","ExitCode":3221225786,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 3221225786, ExitKnown: true, Reason: "Error"}},
		},
		{
			"Windows, signed", `{"Status":"exited","ExitCode":-1073741510,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 3221225786, ExitKnown: true, Reason: "Error"}},
		},
		{
			"start failed", `{"Status":"created","ExitCode":127,"Error":"exec: ` + canary + `: not found","StartedAt":"0001-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{ExitCode: 127, ExitKnown: true, Reason: "StartError"}},
		},
		{
			"a later start failed", `{"Status":"exited","ExitCode":127,"Error":"exec: ` + canary + `: not found","StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end)}},
		},
		{
			"start failed without a code", `{"Status":"created","ExitCode":0,"Error":"` + canary + `","StartedAt":"0001-01-01T00:00:00Z"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{ExitKnown: true, Reason: "StartError"}},
		},
		{
			"start failed without an error", `{"Status":"created","ExitCode":128,"StartedAt":"0001-01-01T00:00:00Z"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{ExitCode: 128, ExitKnown: true, Reason: "StartError"}},
		},
		{
			"running, with an end that is not before its start", `{"Status":"running","Pid":42,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateRunning, Run: container.Run{StartedAt: at(start), PID: 42}},
		},
		{
			"restarting, and nothing counted", `{"Status":"restarting","ExitCode":1,"StartedAt":"` + start + `","FinishedAt":"` + end + `"},"RestartCount":0,"Ignored":{}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 1, ExitKnown: true, Reason: "Error"}},
		},
		{"removed before it ran", `{"Status":"removing","StartedAt":"0001-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z"}`, container.Snapshot{State: container.StateCreated}},
		{
			"dead", `{"Status":"dead","Dead":true,"ExitCode":1,"StartedAt":"` + start + `","FinishedAt":"` + end + `"}`,
			container.Snapshot{State: container.StateExited, Run: container.Run{StartedAt: at(start), FinishedAt: at(end), ExitCode: 1, ExitKnown: true, Reason: "Error"}},
		},
		{"1970", `{"Status":"running","Pid":42,"StartedAt":"1970-01-01T00:00:00Z"}`, container.Snapshot{State: container.StateRunning, Run: container.Run{PID: 42}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := newEngine(t)
			e.respond("/containers/"+id1+"/json", inspection(id1, c.state))
			e.respond("/images/"+img+"/json", `{"Id":"`+img+`","RepoDigests":["example.test/web@`+mfd+`"],"Config":{"Env":["PASSWORD=`+canary+`"]}}`)
			known := &container.Container{ID: id1, Name: "old-name", CreatedAt: at("2023-11-14T22:13:20Z")}
			got, err := e.runtime().Inspect(t.Context(), known)
			require.NoError(t, err)
			assert.Equal(t, "old-name", known.Name, "what was handed out is not changed")
			assert.Equal(t, "web", got.Container.Name)
			assert.Equal(t, at("2023-11-14T22:13:20.123456789Z"), got.Container.CreatedAt)
			assert.Equal(t, container.Image{Reference: "example.test/web:1", ID: img, RepoDigests: []string{"example.test/web@" + mfd}, ManifestDigest: mfd}, got.Container.Image)
			assertNoCanary(t, got)
			c.want.Container = got.Container
			assert.Equal(t, c.want, got)
		})
	}
}

// assertNoCanary searches the secret in all parts of a value.
func assertNoCanary(t *testing.T, v any) {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	assert.NotContains(t, string(raw), canary)
}

func TestInspectReturnsErrNotFoundWhenContainerIsGone(t *testing.T) {
	_, err := newEngine(t).runtime().Inspect(t.Context(), &container.Container{ID: id1})
	require.ErrorIs(t, err, runtime.ErrNotFound)
	_, err = newEngine(t).runtime().Inspect(t.Context(), &container.Container{ID: "../version"})
	require.ErrorIs(t, err, runtime.ErrNotFound, "an id that is a path is never requested")
	_, err = newEngine(t).runtime().Find(t.Context(), id1)
	require.Error(t, err)
}

func TestInspectRequestsEachImageOnce(t *testing.T) {
	e := newEngine(t)
	for _, id := range []string{id1, id2} {
		e.respond("/containers/"+id+"/json", inspection(id, `{"Status":"running","StartedAt":"2023-11-14T22:13:21.5Z"}`))
	}
	r := e.runtime()
	for range 3 {
		for _, id := range []string{id1, id2} {
			got, err := r.Inspect(t.Context(), &container.Container{ID: id})
			require.NoError(t, err)
			assert.Empty(t, got.Container.Image.RepoDigests, "the image is gone")
		}
	}
	assert.Equal(t, 1, e.times("/images/"+img+"/json"))
}

func TestInspectKeepsKubernetesContainerName(t *testing.T) {
	e := newEngine(t)
	e.respond("/containers/"+id1+"/json", inspection(id1, `{"Status":"running","StartedAt":"2023-11-14T22:13:21.5Z"}`))
	got, err := e.runtime().Inspect(t.Context(), &container.Container{ID: id1, Name: "api", Attempt: 3, Pod: container.Pod{UID: "u1"}})
	require.NoError(t, err)
	assert.Equal(t, "api", got.Container.Name)
	assert.EqualValues(t, 3, got.RestartCount)
}

func TestListKeepsFailedStartExited(t *testing.T) {
	e := newEngine(t)
	e.respond("/containers/json", "["+listItem(id1, "created", "Created", "")+"]")
	e.respond("/containers/"+id1+"/json", inspection(id1, `{"Status":"created","ExitCode":127,"Error":"x"}`))
	r := e.runtime()
	list, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, container.StateCreated, list[0].State)
	_, err = r.Inspect(t.Context(), &container.Container{ID: id1})
	require.NoError(t, err)
	before, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, container.StateExited, before[0].State)
	after, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, before[0].Fingerprint, after[0].Fingerprint, "it is not inspected again")
}

func TestPIDIsReadFromInspection(t *testing.T) {
	e := newEngine(t)
	e.respond("/containers/"+id1+"/json", inspection(id1, `{"Status":"running","Pid":42,"StartedAt":"2023-11-14T22:13:21.5Z"}`))
	pid, err := e.runtime().PID(t.Context(), id1)
	require.NoError(t, err)
	assert.EqualValues(t, 42, pid)
}

func TestCallsFailWhenDeadlineExpires(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	r, err := New(Options{Endpoint: "tcp://" + l.Addr().String(), Timeout: 50 * time.Millisecond})
	require.NoError(t, err)
	_, err = r.List(context.Background(), nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "did not answer within 50ms")
	require.NoError(t, r.Close())
}
