//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/process"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
)

func TestMain(m *testing.M) {
	if serveEngine() {
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	tenant  = "e2e"
	patient = 60 * time.Second // limit of every wait, for a small busy machine
)

// stack is a collector that observes a runtime, and its backend.
type stack struct {
	t         testing.TB
	dir       string
	endpoint  string
	stream    string
	extra     []string // further configuration for the collector, as yaml: URIs
	under     []string // the command that starts the collector, if not itself
	backend   *process.Backend
	collector *process.Process
	base      string // URL of the backend
	metrics   process.Metrics
	health    string
}

// newStack starts the backend and prepares the collector.
func newStack(tb testing.TB, endpoint, stream string, extra ...string) *stack {
	tb.Helper()
	process.Built(tb, process.CollectorName) // skips the test before anything is started
	s := &stack{t: tb, dir: tb.TempDir(), endpoint: endpoint, stream: stream, extra: extra}
	s.backend = process.StartBackend(tb, s.dir)
	s.base = s.backend.URL()
	s.metrics, s.health = process.Metrics(process.FreeAddress(tb)), process.FreeAddress(tb)
	return s
}

// observe starts the collector with the repository's own configuration.
func (s *stack) observe() {
	s.t.Helper()
	args := []string{
		"--feature-gates=extension.healthcheck.useComponentStatus",
		"--config", filepath.Join(process.Root(s.t), "collector-config.yaml"),
		"--config", fmt.Sprintf("yaml:receivers::criobserver::runtimes: [{endpoint: '%s', stream: %s}]", s.endpoint, s.stream),
	}
	for _, e := range s.extra {
		args = append(args, "--config", "yaml:"+e)
	}
	s.collector = s.run("collector", args, "ZASTAVA_ENDPOINT="+s.base, "ZASTAVA_TENANT="+tenant, "ZASTAVA_STORAGE_DIR="+filepath.Join(s.dir, "storage"),
		"ZASTAVA_HEALTH_ENDPOINT="+s.health, "ZASTAVA_METRICS_PORT="+s.metrics.Port(), "GOTRACEBACK=all")
}

// run starts a collector with a log of its own.
func (s *stack) run(name string, args []string, env ...string) *process.Process {
	s.t.Helper()
	command := slices.Concat(s.under, []string{process.Built(s.t, process.CollectorName)}, args)
	return process.Start(s.t, process.Program{Path: command[0], Args: command[1:], Env: env, Log: filepath.Join(s.dir, name+".log")})
}

// observing waits until the collector has completed its first list.
func (s *stack) observing() {
	s.t.Helper()
	s.await("the first list", func() bool { return strings.Contains(s.metrics.Text(), "otelcol_criobserver_list_age") })
}

func (s *stack) await(what string, ok func() bool) {
	s.t.Helper()
	process.Await(s.t, patient, what, ok)
}

// get returns the body of an HTTP response.
func (s *stack) get(address string) string {
	_, body := process.Get(address)
	return body
}

// events returns every revision of every event in the backend, the newest first.
func (s *stack) events() []backendapi.Event {
	s.t.Helper()
	return s.backend.Events()
}

// healthStatus returns the HTTP status of the collector's health check, or zero without a response.
func (s *stack) healthStatus() int {
	status, _ := process.Get("http://" + s.health)
	return status
}

// driverOf starts a private containerd, the system's unless another release is named, with one pod.
func driverOf(t *testing.T, release ...realruntime.Release) (*privateruntime.Containerd, *privateruntime.Driver, *privateruntime.Pod) {
	t.Helper()
	var binDirs []string
	for _, r := range release {
		binDirs = append(binDirs, r.BinDirs...)
	}
	c := realruntime.Containerd(t, binDirs...)
	d := c.Driver()
	pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: "web", Namespace: "shop"})
	require.NoError(t, err)
	return c, d, pod
}

// finally returns a context for cleanups, which run after the test's own context has ended.
func finally() context.Context { return context.Background() }
