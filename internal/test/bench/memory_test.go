// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bench

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/zastava-otel/zastava/internal/test/bench/crihost"
	"github.com/zastava-otel/zastava/internal/test/process"
)

const (
	observed = 500
	samples  = 5 // of resident memory, a second apart

	// Go returns the memory of the first burst to the system gradually, so that memory is measured twice.
	soon     = 20 * time.Second
	late     = 100 * time.Second // after that
	patience = time.Minute
)

// BenchmarkResidentMemory measures the resident memory of the slim distribution that observes 500 containers of a synthetic
// CRI server, with the repository's own collector-config.yaml, against the same binary with the same configuration without the
// receiver. A collector cannot have a pipeline without a receiver, so that the exporter and the processor are removed too, and their
// memory counts as the receiver's. empty is the same with a server without containers.
func BenchmarkResidentMemory(b *testing.B) {
	backend := accepting(b)
	for range b.N {
		without := collect(b, "", backend.url)
		empty := collect(b, crihost.Start(b, crihost.Options{}).Endpoint(), backend.url)
		with := collect(b, crihost.Start(b, crihost.Options{Containers: observed, PerPod: 3}).Endpoint(), backend.url)
		backend.wait(b, observed)
		time.Sleep(soon)
		b.ReportMetric(with.resident()-without.resident(), "MiB-added-soon")
		time.Sleep(late)
		b.ReportMetric(without.resident(), "MiB-without")
		b.ReportMetric(empty.resident(), "MiB-empty")
		b.ReportMetric(with.resident(), "MiB-500")
		b.ReportMetric(with.resident()-without.resident(), "MiB-added")
	}
}

// sink is a backend that accepts and counts all events.
type sink struct {
	url    string
	events atomic.Int64
}

func accepting(b *testing.B) *sink {
	b.Helper()
	s := &sink{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var batch struct{ Events []json.RawMessage }
		if err := json.NewDecoder(body).Decode(&batch); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.events.Add(int64(len(batch.Events)))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"accepted":%d,"duplicates":0,"rejected":[]}`, len(batch.Events))
	}))
	b.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// wait waits until the sink has received at least this many events.
func (s *sink) wait(b *testing.B, events int64) {
	b.Helper()
	require.Eventually(b, func() bool { return s.events.Load() >= events }, patience, 100*time.Millisecond, "%d events were not received", events)
}

// collector is a running collector.
type collector struct {
	*process.Process
	b *testing.B
}

// collect starts a collector, waits until it serves its metrics, and ends it with the benchmark.
func collect(b *testing.B, endpoint, backend string) collector {
	b.Helper()
	dir := b.TempDir()
	config := filepath.Join(dir, "config.yaml")
	writeConfig(b, config, endpoint != "")
	metrics := process.Metrics(process.FreeAddress(b))
	p := process.Start(b, process.Program{
		Path: process.Built(b, process.CollectorName),
		Args: []string{"--config", config, "--feature-gates=service.AllowNoPipelines"},
		Env: []string{
			"ZASTAVA_TENANT=bench", "ZASTAVA_ENDPOINT=" + backend, "ZASTAVA_RUNTIME_ENGINE=auto",
			"ZASTAVA_RUNTIME_ENDPOINT=" + endpoint, "ZASTAVA_STORAGE_DIR=" + filepath.Join(dir, "storage"),
			"ZASTAVA_HEALTH_ENDPOINT=" + process.FreeAddress(b), "ZASTAVA_METRICS_PORT=" + metrics.Port(),
		},
		Log: filepath.Join(dir, "collector.log"),
	})
	p.Await(patience, "the collector", func() bool { return metrics.Text() != "" })
	return collector{p, b}
}

// resident returns the collector's resident memory in MiB, the median of several samples.
func (c collector) resident() float64 {
	c.b.Helper()
	var seen []float64
	for range samples {
		mib := c.Resident()
		require.NotZero(c.b, mib, "the collector has ended")
		seen = append(seen, mib)
		time.Sleep(time.Second)
	}
	slices.Sort(seen)
	return seen[len(seen)/2]
}

// writeConfig writes the repository's default configuration, without receiver and pipelines unless observes is set.
func writeConfig(b *testing.B, path string, observes bool) {
	b.Helper()
	raw, err := os.ReadFile(filepath.Join(process.Root(b), "collector-config.yaml"))
	require.NoError(b, err)
	var config map[string]any
	require.NoError(b, yaml.Unmarshal(raw, &config))
	if !observes {
		delete(config, "receivers")
		delete(config["service"].(map[string]any), "pipelines")
	}
	raw, err = yaml.Marshal(config)
	require.NoError(b, err)
	require.NoError(b, os.WriteFile(path, raw, 0o600))
}
