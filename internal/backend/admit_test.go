// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend_test

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend"
	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// send opens a connection and sends the beginning of a request. The caller neither reads nor sends more.
func (a *api) send(request string) net.Conn {
	a.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
	require.NoError(a.t, err)
	a.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(a.t, conn.(*net.TCPConn).SetReadBuffer(4096))
	_, err = conn.Write([]byte(request))
	require.NoError(a.t, err)
	return conn
}

func (a *api) metric(line string) bool { return strings.Contains(string(a.get("/metrics").body), line) }

func (a *api) await(line string) {
	a.t.Helper()
	require.Eventually(a.t, func() bool { return a.metric(line) }, 30*time.Second, 20*time.Millisecond, line)
}

func TestSlowTenantDoesNotKeepOthersOut(t *testing.T) {
	a := serve(t, nil)
	for range 4 { // all the places of a tenant
		a.send("POST " + backendapi.EventsPath + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
			backendapi.HeaderTenant + ": slow\r\nContent-Length: 1000\r\n\r\n{")
	}
	require.Eventually(t, func() bool {
		got := a.do(http.MethodPost, backendapi.EventsPath, strings.NewReader("{}"), "Content-Type", "application/json", backendapi.HeaderTenant, "slow")
		if got.StatusCode != http.StatusTooManyRequests {
			return false
		}
		assert.Equal(t, "1", got.Header.Get("Retry-After"))
		assert.Contains(t, got.problem(t).Type, "#too-many")
		return true
	}, 30*time.Second, time.Millisecond)
	begun := time.Now()
	a.put(backendtest.NewLife(0).Started(1))
	assert.Less(t, time.Since(begun), 2*time.Second, "without a wait")
	a.await(`zastava_backend_refused_total{reason="tenant_busy"} 1`)
}

func TestRequestsStopAfterTheirTimeout(t *testing.T) {
	a := serve(t, func(o *backend.Options) { o.RequestTimeout = time.Nanosecond })
	for _, got := range []answer{
		a.post(backendtest.Batch(backendtest.NewLife(0).Started(1))),
		a.postFacts("callgraphId=cg&imageDigest="+imageDigest, lines(2, "containerd://1")),
		a.get(backendapi.EventsPath), a.get("/api/v1/containers"), a.get("/api/v1/images"), a.get(backendapi.FactsPath + "?scanId=1"),
	} {
		require.Equal(t, http.StatusServiceUnavailable, got.StatusCode, "%s", got.body)
		assert.Equal(t, "1", got.Header.Get("Retry-After"))
		got.problem(t)
	}
	for _, page := range []string{"/", "/containers/x", "/images/x"} {
		got := a.get(page)
		require.Equal(t, http.StatusServiceUnavailable, got.StatusCode, "%s", got.body)
		assert.Equal(t, "5", got.Header.Get("Retry-After"))
	}
	assert.True(t, a.metric(`zastava_backend_refused_total{reason="deadline"} 6`))
}

func TestRefusalsAreCountedByReason(t *testing.T) {
	a := serve(t, func(o *backend.Options) { o.MaxBatchBytes = 1 << 20 })
	valid := string(mustJSON(t, backendtest.Batch(backendtest.NewLife(0).Stopped(2, 1, 7, "Error"))))
	for reason, exit := range map[string]string{
		"number": strings.Repeat("9", 900_000), "nesting": strings.Repeat("[", 100) + strings.Repeat("]", 100),
		"values": "[" + strings.Repeat("1,", 200_000) + "1]", "size": strings.Repeat(" ", 1<<20),
	} {
		got := a.postRaw(zip([]byte(strings.Replace(valid, `"exitCode":7`, `"exitCode":`+exit, 1))), "Content-Encoding", "gzip")
		assert.GreaterOrEqual(t, got.StatusCode, 400)
		assert.Less(t, got.StatusCode, 500)
		assert.True(t, a.metric(`zastava_backend_refused_total{reason="`+reason+`"} 1`), reason)
	}
}

// putLarge stores events of 0.9 MB, which every limit allows.
func (a *api) putLarge(n int) {
	a.t.Helper()
	for i := range n {
		e := backendtest.NewLife(i).Started(1)
		e.Workload.Labels = map[string]string{}
		for k := range 220 {
			e.Workload.Labels[fmt.Sprintf("k%d", k)] = strings.Repeat("v", 4090)
		}
		a.put(e)
	}
}

func TestPageOfLargeEventsEndsAtItsBytes(t *testing.T) {
	a := serve(t, nil)
	const n = 12
	a.putLarge(n)
	seen, cursor := 0, ""
	for more := true; more; more = cursor != "" {
		got := a.get(backendapi.EventsPath + "?limit=1000&cursor=" + cursor)
		assert.Less(t, len(got.body), 6<<20)
		page := into[backend.EventPage](t, got)
		seen += len(page.Events)
		cursor = page.NextCursor
	}
	assert.Equal(t, n, seen)
	assert.Less(t, len(a.get("/").body), 6<<20)
}

func TestUnreadAnswerIsEnded(t *testing.T) {
	a := serve(t, func(o *backend.Options) { o.WriteTimeout = 50 * time.Millisecond })
	a.putLarge(6)
	for range 20 {
		a.send("GET " + backendapi.EventsPath + "?limit=1000 HTTP/1.1\r\nHost: localhost\r\n" + backendapi.HeaderTenant + ": acme\r\n\r\n")
	}
	// On a busy machine some wait too long for the tenant's places, and are refused.
	ended := regexp.MustCompile(`zastava_backend_http_requests_total\{code="(?:200|429)",route="/api/v1/runtime/events"\} ([0-9]+)`)
	require.Eventually(t, func() bool {
		n := 0
		for _, line := range ended.FindAllStringSubmatch(string(a.get("/metrics").body), -1) {
			one, err := strconv.Atoi(line[1])
			require.NoError(t, err)
			n += one
		}
		return n == 20
	}, 60*time.Second, 20*time.Millisecond)
	assert.True(t, a.metric(`code="200",route="/api/v1/runtime/events"`))
}

func TestUnreadStreamsAreEndedAndBoundedByTenant(t *testing.T) {
	a := serve(t, func(o *backend.Options) { o.WriteTimeout = 200 * time.Millisecond })
	a.putLarge(24) // more than the buffers of a connection hold: 4 MiB to send and 6 MiB to receive on Linux
	const share = 16
	var idle []func()
	for range share {
		_, stop := a.follow("", backendapi.HeaderTenant, "idle") // its clients read, and nothing happens
		idle = append(idle, stop)
	}
	got := a.get(streamPath, backendapi.HeaderTenant, "idle")
	assert.Equal(t, http.StatusTooManyRequests, got.StatusCode)
	assert.Equal(t, "1", got.Header.Get("Retry-After"))
	next, _ := a.follow("?lastEventId=0", backendapi.HeaderTenant, "acme")
	eventOf(t, next())
	for range share - 1 {
		a.send("GET " + streamPath + "?lastEventId=0 HTTP/1.1\r\nHost: localhost\r\n" + backendapi.HeaderTenant + ": acme\r\n\r\n")
	}
	a.await(fmt.Sprintf("zastava_backend_streams_dropped_total %d", share+1)) // and the one refused
	for _, stop := range idle {
		stop()
	}
}

func TestFullDatabaseIsAnsweredWith507(t *testing.T) {
	a := serve(t, func(o *backend.Options) { o.MaxSize = store.Cap{Bytes: store.MinCap, Refuse: true} })
	for i := 0; ; i++ {
		e := backendtest.NewLife(i).Started(1)
		e.Workload.Labels = map[string]string{}
		for k := range 220 {
			e.Workload.Labels[fmt.Sprintf("k%d", k)] = strings.Repeat("v", 4090)
		}
		got := a.post(backendtest.Batch(e))
		if got.StatusCode == http.StatusAccepted {
			require.Less(t, i, 100)
			continue
		}
		require.Equal(t, http.StatusInsufficientStorage, got.StatusCode, "%s", got.body)
		assert.Equal(t, "60", got.Header.Get("Retry-After"))
		assert.Contains(t, got.problem(t).Type, "#full")
		break
	}
	assert.True(t, a.metric(`zastava_backend_refused_total{reason="full"} 1`))
	assert.Equal(t, http.StatusOK, a.get("/api/v1/containers").StatusCode)
	assert.Equal(t, http.StatusOK, a.get("/readyz").StatusCode)
}
