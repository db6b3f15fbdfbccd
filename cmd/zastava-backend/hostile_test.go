// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

const hostileTenant = "hostile"

// client sends requests of one tenant.
type client struct {
	http *http.Client
	base string
}

func (c *client) post(ctx context.Context, tenant string, body []byte) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+backendapi.EventsPath[1:], bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set(backendapi.HeaderTenant, tenant)
	res, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, errors.Join(err, res.Body.Close())
}

func zipped(raw []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(raw)
	_ = w.Close()
	return out.Bytes()
}

// honest posts batches for a while, each of which must be accepted, and returns the 99th percentile of their times.
func (c *client) honest(t *testing.T, from *int, d time.Duration) time.Duration {
	t.Helper()
	var times []time.Duration
	for end := time.Now().Add(d); time.Now().Before(end); {
		events := make([]backendapi.Event, 20)
		for i := range events {
			events[i] = backendtest.NewLife(*from).Started(1)
			*from++
		}
		raw, err := json.Marshal(backendtest.Batch(events...))
		require.NoError(t, err)
		body := zipped(raw)
		begun := time.Now()
		status, err := c.post(t.Context(), backendtest.Tenant, body)
		require.NoError(t, err)
		require.Equal(t, http.StatusAccepted, status)
		times = append(times, time.Since(begun))
		time.Sleep(20 * time.Millisecond)
	}
	slices.Sort(times)
	return times[len(times)*99/100]
}

// hostileBodies are the bodies of the attacks: digits, exponents, values of the wrong type, and events as large as allowed.
func hostileBodies(t *testing.T) [][]byte {
	t.Helper()
	raw, err := json.Marshal(backendtest.Batch(backendtest.NewLife(0).Stopped(2, 1, 7, "Error")))
	require.NoError(t, err)
	valid := strings.Replace(string(raw), `"tenant":"acme"`, `"tenant":"`+hostileTenant+`"`, 1)
	require.Contains(t, valid, hostileTenant)
	var out [][]byte
	for _, exit := range []string{strings.Repeat("9", 900_000), "1e999999", "[" + strings.Repeat("1,", 400_000) + "1]"} {
		out = append(out, zipped([]byte(strings.Replace(valid, `"exitCode":7`, `"exitCode":`+exit, 1))))
	}
	for i := range 40 {
		e := backendtest.NewLife(i).Started(1)
		e.Tenant, e.Workload.Labels = hostileTenant, map[string]string{}
		for k := range 220 {
			e.Workload.Labels[fmt.Sprintf("k%d", k)] = strings.Repeat("v", 4090)
		}
		raw, err := json.Marshal(backendtest.Batch(e))
		require.NoError(t, err)
		out = append(out, zipped(raw))
	}
	return out
}

// TestHostileTenantDoesNotDisturbAnother attacks the real program as one tenant, with numbers and large answers, while another tenant's
// batches must all be accepted, and the program's memory stays bounded.
func TestHostileTenantDoesNotDisturbAnother(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads the memory of a process from /proc")
	}
	d := 8 * time.Second
	if os.Getenv("ZASTAVA_E2E") == "long" {
		d = 10 * time.Minute
	}
	p := start(t, "--db", filepath.Join(t.TempDir(), "x.db"), "--max-db-bytes", strconv.Itoa(512<<20))
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	defer transport.CloseIdleConnections()
	c := &client{&http.Client{Transport: transport, Timeout: time.Minute}, p.url}
	next := 1000
	undisturbed := c.honest(t, &next, min(d/2, 30*time.Second))

	ctx, stop := context.WithCancel(t.Context())
	var attack sync.WaitGroup
	var sent atomic.Int64
	defer func() { stop(); attack.Wait() }()
	bodies := hostileBodies(t)
	for i := range 8 {
		attack.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				_, _ = c.post(ctx, hostileTenant, bodies[n%len(bodies)])
				sent.Add(1)
			}
		})
	}
	for i := range 24 { // pages and streams whose clients do not read
		attack.Go(func() {
			path := backendapi.EventsPath[1:] + []string{"?limit=1000", "/stream?lastEventId=0"}[i%2]
			for ctx.Err() == nil {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
				if err != nil {
					return
				}
				req.Header.Set(backendapi.HeaderTenant, hostileTenant)
				if res, err := c.http.Do(req); err == nil {
					select {
					case <-ctx.Done():
					case <-time.After(time.Second):
					}
					_ = res.Body.Close()
				}
			}
		})
	}
	disturbed := c.honest(t, &next, d)
	stop()
	attack.Wait()
	t.Logf("p99 of honest batches: undisturbed %s, attacked %s (%.1f times); %d hostile batches; peak of memory %d MiB",
		undisturbed, disturbed, float64(disturbed)/float64(undisturbed), sent.Load(), peak(t, p.cmd.Process.Pid)>>20)
	assert.Positive(t, sent.Load())
	assert.Less(t, peak(t, p.cmd.Process.Pid), int64(300<<20))
}

// peak returns the largest resident memory of a process so far, in bytes (VmHWM of proc_pid_status(5)).
func peak(t *testing.T, pid int) int64 {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(raw), "VmHWM:")
	require.True(t, ok)
	var kib int64
	_, err = fmt.Sscan(rest, &kib)
	require.NoError(t, err)
	return kib << 10
}
