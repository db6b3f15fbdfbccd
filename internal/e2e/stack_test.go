//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/testruntime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenant  = "e2e"
	patient = 60 * time.Second // how long anything may take on a small busy machine
)

// root is the repository.
func root(tb testing.TB) string {
	tb.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(tb, err)
	return dir
}

// binary is the path of a built program; the test is skipped when it was not built.
func binary(tb testing.TB, name string) string {
	tb.Helper()
	path := filepath.Join(root(tb), "build", name)
	if _, err := os.Stat(path); err != nil {
		const remedy = "%s is not built: run `make slim build/zastava-backend`, or the tests by `make test`"
		if os.Getenv("ZASTAVA_TEST_REQUIRE_RUNTIME") == "1" {
			tb.Fatalf(remedy, name)
		}
		tb.Skipf(remedy, name)
	}
	return path
}

// process is a program under test with its output in a file.
type process struct {
	t   testing.TB
	cmd *exec.Cmd
	log string
}

func run(tb testing.TB, log string, env []string, path string, args ...string) *process {
	tb.Helper()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(tb, err)
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), env...)
	require.NoError(tb, cmd.Start())
	require.NoError(tb, out.Close())
	p := &process{t: tb, cmd: cmd, log: log}
	tb.Cleanup(func() {
		p.kill()
		if tb.Failed() {
			raw, _ := os.ReadFile(log)
			tb.Logf("the end of %s:\n%s", log, tail(raw, 4000))
		}
	})
	return p
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return b[len(b)-n:]
	}
	return b
}

// stop ends the process as an operator would and waits for it.
func (p *process) stop() {
	p.t.Helper()
	if p.cmd.ProcessState != nil {
		return
	}
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(p.t, p.cmd.Wait(), "%s did not end well", p.cmd.Path)
}

// kill ends the process with SIGKILL.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// stack is the collector and the backend over a runtime's endpoint.
type stack struct {
	t         testing.TB
	dir       string
	endpoint  string
	stream    string
	extra     []string // further configuration for the collector, as yaml: URIs
	backend   *process
	collector *process
	base      string // URL of the backend
	metrics   int    // port of the collector's own metrics
	health    string
}

// newStack starts the backend and prepares the collector.
func newStack(tb testing.TB, endpoint, stream string, extra ...string) *stack {
	tb.Helper()
	s := &stack{t: tb, dir: tb.TempDir(), endpoint: endpoint, stream: stream, extra: extra}
	binary(tb, "otelcol-zastava-slim")
	address := freeAddress(tb)
	s.base = "http://" + address
	s.backend = run(tb, filepath.Join(s.dir, "backend.log"), nil, binary(tb, "zastava-backend"), "--listen", address, "--db", filepath.Join(s.dir, "backend.db"))
	s.await("the backend", func() bool { return s.status("/readyz") == http.StatusOK })
	_, port, err := net.SplitHostPort(freeAddress(tb))
	require.NoError(tb, err)
	s.metrics, err = strconv.Atoi(port)
	require.NoError(tb, err)
	s.health = freeAddress(tb)
	return s
}

// observe starts the collector with the repository's own configuration.
func (s *stack) observe() {
	s.t.Helper()
	args := []string{
		"--feature-gates=extension.healthcheck.useComponentStatus",
		"--config", filepath.Join(root(s.t), "collector-config.yaml"),
		"--config", fmt.Sprintf("yaml:receivers::criobserver::runtimes: [{endpoint: '%s', stream: %s}]", s.endpoint, s.stream),
	}
	for _, e := range s.extra {
		args = append(args, "--config", "yaml:"+e)
	}
	s.collector = run(s.t, filepath.Join(s.dir, "collector.log"), []string{
		"ZASTAVA_ENDPOINT=" + s.base, "ZASTAVA_TENANT=" + tenant, "ZASTAVA_STORAGE_DIR=" + filepath.Join(s.dir, "storage"),
		"ZASTAVA_HEALTH_ENDPOINT=" + s.health, "ZASTAVA_METRICS_PORT=" + strconv.Itoa(s.metrics), "GOTRACEBACK=all",
	}, binary(s.t, "otelcol-zastava-slim"), args...)
}

// observing waits until the collector has had a first good look at the runtime.
func (s *stack) observing() {
	s.t.Helper()
	s.await("the first list", func() bool {
		return strings.Contains(s.get(fmt.Sprintf("http://127.0.0.1:%d/metrics", s.metrics)), "otelcol_criobserver_list_age")
	})
}

func (s *stack) await(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patient); ; {
		if ok() {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("waited %v for %s", patient, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *stack) status(path string) int {
	resp, err := client.Get(s.base + path)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

var client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func (s *stack) get(address string) string {
	resp, err := client.Get(address)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(raw)
}

// events gives every revision of every event in the backend, oldest page last.
func (s *stack) events() []backendapi.Event {
	s.t.Helper()
	var out []backendapi.Event
	cursor := ""
	for {
		q := url.Values{"revisions": {"all"}, "limit": {"500"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		var page struct {
			Events     []backendapi.Event `json:"events"`
			NextCursor string             `json:"nextCursor"`
		}
		require.NoError(s.t, json.Unmarshal([]byte(s.get(s.base+backendapi.EventsPath+"?"+q.Encode())), &page))
		out = append(out, page.Events...)
		if page.NextCursor == "" {
			return out
		}
		cursor = page.NextCursor
	}
}

// freeAddress is a loopback address that nothing listens on.
func freeAddress(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	defer l.Close()
	return l.Addr().String()
}

// driverOf starts a private containerd, the system's unless another release is named, with one pod.
func driverOf(t *testing.T, release ...testruntime.Release) (*testruntime.Containerd, *testruntime.Driver, *testruntime.Pod) {
	t.Helper()
	var binDirs []string
	for _, r := range release {
		binDirs = append(binDirs, r.BinDirs...)
	}
	c := testruntime.ForTest(t, binDirs...)
	d := c.Driver()
	pod, err := d.RunPod(t.Context(), testruntime.PodSpec{Name: "web", Namespace: "shop"})
	require.NoError(t, err)
	return c, d, pod
}

// finally is the context of what must be done although the test is over.
func finally() context.Context { return context.Background() }
