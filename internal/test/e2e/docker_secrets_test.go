//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	api "github.com/moby/moby/api/types/container"
	moby "github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/engine"
)

// canaries are secrets, by where the container has them. None may be in any place that a record passes through.
var canaries = map[string]string{
	"an environment value":     "canary-env-4f1d",
	"a label":                  "canary-label-8a22",
	"an argument":              "canary-argument-91c0",
	"the password of a URL":    "canary-url-c3b7",
	"an exec's command line":   "canary-exec-d5e6",
	"a health check":           "canary-health-e7f8",
	"a health check's output":  "probe: flip", // how the probe's error message begins
	"a command that is absent": "canary-command-f9a0",
}

// allowed is the value of a label in the allow-list. It must be found wherever a record passes through, which proves the search.
const allowed = "allowed-7d3c"

// TestDockerSecretsAreNeverSent observes a container full of secrets while the backend is unavailable, then refuses, then accepts, and
// searches every file that the collector and the backend wrote.
func TestDockerSecretsAreNeverSent(t *testing.T) {
	d := engine.ForTest(t)
	gate := newGate(t)
	quarantine := filepath.Join(t.TempDir(), "quarantine")
	s := newStack(t, d.Endpoint(), "auto",
		"receivers::criobserver::labels: [app]",
		"exporters::zastavabackend::endpoint: "+gate.url,
		"exporters::zastavabackend::quarantine::directory: "+quarantine,
		"exporters::zastavabackend::retry_on_failure::max_interval: 1s",
		"service::telemetry::logs::level: debug",
	)
	gate.to(s.base)
	places := &places{found: map[string][]string{}}

	gate.answer.Store(http.StatusServiceUnavailable)
	s.observe()
	s.observing()
	id := secretive(t, d, "secretive")
	storage := filepath.Join(s.dir, "storage")
	s.await("the queue and the checkpoint to hold it", func() bool {
		places.search(t, "storage while the backend is unavailable", storage)
		return len(places.found["storage while the backend is unavailable"]) > 0
	})

	gate.answer.Store(http.StatusBadRequest)
	s.await("the quarantine to hold it", func() bool {
		places.search(t, "quarantine", quarantine)
		return len(places.found["quarantine"]) > 0
	})

	gate.answer.Store(0)
	execute(t, d, id)
	_, err := d.Client().ContainerRestart(t.Context(), id, moby.ContainerRestartOptions{})
	require.NoError(t, err)
	execute(t, d, id)
	s.await("the backend to hold it", func() bool {
		return find(s.events(), id, backendapi.KindRestart) != nil && find(s.events(), id, backendapi.KindHealth) != nil
	})
	shown := filepath.Join(s.dir, "shown")
	require.NoError(t, os.Mkdir(shown, 0o700))
	for name, path := range map[string]string{
		"overview.html": "/", "container.html": "/containers/" + url.PathEscape("docker://"+id),
		"events.json": backendapi.EventsPath + "?revisions=all&limit=500", "containers.json": "/api/v1/containers",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(shown, name), []byte(s.get(s.base+path)), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "metrics.txt"), []byte(s.metrics.Text()), 0o600))
	s.collector.Stop()
	s.backend.Stop()
	places.search(t, "what the backend shows", shown)
	places.search(t, "the backend's database", filepath.Join(s.dir, "backend.db"))
	places.search(t, "storage at the end", storage)
	places.search(t, "", s.dir) // logs and metrics, which must not have labels either

	for _, place := range []string{"storage while the backend is unavailable", "quarantine", "what the backend shows", "the backend's database", "storage at the end"} {
		assert.Contains(t, places.found[place], allowed, "%s: nothing was searched", place)
	}
	for place, found := range places.found {
		for where, secret := range canaries {
			assert.NotContains(t, found, secret, "%s holds %s", place, where)
		}
	}
}

// secretive runs a container with a secret in every place that the engine's API reports.
func secretive(t *testing.T, d *engine.Docker, name string) string {
	t.Helper()
	created, err := d.Client().ContainerCreate(t.Context(), moby.ContainerCreateOptions{Name: name, Config: &api.Config{
		Image:  privateruntime.ProbeImage,
		Cmd:    []string{"log", "1000000", "10", "100", "--password=" + canaries["an argument"], "https://admin:" + canaries["the password of a URL"] + "@db.example.test/x"},
		Env:    []string{"DB_PASSWORD=" + canaries["an environment value"], "DB_URL=postgres://admin:" + canaries["the password of a URL"] + "@db.example.test/x"},
		Labels: map[string]string{"app": allowed, "token": canaries["a label"], "exitCode": canaries["a label"], "signal": canaries["a label"]},
		Healthcheck: &api.HealthConfig{
			Test: []string{"CMD", "/probe", "flip"}, Interval: 200 * time.Millisecond, Timeout: 5 * time.Second, Retries: 1,
		},
	}, HostConfig: &api.HostConfig{NetworkMode: "none"}})
	require.NoError(t, err)
	_, err = d.Client().ContainerStart(t.Context(), created.ID, moby.ContainerStartOptions{})
	require.NoError(t, err)
	execute(t, d, created.ID)

	// A second container has the secret in the command line of its health check, and a third one fails to start.
	check, err := d.Client().ContainerCreate(t.Context(), moby.ContainerCreateOptions{Name: name + "-check", Config: &api.Config{
		Image: privateruntime.ProbeImage, Cmd: []string{"pause"},
		Healthcheck: &api.HealthConfig{Test: []string{"CMD", "/probe", "flip", "/" + canaries["a health check"]}, Interval: 200 * time.Millisecond, Timeout: 5 * time.Second, Retries: 1},
	}, HostConfig: &api.HostConfig{NetworkMode: "none"}})
	require.NoError(t, err)
	_, err = d.Client().ContainerStart(t.Context(), check.ID, moby.ContainerStartOptions{})
	require.NoError(t, err)
	absent, err := d.Client().ContainerCreate(t.Context(), moby.ContainerCreateOptions{Name: name + "-absent", Config: &api.Config{
		Image: privateruntime.ProbeImage, Entrypoint: []string{"/" + canaries["a command that is absent"]},
	}, HostConfig: &api.HostConfig{NetworkMode: "none"}})
	require.NoError(t, err)
	_, err = d.Client().ContainerStart(t.Context(), absent.ID, moby.ContainerStartOptions{})
	require.ErrorContains(t, err, canaries["a command that is absent"], "the engine's own response has the secret")
	return created.ID
}

// execute runs a command line with a secret in a container (docker exec).
func execute(t *testing.T, d *engine.Docker, id string) {
	t.Helper()
	exec, err := d.Client().ExecCreate(t.Context(), id, moby.ExecCreateOptions{Cmd: []string{"/probe", "exit", "0", "--token=" + canaries["an exec's command line"]}})
	require.NoError(t, err)
	_, err = d.Client().ExecStart(t.Context(), exec.ID, moby.ExecStartOptions{Detach: true})
	require.NoError(t, err)
}

// gate is a proxy in front of the backend that forwards requests or answers them itself.
type gate struct {
	url    string
	answer atomic.Int32 // HTTP status; 0 forwards
	proxy  atomic.Pointer[httputil.ReverseProxy]
}

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code := g.answer.Load(); code != 0 {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", backendapi.ProblemContentType) // without it a 400 says nothing of the events
			w.WriteHeader(int(code))
			_, _ = io.WriteString(w, `{"title":"The gate is closed"}`)
			return
		}
		g.proxy.Load().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	g.url = server.URL
	return g
}

func (g *gate) to(base string) {
	to, err := url.Parse(base)
	if err != nil {
		panic(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = &http.Transport{DisableKeepAlives: true}
	g.proxy.Store(proxy)
}

// places has the needles that were found, by place.
type places struct{ found map[string][]string }

// search notes which canaries, and whether the allowed label, are in the files below a path, as they are and within their gzip streams.
// If place is empty, each file is a place of its own.
func (p *places) search(t *testing.T, place, path string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // not created yet, or removed since
		}
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			return nil
		}
		name := place
		if name == "" {
			name = file
		}
		for _, content := range append(inflated(raw), raw) {
			for _, what := range needles() {
				if bytes.Contains(content, []byte(what)) && !slices.Contains(p.found[name], what) {
					p.found[name] = append(p.found[name], what)
				}
			}
		}
		return err
	}))
}

func needles() []string {
	out := []string{allowed}
	for _, secret := range canaries {
		out = append(out, secret)
	}
	return out
}

// inflated returns the content of every gzip stream in raw, wherever it begins.
func inflated(raw []byte) [][]byte {
	var out [][]byte
	for from := 0; ; {
		i := bytes.Index(raw[from:], []byte{0x1f, 0x8b, 0x08})
		if i < 0 {
			return out
		}
		from += i
		if r, err := gzip.NewReader(bytes.NewReader(raw[from:])); err == nil {
			content, _ := io.ReadAll(io.LimitReader(r, 64<<20)) // the readable part of a truncated stream
			out = append(out, content)
		}
		from++
	}
}
