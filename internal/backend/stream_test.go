// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
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

const streamPath = backendapi.EventsPath + "/stream"

// message is one server-sent message; comments have only a comment.
type message struct{ id, event, data, comment string }

// follow opens a stream. next waits for a message.
func (a *api) follow(query string, header ...string) (next func() message, stop func()) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 30*time.Second)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+streamPath+query, nil)
	require.NoError(a.t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(a.t, err)
	require.Equal(a.t, 200, res.StatusCode)
	assert.Equal(a.t, "text/event-stream", res.Header.Get("Content-Type"))
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	stop = func() { cancel(); _ = res.Body.Close() }
	a.t.Cleanup(stop)
	return func() message {
		a.t.Helper()
		var m message
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				m.id = value
			case "event":
				m.event = value
			case "data":
				m.data = value
			case "":
				if value != "" {
					m.comment = value
				} else if m != (message{}) {
					return m
				}
			}
		}
		require.NoError(a.t, lines.Err(), "the stream ended")
		require.Fail(a.t, "the stream ended")
		return m
	}, stop
}

func eventOf(tb testing.TB, m message) store.StoredEvent {
	tb.Helper()
	require.Equal(tb, "runtime", m.event)
	var e store.StoredEvent
	require.NoError(tb, json.Unmarshal([]byte(m.data), &e))
	return e
}

func TestStreamFollowsAndResumes(t *testing.T) {
	a, l := serve(t, nil), backendtest.NewLife(0)
	a.put(l.Started(1))
	next, stop := a.follow("")
	a.put(l.Stopped(2, 1, 0, "Completed"))
	m := next()
	assert.Equal(t, backendapi.KindStop, eventOf(t, m).Kind, "it starts now, without earlier events")
	stop()

	a.put(l.Started(3), l.Stopped(4, 3, 0, "Completed"))
	next, stop = a.follow("", "Last-Event-ID", m.id)
	assert.Equal(t, l.At(3), eventOf(t, next()).When)
	last := next()
	assert.Equal(t, l.At(4), eventOf(t, last).When)
	stop()

	next, _ = a.follow("?lastEventId=" + m.id + "&kind=CONTAINER_STOP&container=" + l.ID)
	assert.Equal(t, l.At(4), eventOf(t, next()).When, "filtered")
}

func TestStreamSendsAllOfManyEvents(t *testing.T) {
	a := serve(t, nil)
	next, _ := a.follow("")
	const batches, size = 10, 100
	for b := range batches {
		events := make([]backendapi.Event, size)
		for i := range events {
			events[i] = backendtest.NewLife(b*size + i).Started(1)
		}
		a.put(events...)
	}
	before := int64(0)
	for range batches * size {
		id, err := strconv.ParseInt(next().id, 10, 64)
		require.NoError(t, err)
		require.Greater(t, id, before)
		before = id
	}
}

func TestStreamSendsHeartbeat(t *testing.T) {
	a := serve(t, func(o *backend.Options) { o.Heartbeat = time.Millisecond })
	next, _ := a.follow("")
	assert.Equal(t, "still here", next().comment)
}

func TestStreamReportsTruncationWhenItCannotResume(t *testing.T) {
	a, l := serve(t, nil), backendtest.NewLife(0)
	a.put(l.Started(1))
	next, _ := a.follow("?lastEventId=900")
	m := next()
	assert.Equal(t, "truncated", m.event)
	assert.JSONEq(t, `{"after":900,"resumedAfter":1}`, m.data)
	a.put(l.Stopped(2, 1, 0, "Completed"))
	assert.Equal(t, backendapi.KindStop, eventOf(t, next()).Kind)
}

func TestStreamReportsTruncationAfterRetention(t *testing.T) {
	db := filepath.Join(t.TempDir(), "x.db")
	l, other := backendtest.NewLife(0), backendtest.NewLife(1)
	serve(t, func(o *backend.Options) { o.DB = db }).put(l.Started(1), l.Stopped(2, 1, 0, "Completed"))

	a := serve(t, func(o *backend.Options) {
		o.DB, o.Retention = db, time.Hour
		o.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	})
	require.Eventually(t, func() bool {
		return strings.Contains(string(a.get("/metrics").body), "zastava_backend_pruned_events_total 2")
	}, 30*time.Second, 10*time.Millisecond)
	a.put(other.Started(1))
	assert.Len(t, into[backend.EventPage](t, a.get(backendapi.EventsPath)).Events, 1)
	next, _ := a.follow("?lastEventId=1")
	m := next()
	assert.Equal(t, "truncated", m.event)
	assert.JSONEq(t, `{"after":1,"resumedAfter":2}`, m.data)
	assert.Equal(t, other.At(1), eventOf(t, next()).When)
}

func TestStreamIsDroppedWhenClientDoesNotRead(t *testing.T) {
	a := serve(t, func(o *backend.Options) {
		o.WriteTimeout, o.Heartbeat = 50*time.Millisecond, 10*time.Millisecond
		o.MaxBatchBytes = 8 << 20
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	_, err = conn.Write([]byte("GET " + streamPath + "?lastEventId=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	require.NoError(t, err)
	n := 0
	require.Eventually(t, func() bool {
		events := make([]backendapi.Event, 200)
		for i := range events {
			e := backendtest.NewLife(n).Started(1)
			e.Annotations = map[string]string{"padding": strings.Repeat("x", 4000)}
			events[i] = e
			n++
		}
		a.put(events...) // never held up by the stream
		return strings.Contains(string(a.get("/metrics").body), "zastava_backend_streams_dropped_total 1")
	}, 30*time.Second, 10*time.Millisecond)
}

func TestStreamReportsFactsWhenAsked(t *testing.T) {
	a := serve(t, nil)
	next, _ := a.follow("?facts=true&kind=CONTAINER_STOP")
	deaf, _ := a.follow("")
	other, _ := a.follow("?facts=true", backendapi.HeaderTenant, "globex")
	require.Equal(t, http.StatusAccepted, a.postFacts("callgraphId=cg&imageDigest="+imageDigest, lines(2, "containerd://1"), backendapi.HeaderIdempotencyKey, "k").StatusCode)
	assert.Equal(t, message{event: "facts", data: `{"subjectKey":"image:` + imageDigest + `"}`}, next())

	// A repeat stores nothing and is not reported.
	require.Equal(t, http.StatusAccepted, a.postFacts("callgraphId=cg&imageDigest="+imageDigest, lines(2, "containerd://1"), backendapi.HeaderIdempotencyKey, "k").StatusCode)
	require.Equal(t, http.StatusAccepted, a.postFacts("callgraphId=cg&component=%0A%22&version=1", lines(1, "containerd://1")).StatusCode)
	assert.Equal(t, message{event: "facts", data: `{"subjectKey":"component:\n\"@1"}`}, next())

	l := backendtest.NewLife(0)
	a.put(l.Started(1))
	assert.Equal(t, backendapi.KindStart, eventOf(t, deaf()).Kind)
	a.put(l.Stopped(2, 1, 0, "Completed"))
	eventOf(t, next())
	require.Equal(t, http.StatusAccepted, a.do(http.MethodPost, backendapi.FactsNDJSONPath+"?callgraphId=cg&imageDigest=sha256:1", bytes.NewReader(lines(1, "c")),
		"Content-Type", backendapi.NDJSONContentType, backendapi.HeaderTenant, "globex").StatusCode)
	assert.JSONEq(t, `{"subjectKey":"image:sha256:1"}`, other().data, "only the tenant's own facts are reported")
}
