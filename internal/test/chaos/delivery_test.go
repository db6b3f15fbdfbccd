//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/test/proxy"
)

// TestEventsArriveOnceAfterEveryNetworkFault causes every fault between collector and backend, one after the other, while events arrive.
func TestEventsArriveOnceAfterEveryNetworkFault(t *testing.T) {
	r := newRig(t)
	r.start()
	for _, fault := range proxy.Faults() {
		before := r.proxy.Met()
		r.proxy.Set(fault)
		r.feed(either(60, 2000), 7, nil)
		r.await(fault.String(), func() bool { return r.proxy.Met() > before })
		r.proxy.Set(proxy.Pass)
		r.feed(either(20, 500), 5, nil)
	}
	modes := append(proxy.Faults(), proxy.Pass)
	for range either(10, 200) { // flapping
		r.proxy.Set(modes[rand.IntN(len(modes))])
		r.feed(either(10, 50), 3, nil)
	}
	r.proxy.Set(proxy.Pass)
	r.drained()
	r.check(0)
}

// TestBacklogIsDeliveredWhenTheBackendIsBack lets a backlog grow while the backend is down, and then drains it.
func TestBacklogIsDeliveredWhenTheBackendIsBack(t *testing.T) {
	r := newRig(t, func(_ *rig, config string) string { // the backend is slow with so many events at once
		return strings.Replace(config, "timeout: 2s", "timeout: 30s", 1)
	})
	r.start()
	n := either(4000, 200_000)
	steady := func() float64 { // events per second; measured before and after, because the machine's load changes
		began := time.Now()
		r.feed(n/4, 256, nil)
		r.drained()
		return float64(n/4) / time.Since(began).Seconds()
	}
	before := steady()
	r.proxy.Set(proxy.Refuse)
	r.feed(n, 256, nil)
	r.await("the metrics of the outage", func() bool {
		return r.metrics.Sum("otelcol_exporter_zastavabackend_oldest_undelivered") > 0 && r.metrics.Sum("otelcol_exporter_zastavabackend_queue_bytes") > 0 &&
			r.metrics.Sum("otelcol_exporter_zastavabackend_outage_capacity") > 0
	})
	assert.InDelta(t, n, r.metrics.Sum("otelcol_exporter_queue_size"), 5)
	var most, least float64
	done := make(chan struct{})
	go func() { // memory while it drains
		defer close(done)
		for range 100000 {
			rss := r.collector.Resident()
			most, least = max(most, rss), min(least, rss)
			if least == 0 {
				least = rss
			}
			if r.metrics.Sum("otelcol_exporter_queue_size") == 0 {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	began := time.Now()
	r.proxy.Set(proxy.Pass)
	r.drained()
	took := time.Since(began)
	<-done
	after := steady()
	r.check(0)
	t.Logf("%d events arrived and left at %.0f events/s before and %.0f events/s after; a backlog of %d drained at %.0f events/s; resident memory meanwhile %.1f to %.1f MiB",
		n/4, before, after, n, float64(n)/took.Seconds(), least, most)
}

// TestEventsArriveOnceWhenTheCollectorIsKilled kills the collector at random moments while events arrive and leave.
func TestEventsArriveOnceWhenTheCollectorIsKilled(t *testing.T) {
	r := newRig(t)
	kills := either(5, 100)
	for range kills {
		r.start()
		deadline := time.Now().Add(time.Duration(rand.IntN(300)) * time.Millisecond)
		done := make(chan struct{})
		go func() {
			defer close(done)
			time.Sleep(time.Until(deadline))
			r.collector.Kill()
		}()
		for time.Now().Before(deadline) {
			ids, body := r.records(1 + rand.IntN(20))
			if !r.try(body) {
				<-done
				r.start() // the request may have been accepted: it is sent until that is certain
				r.await("the collector to accept it again", func() bool { return r.try(body) })
				r.collector.Kill()
			}
			for _, id := range ids {
				r.accepted[id] = true
			}
		}
		<-done
		r.collector.Kill()
	}
	r.start()
	r.drained()
	r.check(0)
	assert.Zero(t, r.metrics.Sum("otelcol_extension_zastavastorage_faults", `fault="damaged"`))
	t.Logf("killed %d times; %d events", kills, len(r.accepted))
}

// TestDropOldestCountsEveryMissingEvent limits the queue and drops the oldest events. The missing events are exactly the counted ones.
func TestDropOldestCountsEveryMissingEvent(t *testing.T) {
	r := newRig(t, func(_ *rig, config string) string {
		config = strings.Replace(config, "queue_size: 1000000", "queue_size: 500", 1)
		return strings.Replace(config, "    timeout: 2s", "    timeout: 2s\n    drop_oldest: true", 1)
	})
	r.start()
	r.proxy.Set(proxy.Refuse)
	r.feed(1500, 50, nil)
	dropped := func() int {
		return int(r.metrics.Sum("otelcol_exporter_zastavabackend_dropped", `kind="CONTAINER_STOP"`, `cause="overflow"`))
	}
	r.proxy.Set(proxy.Pass)
	r.drained()
	require.GreaterOrEqual(t, dropped(), 500)
	assert.Equal(t, dropped(), r.check(dropped()), "exactly the counted events are missing")
}
