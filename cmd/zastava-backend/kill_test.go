// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// sender posts batches one after the other until its backend dies, and posts the unanswered one to the next backend again, as the
// exporter does.
type sender struct {
	client  *http.Client
	next    *atomic.Int64 // the next container; shared, so that no two senders use the same
	doubt   []byte        // the batch that was not answered
	inDoubt []string      // its events
	stored  []string      // ids of the events that were answered with 202
	faults  []string
}

const eventsPerBatch = 10

func (s *sender) send(base string, accepted func()) {
	for {
		if s.doubt == nil {
			events := make([]backendapi.Event, 0, eventsPerBatch)
			for len(events) < eventsPerBatch {
				l := backendtest.NewLife(int(s.next.Add(1)))
				events = append(events, l.Started(1), l.Stopped(2, 1, 0, "Completed"))
			}
			s.doubt, s.inDoubt = nil, nil
			raw, err := json.Marshal(backendtest.Batch(events...))
			if err != nil {
				s.faults = append(s.faults, err.Error())
				return
			}
			s.doubt = raw
			for i := range events {
				s.inDoubt = append(s.inDoubt, events[i].EventID)
			}
		}
		req, err := http.NewRequest(http.MethodPost, base+backendapi.EventsPath[1:], bytes.NewReader(s.doubt))
		if err != nil {
			s.faults = append(s.faults, err.Error())
			return
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set(backendapi.HeaderTenant, backendtest.Tenant)
		res, err := s.client.Do(req)
		if err != nil {
			return // killed
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		switch {
		case res.StatusCode == http.StatusAccepted: // the status decides, even if the rest of the answer was cut off
			s.stored = append(s.stored, s.inDoubt...)
			var out backendapi.IngestResponse
			if err == nil && (json.Unmarshal(body, &out) != nil || out.Accepted != eventsPerBatch) {
				s.faults = append(s.faults, "answered with "+string(body)) // a repeat is answered as the first time
			}
			s.doubt = nil
			accepted()
		case res.StatusCode == http.StatusServiceUnavailable:
		default:
			s.faults = append(s.faults, res.Status+": "+string(body))
			return
		}
	}
}

// TestAcceptedEventsSurviveSIGKILL kills the real program again and again while four clients post, and compares what is in
// the database with what was answered.
func TestAcceptedEventsSurviveSIGKILL(t *testing.T) {
	rounds := 20
	if os.Getenv("ZASTAVA_E2E") == "long" {
		rounds = 200
	}
	db := filepath.Join(t.TempDir(), "x.db")
	transport := &http.Transport{}
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	next := new(atomic.Int64)
	senders := make([]*sender, 4)
	for i := range senders {
		senders[i] = &sender{client: client, next: next}
	}
	for range rounds {
		p := start(t, "--db", db)
		var sending sync.WaitGroup
		first, once := make(chan struct{}), sync.Once{}
		for _, s := range senders {
			sending.Go(func() { s.send(p.url, func() { once.Do(func() { close(first) }) }) })
		}
		select {
		case <-first:
			time.Sleep(rand.N(60 * time.Millisecond)) // any moment: in a body, a transaction, an fsync, an answer
		case <-time.After(30 * time.Second):
			t.Error("no batch is accepted")
		}
		require.NoError(t, p.cmd.Process.Kill())
		_ = p.cmd.Wait()
		sending.Wait()
		transport.CloseIdleConnections()
	}
	p := start(t, "--db", db)
	got := map[string]int{}
	for _, id := range p.events(t) {
		got[id]++
	}
	accepted := 0
	for _, s := range senders {
		assert.Empty(t, s.faults)
		for _, id := range s.stored {
			accepted++
			assert.Equal(t, 1, got[id], "event %s was accepted", id)
			delete(got, id)
		}
		for _, id := range s.inDoubt {
			delete(got, id) // stored, but its answer was cut off
		}
	}
	assert.Empty(t, got, "stored, but never sent")
	assert.GreaterOrEqual(t, accepted, rounds*eventsPerBatch)
	t.Logf("%d events accepted over %d kills", accepted, rounds)
	require.NoError(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()

	file, err := sql.Open("sqlite", db)
	require.NoError(t, err)
	defer file.Close()
	var verdict string
	require.NoError(t, file.QueryRow("PRAGMA integrity_check").Scan(&verdict))
	assert.Equal(t, "ok", verdict)
	var torn int
	require.NoError(t, file.QueryRow(`SELECT count(*) FROM events e WHERE NOT EXISTS (SELECT 1 FROM containers c
		WHERE c.container_id = e.container_id AND c.state = 'exited') OR NOT EXISTS (SELECT 1 FROM batches b WHERE b.batch_id = e.batch_id)`).Scan(&torn))
	assert.Zero(t, torn, "an event is there with all that follows from it, or not at all")
}
