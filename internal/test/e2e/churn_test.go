//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/internal/test/proxy"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
)

// faultPeriods says how often the collector and containerd are killed, and how often the connections between them are cut.
type faultPeriods struct {
	lasts, collectorEvery, containerdEvery, cutEvery time.Duration
}

// TestEventsAreTrueUnderChurn runs and ends containers at random, kills the collector and containerd repeatedly, and cuts the connections
// between them. In the end the backend must have every run once, with the runtime's values or marked as unknown, and nothing else.
func TestEventsAreTrueUnderChurn(t *testing.T) {
	m := faultPeriods{lasts: 24 * time.Second, collectorEvery: 9 * time.Second, containerdEvery: 14 * time.Second, cutEvery: 7 * time.Second}
	if long() {
		m = faultPeriods{lasts: 10 * time.Minute, collectorEvery: time.Minute, containerdEvery: 90 * time.Second, cutEvery: 25 * time.Second}
	}
	eachContainerd(t, []realruntime.Release{realruntime.System(), realruntime.Containerd2()}, func(t *testing.T, release realruntime.Release) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		c := realruntime.Containerd(t, release.BinDirs...)
		d := c.Driver()
		between := proxy.Start(t, "unix://"+filepath.Join(c.Dir(), "cut.sock"), c.Endpoint())
		s := newStack(t, between.Address(), "auto", "receivers::criobserver::timeout: 2s", "receivers::criobserver::backoff::max_interval: 2s")
		s.observe()
		s.observing()

		ctx, cancel := context.WithTimeout(t.Context(), m.lasts)
		defer cancel()
		ch := &churn{t: t, d: d, workers: 4, perPod: 25, kept: 2, linger: 400 * time.Millisecond}
		ch.begin(ctx, seed)
		known := chronicle{mayOOM: mayOOM}
		down := func(what string, end, begin func()) {
			from := time.Now()
			end()
			retry.Sleep(t.Context(), time.Duration(random.Int64N(int64(3*time.Second))))
			begin()
			t.Logf("%s was down for %v", what, time.Since(from).Round(time.Millisecond))
			// Until the stream and a list work again; a gap may begin with the last list before the outage.
			known.outages = append(known.outages, span{from.Add(-2 * time.Second), time.Now().Add(5 * time.Second)})
		}
		collector, runtime, cut := time.NewTicker(m.collectorEvery), time.NewTicker(m.containerdEvery), time.NewTicker(m.cutEvery)
		defer collector.Stop()
		defer runtime.Stop()
		defer cut.Stop()
		for ctx.Err() == nil {
			select {
			case <-collector.C:
				down("the collector", s.collector.Kill, func() { s.observe(); s.observing() })
			case <-runtime.C:
				down("containerd", func() { require.NoError(t, c.Kill()) }, func() { require.NoError(t, c.Restart(t.Context())) })
			case <-cut.C:
				between.Cut()
				known.outages = append(known.outages, span{time.Now().Add(-2 * time.Second), time.Now().Add(5 * time.Second)})
			case <-ctx.Done():
			}
		}
		ch.work.Wait()
		require.NoError(t, d.Reconcile(t.Context()))
		known.records = d.Records()
		t.Logf("%d containers in %d pods; %d given up: %v", ch.lives.Load(), ch.pods.Load(), ch.abandoned.Load(), ch.faults)
		s.awaitTrueEvents(known)
	})
}

// awaitTrueEvents waits until the backend's events agree with the chronicle, and still do a moment later.
func (s *stack) awaitTrueEvents(known chronicle) {
	s.t.Helper()
	var v verdict
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if v = known.judge(s.events()); len(v.faults) > 0 {
			continue
		}
		time.Sleep(2500 * time.Millisecond) // after another list and a recheck of every stop
		if v = known.judge(s.events()); len(v.faults) == 0 {
			s.t.Logf("of %d containers: %s", len(known.records), v)
			return
		}
	}
	s.t.Fatalf("of %d containers: %s; %d faults:\n%s", len(known.records), v, len(v.faults), strings.Join(v.faults, "\n"))
}
