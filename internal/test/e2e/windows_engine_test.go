// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/test/socketdir"
)

// controlC is STATUS_CONTROL_C_EXIT, the exit code of an interrupted Windows process: more than 31 bits.
const controlC = 3221225786

// windowsLabels are one label of the allow-list and one with a secret, as JSON.
var windowsLabels = fmt.Sprintf(`"app":%q,"token":%q`, allowed, canaries["a label"])

// windowsEngine answers as a Docker Engine on Windows Server does, according to the public documentation of the Engine API; no such
// engine runs on Linux. It has one container, with process isolation and full of secrets.
type windowsEngine struct {
	socket  string
	id      string
	started time.Time

	mu     sync.Mutex
	ended  time.Time
	stream chan string // lines of /events
}

func newWindowsEngine(t *testing.T) *windowsEngine {
	t.Helper()
	e := &windowsEngine{
		socket: filepath.Join(socketdir.New(t), "d.sock"), id: strings.Repeat("c0de", 16), started: time.Now().Add(-time.Minute).UTC().Truncate(100 * time.Nanosecond),
		stream: make(chan string, 2),
	}
	l, err := net.Listen("unix", e.socket)
	require.NoError(t, err)
	s := &http.Server{Handler: e, ReadHeaderTimeout: patient}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(l) // until it is closed
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-served
	})
	return e
}

// end ends the container by an interrupt.
func (e *windowsEngine) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = time.Now().UTC().Truncate(100 * time.Nanosecond)
	event := func(action, attributes string) {
		e.stream <- fmt.Sprintf(`{"Type":"container","Action":%q,"Actor":{"ID":%q,"Attributes":{%s,%s,"image":"example.test/iis:ltsc2022","name":"iis"}},
			"scope":"local","time":%d,"timeNano":%d}`, action, e.id, windowsLabels, attributes, e.ended.Unix(), e.ended.UnixNano())
	}
	event("exec_create: cmd /c "+canaries["an exec's command line"], `"execID":"4f"`)
	event("die", fmt.Sprintf(`"execDuration":"60","exitCode":"%d"`, controlC))
}

func (e *windowsEngine) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	e.mu.Lock()
	ended := e.ended
	e.mu.Unlock()
	state, status := `{"Status":"running","Running":true,"Pid":4321,"ExitCode":0,"StartedAt":%q,"FinishedAt":"0001-01-01T00:00:00Z"}`, "Up About a minute"
	state = fmt.Sprintf(state, e.started.Format(time.RFC3339Nano))
	stateName := "running"
	if !ended.IsZero() {
		stateName, status = "exited", fmt.Sprintf("Exited (%d) 1 second ago", controlC)
		state = fmt.Sprintf(`{"Status":"exited","Pid":0,"ExitCode":%d,"StartedAt":%q,"FinishedAt":%q}`, controlC,
			e.started.Format(time.RFC3339Nano), ended.Format(time.RFC3339Nano))
	}
	const image = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	w.Header().Set("Api-Version", "1.47")
	w.Header().Set("Ostype", "windows")
	w.Header().Set("Content-Type", "application/json")
	path := q.URL.Path
	if strings.HasPrefix(path, "/v1.") {
		path = path[strings.IndexByte(path[1:], '/')+1:]
	}
	switch path {
	case "/_ping":
		_, _ = fmt.Fprint(w, "OK")
	case "/version":
		_, _ = fmt.Fprint(w, `{"Version":"27.3.1","ApiVersion":"1.47","MinAPIVersion":"1.24","Os":"windows","Arch":"amd64","KernelVersion":"10.0 20348"}`)
	case "/info":
		_, _ = fmt.Fprint(w, `{"OSType":"windows","Architecture":"x86_64","Isolation":"process","Driver":"windowsfilter","ServerVersion":"27.3.1"}`)
	case "/containers/json":
		_, _ = fmt.Fprintf(w, `[{"Id":%q,"Names":["/iis"],"Image":"example.test/iis:ltsc2022","ImageID":%q,"Command":"C:\\ServiceMonitor.exe w3svc","Created":%d,
			"Ports":[],"Labels":{%s},"State":%q,"Status":%q,"HostConfig":{"NetworkMode":"nat"},
			"Mounts":[{"Type":"bind","Source":"c:\\inetpub\\logs","Destination":"c:\\logs","RW":true}]}]`, e.id, image, e.started.Unix()-1, windowsLabels, stateName, status)
	case "/containers/" + e.id + "/json":
		_, _ = fmt.Fprintf(w, `{"Id":%q,"Created":%q,"Path":"C:\\ServiceMonitor.exe","Args":["w3svc","--password=%s"],"State":%s,"Image":%q,"Name":"/iis","RestartCount":0,
			"LogPath":"C:\\ProgramData\\docker\\containers\\iis-json.log","Driver":"windowsfilter","Platform":"windows","HostConfig":{"Isolation":"default","NetworkMode":"nat"},
			"Config":{"Image":"example.test/iis:ltsc2022","Entrypoint":["C:\\ServiceMonitor.exe","w3svc"],"WorkingDir":"C:\\inetpub","Env":["DB_PASSWORD=%s"],"Labels":{%s}}}`,
			e.id, e.started.Add(-time.Second).Format(time.RFC3339Nano), canaries["an argument"], state, image, canaries["an environment value"], windowsLabels)
	case "/images/" + image + "/json":
		_, _ = fmt.Fprintf(w, `{"Id":%q,"RepoTags":["example.test/iis:ltsc2022"],"Os":"windows","OsVersion":"10.0.20348.2700"}`, image)
	case "/events":
		w.(http.Flusher).Flush()
		for {
			select {
			case line := <-e.stream:
				_, _ = fmt.Fprintln(w, strings.ReplaceAll(line, "\n", " "))
				w.(http.Flusher).Flush()
			case <-q.Context().Done():
				return
			}
		}
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, `{"message":"page not found"}`)
	}
}

// checkExitCode checks that the exit code passes unchanged through record, queue and exporter to the backend's response.
func (e *windowsEngine) checkExitCode(t *testing.T, s *stack) {
	t.Helper()
	s.await("the running container", func() bool { return find(s.events(), e.id, backendapi.KindStart) != nil })
	e.end()
	s.await("its end", func() bool { return find(s.events(), e.id, backendapi.KindStop) != nil })
	// The stream reports the end first, and the inspection that follows reports it in a second revision.
	for _, ev := range s.events() {
		if ev.Kind != backendapi.KindStop {
			continue
		}
		require.NotNil(t, ev.Run)
		require.NotNil(t, ev.Run.ExitCode)
		assert.EqualValues(t, controlC, *ev.Run.ExitCode)
		assert.Equal(t, "Error", ev.Run.Reason)
		assert.False(t, ev.Run.OOMKilled)
		assert.Empty(t, ev.Run.Signal, "the exit code of Windows stands for no signal")
		assert.Equal(t, "windows", ev.Annotations["os.type"])
		assert.Equal(t, "process", ev.Annotations["zastava.container.isolation"], "the isolation that the engine uses by default")
	}
	assert.Contains(t, s.get(s.base+backendapi.EventsPath+"?limit=10"), `"exitCode":3221225786`, "as the API returns it")

	places := &places{found: map[string][]string{}}
	for _, file := range []string{"backend.db", "backend.db-wal"} {
		places.search(t, "the backend's database", filepath.Join(s.dir, file))
	}
	places.search(t, "", s.dir) // queue and checkpoint, log
	assert.Contains(t, places.found["the backend's database"], allowed, "nothing was searched")
	for file, found := range places.found {
		for where, secret := range canaries {
			assert.NotContains(t, found, secret, "%s holds %s", file, where)
		}
	}
}

func TestWindowsEngineIsObserved(t *testing.T) {
	options := append([]string{"receivers::criobserver::labels: [app]"}, quick...)
	t.Run("from a collector on Linux", func(t *testing.T) {
		e := newWindowsEngine(t)
		s := newStack(t, "unix://"+e.socket, "auto", append([]string{"receivers::criobserver::runtimes: [{engine: docker, endpoint: 'unix://" + e.socket + "'}]"}, options...)...)
		s.observe()
		e.checkExitCode(t, s)
	})
	t.Run("from a collector on Windows", func(t *testing.T) {
		w := newWine(t)
		e := newWindowsEngine(t)
		w.serve("docker_engine", e.socket)
		s := w.windowsSite(newStack(t, "", ""), nil, "npipe:////./pipe/docker_engine", options...)
		s.start()
		e.checkExitCode(t, s.stack)
	})
}
