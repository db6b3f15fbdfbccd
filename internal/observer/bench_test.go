// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package observer

import (
	"context"
	"fmt"
	"math"
	goruntime "runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/internal/runtime/cri"
	"github.com/zastava-otel/zastava/internal/test/bench/cost"
	"github.com/zastava-otel/zastava/internal/test/bench/crihost"
	"github.com/zastava-otel/zastava/internal/tracker"
)

func served() bool { return crihost.Served() }

// discard is a sink that accepts everything and keeps nothing.
type discard struct{}

func (discard) Deliver(context.Context, []Item) error { return nil }

// stepped is an observer whose loop the benchmark drives, so that it knows where a cycle begins and ends. It drives all that production
// runs: the list in its goroutine, the comparison, absences, inspections, the outbox and its sender.
type stepped struct {
	l *loop
	floor
}

func step(b *testing.B, host *crihost.Host) *stepped {
	b.Helper()
	rt, err := cri.New(cri.Options{Name: "bench", Endpoint: host.Endpoint(), Timeout: time.Minute})
	require.NoError(b, err)
	b.Cleanup(func() { _ = rt.Close() })
	info, err := rt.Info(b.Context())
	require.NoError(b, err)
	opts := Options{
		Name: "bench", PollInterval: time.Hour, ResyncInterval: time.Hour, Timeout: time.Minute,
		Backoff:          retry.Options{Initial: time.Second, Max: time.Minute, Multiplier: 2, Jitter: 0.5},
		Tracker:          tracker.Options{CrashLoopThreshold: 3, CrashLoopWindow: 10 * time.Minute},
		OutboxCapacity:   1 << 20,          // so that nothing is refused
		RecheckAfterStop: time.Millisecond, // within the cycle, so that its cost is included
	}
	s := &stepped{}
	o := New(opts, nil, discard{}, nil, Host{}, &countingTelemetry{}, &countingTelemetry{}, func(error) {})
	s.l = newLoop(o, rt, info, tracker.New(opts.Tracker), time.Time{})
	s.l.lists.timer.Stop()
	sent := make(chan struct{})
	go func() { o.send(context.WithoutCancel(b.Context())); close(sent) }()
	b.Cleanup(func() {
		s.l.drain(func() {})
		o.outbox.close()
		<-sent
	})
	conn, err := rt.Dial()
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	s.floor = floor{conn}
	s.cycle(b.Context())
	return s
}

// cycle lists, compares and handles all that follows from it.
func (s *stepped) cycle(ctx context.Context) {
	s.l.startList(ctx)
	s.l.handleList(ctx, <-s.l.results.lists)
	for s.busy() {
		select {
		case d := <-s.l.results.described:
			s.l.handleDescribed(ctx, d)
		case r := <-s.l.results.inspected:
			s.l.handleInspected(ctx, r)
		case <-s.l.rechecks.timer.C:
			s.l.handleRechecks(ctx)
		}
	}
}

func (s *stepped) busy() bool {
	if s.l.inspections.running > 0 || len(s.l.rechecks.queue) > 0 {
		return true
	}
	for _, e := range s.l.entries {
		if e.busy() {
			return true
		}
	}
	return false
}

// quiet is a cycle in which nothing changed: it has nothing to wait for, and does not check that.
func (s *stepped) quiet(ctx context.Context) {
	s.l.startList(ctx)
	s.l.handleList(ctx, <-s.l.results.lists)
}

// floor is the minimum that a list costs with gRPC: the call, and the unmarshalling of its response.
type floor struct{ conn *grpc.ClientConn }

func (f floor) list(ctx context.Context, b *testing.B) {
	b.Helper()
	answer, err := runtimeapi.NewRuntimeServiceClient(f.conn).ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil || len(answer.Containers) == 0 {
		b.Fatal("no answer: ", err)
	}
}

// BenchmarkCycle compares one list-and-compare cycle with that floor, alternating in the same run: processor time of this process, and
// allocations. The server is a process of its own. unchanged: nothing changed since the cycle before. changed: 1 % of the containers
// did, and the cycle includes their inspections and the delivery of what they show.
func BenchmarkCycle(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprintf("unchanged/%d", n), func(b *testing.B) {
			host := crihost.Start(b, crihost.Options{Containers: n, PerPod: 3})
			s := step(b, host)
			ctx := b.Context()
			require.Equal(b, n, s.l.tracker.Len())
			// One measurement spans several cycles, because the system counts processor time coarsely.
			several := max(1, 5000/n)
			s.floor.list(ctx, b)
			s.quiet(ctx)
			goruntime.GC()
			var bare, ours cost.Cost
			for b.Loop() {
				bare.Add(cost.Of(func() {
					for range several {
						s.floor.list(ctx, b)
					}
				}))
				ours.Add(cost.Of(func() {
					for range several {
						s.quiet(ctx)
					}
				}))
			}
			report(b, ours, bare, float64(b.N*several))
		})
	}
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprintf("changed/%d", n), func(b *testing.B) {
			host := crihost.Start(b, crihost.Options{Containers: n, PerPod: 3})
			s := step(b, host)
			ctx := b.Context()
			host.Step(0)
			inspects, transitions := host.Calls("ContainerStatus"), 0
			var bare, idle, ours cost.Cost
			for b.Loop() {
				bare.Add(cost.Of(func() { s.floor.list(ctx, b) }))
				idle.Add(cost.Of(func() { s.quiet(ctx) }))
				transitions += host.Step(n / 100)
				ours.Add(cost.Of(func() { s.cycle(ctx) }))
			}
			report(b, ours, bare, float64(b.N))
			host.Step(0)
			changes := float64(b.N * n / 100)
			b.ReportMetric(math.Round(float64((ours.CPU-idle.CPU).Nanoseconds())/changes), "cpu-ns/change")
			b.ReportMetric(float64(ours.Allocs-idle.Allocs)/changes, "allocs/change")
			b.ReportMetric(float64(host.Calls("ContainerStatus")-inspects)/changes, "inspects/change")
			b.ReportMetric(float64(transitions)/changes, "transitions/change")
		})
	}
}

func report(b *testing.B, ours, bare cost.Cost, cycles float64) {
	b.Helper()
	b.ReportMetric(math.Round(float64(ours.CPU.Nanoseconds())/cycles), "cpu-ns/cycle")
	b.ReportMetric(math.Round(float64(bare.CPU.Nanoseconds())/cycles), "floor-cpu-ns/cycle")
	b.ReportMetric(float64(ours.CPU)/float64(bare.CPU), "cpu-ratio")
	b.ReportMetric(float64(ours.Allocs)/cycles, "allocs/cycle")
	b.ReportMetric(float64(ours.Allocs)/float64(bare.Allocs), "allocs-ratio")
}
