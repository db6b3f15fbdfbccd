//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenant  = "chaos"
	patient = 6 * time.Minute // how long anything may take on a small busy machine
)

func long() bool { return os.Getenv("ZASTAVA_E2E") == "long" }

// either is a size for the short and for the long form.
func either(short, whole int) int {
	if long() {
		return whole
	}
	return short
}

// binary is the path of a built program; the test is skipped when it was not built.
func binary(tb testing.TB, name string) string {
	tb.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "build", name))
	require.NoError(tb, err)
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
	cmd *exec.Cmd
}

func run(tb testing.TB, log, path string, args ...string) *process {
	tb.Helper()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(tb, err)
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(tb, cmd.Start())
	require.NoError(tb, out.Close())
	p := &process{cmd: cmd}
	tb.Cleanup(func() {
		p.kill()
		if tb.Failed() {
			raw, _ := os.ReadFile(log)
			tb.Logf("the end of %s:\n%s", filepath.Base(log), raw[max(0, len(raw)-3000):])
		}
	})
	return p
}

func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// rig is source → collector → proxy → backend.
type rig struct {
	testing.TB
	dir       string
	storage   string
	backend   string // its address
	proxy     *proxy
	collector *process
	otlp      string
	metrics   string
	config    string

	next     int // number of the next event
	accepted map[string]bool
}

type option func(r *rig, config string) string

func newRig(tb testing.TB, options ...option) *rig {
	tb.Helper()
	binary(tb, "otelcol-zastava-slim") // skips the test before anything is started
	r := &rig{TB: tb, dir: tb.TempDir(), backend: freeAddress(tb), otlp: freeAddress(tb), metrics: freeAddress(tb), accepted: map[string]bool{}}
	r.storage = filepath.Join(r.dir, "storage")
	run(tb, filepath.Join(r.dir, "backend.log"), binary(tb, "zastava-backend"), "--listen", r.backend, "--db", filepath.Join(r.dir, "backend.db"))
	r.await("the backend", func() bool { return r.get("http://"+r.backend+"/readyz") != "" })
	r.proxy = newProxy(tb, r.backend)
	host, port, err := net.SplitHostPort(r.metrics)
	require.NoError(tb, err)
	config := `
receivers:
  otlp:
    protocols:
      http:
        endpoint: ` + r.otlp + `
exporters:
  zastavabackend:
    endpoint: http://` + r.proxy.address() + `
    tenant: ` + tenant + `
    timeout: 2s
    retry_on_failure: {initial_interval: 20ms, max_interval: 200ms, max_elapsed_time: 0}
    quarantine: {directory: ` + filepath.Join(r.dir, "quarantine") + `}
    sending_queue:
      storage: zastavastorage
      block_on_overflow: true
      num_consumers: 4
      sizer: items
      queue_size: 1000000
      batch: {flush_timeout: 20ms, min_size: 128, max_size: 256}
extensions:
  zastavastorage: {directory: STORAGE, lock_timeout: 200ms}
service:
  extensions: [zastavastorage]
  pipelines:
    logs: {receivers: [otlp], exporters: [zastavabackend]}
  telemetry:
    metrics:
      readers: [{pull: {exporter: {prometheus: {host: ` + host + `, port: ` + port + `, without_scope_info: true, without_type_suffix: true, without_units: true}}}}]
`
	for _, o := range options {
		config = o(r, config)
	}
	r.config = filepath.Join(r.dir, "config.yaml")
	require.NoError(tb, os.WriteFile(r.config, []byte(strings.ReplaceAll(config, "STORAGE", r.storage)), 0o600))
	return r
}

// start starts the collector and waits until it takes records.
func (r *rig) start() {
	r.Helper()
	r.collector = run(r, filepath.Join(r.dir, "collector.log"), binary(r, "otelcol-zastava-slim"), "--config", r.config)
	r.await("the collector", func() bool {
		c, err := net.Dial("tcp", r.otlp)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

func (r *rig) await(what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(patient); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("waited %v for %s", patient, what)
		}
	}
}

var client = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func (r *rig) get(address string) string {
	resp, err := client.Get(address)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return ""
	}
	return string(raw) + " "
}

// metric sums a metric of the collector over the points whose labels have all of the texts.
func (r *rig) metric(name string, labels ...string) (sum float64) {
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(\{[^}]*\})? ([0-9.e+-]+)`).FindAllStringSubmatch(r.get("http://"+r.metrics+"/metrics"), -1) {
		all := true
		for _, l := range labels {
			all = all && strings.Contains(m[1], l)
		}
		if v, err := strconv.ParseFloat(m[2], 64); err == nil && all {
			sum += v
		}
	}
	return sum
}

// records makes the next n events: ends of containers.
func (r *rig) records(n int) (ids []string, body []byte) {
	encoder := record.Encoder{HostName: "node-a", Scope: "github.com/zastava-otel/zastava/internal/chaos", OS: "linux"}
	batch := encoder.NewBatch()
	for range n {
		when := time.Now()
		id := fmt.Sprintf("%x", sha256.Sum256([]byte(strconv.Itoa(r.next))))
		tr := container.Transition{
			Kind: container.KindStopped, When: when, State: container.StateExited,
			Container: &container.Container{
				Engine: "containerd", Runtime: "main", Version: "2.4.2", ID: id, Name: "api", CreatedAt: when.Add(-time.Hour),
				Pod:   container.Pod{SandboxID: "5b", Namespace: "payments", Name: "api-" + id[:5], UID: id[:32]},
				Image: container.Image{Reference: "ghcr.io/acme/api:1.8"},
			},
			Run:        container.Run{StartedAt: when.Add(-time.Minute), FinishedAt: when, ExitCode: 137, ExitKnown: true, Reason: "OOMKilled"},
			Provenance: container.Provenance{Source: container.SourceStream, ObservedAt: when},
		}
		ids = append(ids, record.EventID(&tr))
		batch.Append(&tr)
		r.next++
	}
	body, err := (&plog.ProtoMarshaler{}).MarshalLogs(batch.Logs())
	require.NoError(r, err)
	return ids, body
}

// try posts once.
func (r *rig) try(body []byte) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.otlp+"/v1/logs", bytes.NewReader(body))
	require.NoError(r, err)
	req.Header.Set("Content-Type", "application/x-protobuf")
	resp, err := feeder.Do(req)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

var feeder = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// feed sends events, so many a request, until each is accepted. again: what to do while one is not.
func (r *rig) feed(events, each int, again func()) {
	r.Helper()
	for n := 0; n < events; n += each {
		ids, body := r.records(min(each, events-n))
		for end := time.Now().Add(patient); !r.try(body); {
			require.True(r, time.Now().Before(end), "the collector takes nothing")
			if again != nil {
				again()
			}
			time.Sleep(5 * time.Millisecond)
		}
		for _, id := range ids {
			r.accepted[id] = true
		}
	}
}

// stored gives every event of the backend and how often it is there.
func (r *rig) stored() map[string]int {
	r.Helper()
	out := map[string]int{}
	for cursor := ""; ; {
		q := url.Values{"limit": {"500"}, "revisions": {"all"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		var page struct {
			Events []struct {
				EventID string `json:"eventId"`
			} `json:"events"`
			NextCursor string `json:"nextCursor"`
		}
		require.NoError(r, json.Unmarshal([]byte(r.get("http://"+r.backend+backendapi.EventsPath+"?"+q.Encode())), &page))
		for _, ev := range page.Events {
			out[ev.EventID]++
		}
		if cursor = page.NextCursor; cursor == "" {
			return out
		}
	}
}

// drained waits until nothing is on its way.
func (r *rig) drained() {
	r.Helper()
	quiet := 0
	r.await("the queue to be empty", func() bool {
		if r.metric("otelcol_exporter_queue_size") == 0 && r.metric("otelcol_exporter_in_flight_requests") == 0 &&
			r.metric("otelcol_exporter_zastavabackend_oldest_undelivered") == 0 && r.get("http://"+r.metrics+"/metrics") != "" {
			quiet++
		} else {
			quiet = 0
		}
		return quiet > 3
	})
}

// check holds what is stored to what was accepted. lost: how many may be missing.
func (r *rig) check(lost int) (missing int) {
	r.Helper()
	stored := r.stored()
	for id := range r.accepted {
		if stored[id] == 0 {
			missing++
		}
	}
	twice, foreign := 0, 0
	for id, n := range stored {
		if n > 1 {
			twice++
		}
		if !r.accepted[id] {
			foreign++
		}
	}
	assert.LessOrEqual(r, missing, lost, "accepted and neither stored nor counted, of %d", len(r.accepted))
	assert.Zero(r, twice, "stored twice")
	assert.Zero(r, foreign, "stored and never accepted")
	assert.NoDirExists(r, filepath.Join(r.dir, "quarantine"), "nothing was invalid")
	return missing
}

func freeAddress(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	defer l.Close()
	return l.Addr().String()
}
