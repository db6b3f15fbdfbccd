// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package observer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/cri"
	"github.com/zastava-otel/zastava/internal/test/bench/cost"
	"github.com/zastava-otel/zastava/internal/test/bench/crihost"
	"github.com/zastava-otel/zastava/internal/test/crifake"
	"github.com/zastava-otel/zastava/internal/tracker"
)

const (
	// perSecond is how many things crifake's Step does to random containers in a second. Once half of the containers have
	// ended, every other one is an end, and the others make three transitions: that is 200 transitions a second.
	perSecond = 100
	// aged times the containers is how many Steps it takes until about half of them have ended.
	aged = 2
)

// scaled runs an observer of a CRI server with a stream, as production configures it, until the test ends.
func observeCRI(tb testing.TB, endpoint string, sink Sink, tel *countingTelemetry, resync time.Duration) *Observer {
	tb.Helper()
	rt, err := cri.New(cri.Options{Name: "scale", Endpoint: endpoint})
	require.NoError(tb, err)
	opts := Options{
		Name: "scale", PollInterval: 2 * time.Second, ResyncInterval: resync, Timeout: cri.DefaultTimeout,
		Backoff: retry.Options{Initial: time.Second, Max: time.Minute, Multiplier: 2, Jitter: 0.5},
		Tracker: tracker.Options{CrashLoopThreshold: 3, CrashLoopWindow: 10 * time.Minute},
	}
	o := New(opts, func(ctx context.Context) (runtime.Runtime, runtime.Info, error) {
		info, err := rt.Info(ctx)
		return cri.WithEvents(rt), info, err
	}, sink, nil, Host{}, tel, tel, func(error) {})
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan struct{})
	go func() { o.Run(ctx); close(done) }()
	tb.Cleanup(func() { cancel(); <-done })
	return o
}

// steady calls do as often as it takes to have called it perSecond times a second, for as long as d.
func steady(d time.Duration, do func()) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began, done := time.Now(), 0
	for range tick.C {
		passed := time.Since(began)
		for ; done < int(passed.Seconds()*perSecond); done++ {
			do()
		}
		if passed >= d {
			return
		}
	}
}

// TestScale observes 10,000 containers of a synthetic CRI server, for no machine at hand runs as many, while 200 transitions
// happen a second: for 20 seconds, and for 5 minutes with ZASTAVA_E2E=long. What is told must be what happened, to the last
// one, and once quiet, one list a period is all that it costs.
func TestScale(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	const n, resync = 10000, 4 * time.Second
	length := 20 * time.Second
	if os.Getenv("ZASTAVA_E2E") == "long" {
		length = 5 * time.Minute
	}
	dir, err := os.MkdirTemp("", "cri") //nolint:usetesting // a test's own directory has too long a name for a socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	server, err := crifake.Start(filepath.Join(dir, "c.sock"), crifake.Options{Name: "cri-o", Events: crifake.EventsOn, Seed: 3})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	server.Fill(n, 3)
	for range aged * n {
		server.Step()
	}
	rt, err := cri.New(cri.Options{Endpoint: server.Endpoint()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = rt.Close() })
	before, running := map[string]container.State{}, 0
	list := func() []runtime.Summary {
		listed, err := rt.List(t.Context(), nil)
		require.NoError(t, err)
		return listed
	}
	for _, s := range list() {
		if before[s.ID] = s.State; s.State == container.StateRunning {
			running++
		}
	}
	lives := map[string]crifake.Life{}
	sink, tel := &recorder{}, &countingTelemetry{}
	o := observeCRI(t, server.Endpoint(), sink, tel, resync)
	const patience = 3 * time.Minute // under the race detector, on a busy machine
	require.Eventually(t, func() bool { return o.Stats().Streaming && len(sink.reported()) == running }, patience, 100*time.Millisecond, "the inventory")

	fullest := 0
	began := time.Now()
	steady(length, func() {
		life, ok := server.Step()
		require.True(t, ok)
		lives[life.ID] = life
		fullest = max(fullest, o.Stats().Outbox)
	})
	took := time.Since(began)

	here := map[string]bool{}
	for _, s := range list() {
		here[s.ID] = true
		lives[s.ID], _ = server.Life(s.ID)
	}
	want, happened := map[string]string{}, 0
	for id, life := range lives {
		var what []string
		was, inventory := before[id]
		switch {
		case inventory && was == container.StateRunning:
			what = append(what, "started")
			happened--
		case inventory:
		case life.Attempt > 0:
			what = append(what, "created", "restarted")
		default:
			what = append(what, "created", "started")
		}
		if !life.Finished.IsZero() && was != container.StateExited {
			what = append(what, fmt.Sprintf("stopped %d %s %d", uint32(life.ExitCode), life.Reason, life.Finished.UnixNano()))
		}
		if !here[id] {
			what = append(what, "removed")
		}
		want[id] = strings.Join(what, ", ")
		happened += len(what)
	}
	t.Logf("%d containers at first, %d transitions in %s", len(before), happened, took.Round(time.Second))
	account := func() map[string]string { // a stop as its last revision tells it
		got, stops := map[string]string{}, map[string]string{}
		sink.mu.Lock()
		defer sink.mu.Unlock()
		for i := range sink.transitions {
			tr := &sink.transitions[i]
			what := tr.Kind.String()
			switch tr.Kind {
			case container.KindCrashLoop, container.KindCrashLoopEnded:
				continue
			case container.KindStopped:
				what += fmt.Sprintf(" %d %s %d", tr.Run.ExitCode, tr.Run.Reason, tr.When.UnixNano())
				was := stops[tr.Container.ID]
				stops[tr.Container.ID] = what
				if tr.Revision > 0 {
					got[tr.Container.ID] = strings.Replace(got[tr.Container.ID], was, what, 1)
					continue
				}
			}
			if got[tr.Container.ID] != "" {
				what = got[tr.Container.ID] + ", " + what
			}
			got[tr.Container.ID] = what
		}
		return got
	}
	deadline := time.Now().Add(patience)
	for wrong := []string{"?"}; len(wrong) > 0; {
		wrong = nil
		got := account()
		for id, what := range want {
			if got[id] != what {
				wrong = append(wrong, fmt.Sprintf("%s: told %q, was %q", id, got[id], what))
			}
		}
		for id := range got {
			if want[id] == "" {
				wrong = append(wrong, id+" was never there")
			}
		}
		if len(wrong) > 0 && time.Now().After(deadline) {
			t.Fatalf("%d accounts are wrong: %.2000s", len(wrong), fmt.Sprint(wrong))
		}
		time.Sleep(500 * time.Millisecond)
	}
	sink.mu.Lock()
	for i := range sink.transitions {
		tr := &sink.transitions[i]
		assert.Equal(t, container.PrecisionExact, tr.Provenance.Precision, "%s of %s", tr.Kind, tr.Container.ID)
		assert.False(t, (tr.Provenance.MissedUnknown || tr.Provenance.MissedRuns > 0) && len(sink.gaps) == 0)
	}
	for _, g := range sink.gaps {
		// On a machine that is busy with other things, notices may be taken late; the observer then says so.
		assert.Equal(t, container.CauseMailboxOverflow, g.Cause)
		t.Logf("told a gap of %s", g.To.Sub(g.From))
	}
	sink.mu.Unlock()
	tel.mu.Lock()
	assert.Zero(t, tel.overflowed, "mailbox")
	assert.Zero(t, tel.coalesced)
	assert.Zero(t, tel.failed, "inspects")
	tel.mu.Unlock()
	assert.Zero(t, server.Dropped(), "the server never waits for a reader, and ours keeps up")
	assert.LessOrEqual(t, fullest, 4096, "the outbox's capacity")

	// Quiet: after the second looks at the last ends.
	time.Sleep(3 * time.Second)
	lists, looks, quiet := server.Calls("ListContainers"), server.Calls("ContainerStatus"), time.Now()
	time.Sleep(2*resync + resync/2)
	listed := server.Calls("ListContainers") - lists
	assert.Positive(t, listed)
	assert.LessOrEqual(t, listed, int(time.Since(quiet)/resync)+1, "one list a period")
	assert.Equal(t, looks, server.Calls("ContainerStatus"), "and nothing else")
}

// BenchmarkTransitions measures what the observation of a transition costs, processor time of this process and allocations,
// at the rate of the scale test on nodes of different sizes. The server is a process of its own. The periodic list is not in
// it: see BenchmarkCycle.
func BenchmarkTransitions(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			host := crihost.Start(b, crihost.Options{Containers: n, PerPod: 3, Events: true})
			host.Step(aged * n)
			o := observeCRI(b, host.Endpoint(), discard{}, &countingTelemetry{}, time.Hour)
			require.Eventually(b, func() bool { s := o.Stats(); return s.Streaming && s.Tracked == n && s.Outbox == 0 }, time.Minute, 10*time.Millisecond)
			var sum cost.Cost
			transitions := 0
			host.Step(0)
			inspects := host.Calls("ContainerStatus")
			for b.Loop() {
				sum.Add(cost.Of(func() {
					steps := 0
					steady(10*time.Second, func() {
						if steps++; steps%10 == 0 { // few questions to the server, for they cost too
							transitions += host.Step(10)
						}
					})
				}))
			}
			host.Step(0)
			require.Zero(b, host.Dropped())
			b.ReportMetric(float64(sum.CPU.Microseconds())/float64(transitions), "cpu-µs/transition")
			b.ReportMetric(float64(sum.Allocs)/float64(transitions), "allocs/transition")
			b.ReportMetric(float64(sum.Bytes)/float64(transitions), "B/transition")
			b.ReportMetric(float64(host.Calls("ContainerStatus")-inspects)/float64(transitions), "inspects/transition")
			b.ReportMetric(float64(transitions)/b.Elapsed().Seconds(), "transitions/s")
		})
	}
}
