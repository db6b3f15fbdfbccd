//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/internal/test/process"
	"github.com/zastava-otel/zastava/internal/test/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenant  = "chaos"
	patient = 6 * time.Minute // for any wait, on a small busy machine
)

func long() bool { return os.Getenv("ZASTAVA_E2E") == "long" }

// either returns the size for the short or for the long form.
func either(short, whole int) int {
	if long() {
		return whole
	}
	return short
}

// rig is source → collector → proxy → backend.
type rig struct {
	testing.TB
	dir       string
	storage   string
	backend   *process.Backend
	proxy     *proxy.Proxy
	collector *process.Process
	otlp      string
	health    string
	metrics   process.Metrics
	config    string

	next     int // number of the next event
	accepted map[string]bool
}

type option func(r *rig, config string) string

func newRig(tb testing.TB, options ...option) *rig {
	tb.Helper()
	process.Built(tb, process.CollectorName) // skips the test before anything is started
	r := &rig{
		TB: tb, dir: tb.TempDir(), otlp: process.FreeAddress(tb), health: process.FreeAddress(tb),
		metrics: process.Metrics(process.FreeAddress(tb)), accepted: map[string]bool{},
	}
	r.storage = filepath.Join(r.dir, "storage")
	r.backend = process.StartBackend(tb, r.dir)
	r.proxy = proxy.Start(tb, proxy.Loopback, r.backend.Address)
	config := `
receivers:
  otlp:
    protocols:
      http:
        endpoint: ` + r.otlp + `
exporters:
  zastavabackend:
    endpoint: http://` + r.proxy.Address() + `
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
  health_check:
    endpoint: ` + r.health + `
    component_health: {include_permanent_errors: true, include_recoverable_errors: true, recovery_duration: 100ms}
service:
  extensions: [zastavastorage, health_check]
  pipelines:
    logs: {receivers: [otlp], exporters: [zastavabackend]}
  telemetry:
    metrics:
      readers: [{pull: {exporter: {prometheus: {host: ` + r.metrics.Host() + `, port: ` + r.metrics.Port() + `, without_scope_info: true, without_type_suffix: true, without_units: true}}}}]
`
	for _, o := range options {
		config = o(r, config)
	}
	r.config = filepath.Join(r.dir, "config.yaml")
	require.NoError(tb, os.WriteFile(r.config, []byte(strings.ReplaceAll(config, "STORAGE", r.storage)), 0o600))
	return r
}

// start starts the collector and waits until it accepts records.
func (r *rig) start() {
	r.Helper()
	r.collector = process.Start(r, process.Program{
		Path: process.Built(r, process.CollectorName), Log: filepath.Join(r.dir, "collector.log"),
		Args: []string{"--config", r.config, "--feature-gates=extension.healthcheck.useComponentStatus"},
	})
	r.collector.Await(patient, "the collector", func() bool { return process.Listens(r.otlp) })
}

// await waits for something that the collector does.
func (r *rig) await(what string, ok func() bool) {
	r.Helper()
	r.collector.Await(patient, what, ok)
}

// healthStatus returns the HTTP status of the collector's health check, 0 without an answer.
func (r *rig) healthStatus() int {
	status, _ := process.Get("http://" + r.health)
	return status
}

// records makes the next n events: ends of containers.
func (r *rig) records(n int) (ids []string, body []byte) {
	encoder := record.Encoder{HostName: "node-a", Scope: "github.com/zastava-otel/zastava/internal/test/chaos", OS: "linux"}
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

// try sends one request and reports whether it was accepted.
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
		r.await("the collector to accept events", func() bool {
			took := r.try(body)
			if !took && again != nil {
				again()
			}
			return took
		})
		for _, id := range ids {
			r.accepted[id] = true
		}
	}
}

// stored returns how often the backend has each event.
func (r *rig) stored() map[string]int {
	r.Helper()
	out := map[string]int{}
	for _, ev := range r.backend.Events() {
		out[ev.EventID]++
	}
	return out
}

// drained waits until the queue is empty and no request is in flight.
func (r *rig) drained() {
	r.Helper()
	quiet := 0
	r.await("the queue to be empty", func() bool {
		if r.metrics.Sum("otelcol_exporter_queue_size") == 0 && r.metrics.Sum("otelcol_exporter_in_flight_requests") == 0 &&
			r.metrics.Sum("otelcol_exporter_zastavabackend_oldest_undelivered") == 0 && r.metrics.Text() != "" {
			quiet++
		} else {
			quiet = 0
		}
		return quiet > 3
	})
}

// check compares the stored events with the accepted ones, of which up to lost may be missing.
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
