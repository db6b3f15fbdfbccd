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
	"github.com/zastava-otel/zastava/internal/test/socketdir"
	"github.com/zastava-otel/zastava/internal/tracker"
)

const (
	// perSecond is how often per second crifake's Step changes a random container. Once half of the containers have ended, every
	// other step is an end, and the others make three transitions: that is 200 transitions per second.
	perSecond = 100
	// aged, multiplied by the number of containers, is the number of Steps after which about half of them have ended.
	aged = 2
)

// observeCRI runs an observer of a CRI server with a stream, as production configures it, until the test ends.
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

// steady calls do perSecond times per second for the duration d. Calls that are late are made up for.
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

// patience is how long the scale test waits for what the observer does at once on an idle machine: under the race detector, on a busy
// one, it takes longer.
const patience = 3 * time.Minute

// TestScale observes 10,000 containers of a synthetic CRI server, because no machine at hand runs as many, while 200 transitions
// happen per second: for 20 seconds, and for 5 minutes with ZASTAVA_E2E=long. What is reported must be exactly what happened, and once
// the server is quiet, one list per period is the only cost.
func TestScale(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	const n, resync = 10000, 4 * time.Second
	length := 20 * time.Second
	if os.Getenv("ZASTAVA_E2E") == "long" {
		length = 5 * time.Minute
	}
	s := startScale(t, n)
	sink, tel := &recorder{}, &countingTelemetry{}
	o := observeCRI(t, s.server.Endpoint(), sink, tel, resync)
	require.Eventually(t, func() bool { return o.Stats().Streaming && len(sink.reported()) == s.running() }, patience, 100*time.Millisecond, "the inventory")

	fullest := 0
	began := time.Now()
	steady(length, func() {
		life, ok := s.server.Step()
		require.True(t, ok)
		s.lives[life.ID] = life
		fullest = max(fullest, o.Stats().Outbox)
	})
	took := time.Since(began)
	want, happened := s.expected()
	t.Logf("%d containers at first, %d transitions in %s", len(s.before), happened, took.Round(time.Second))
	requireAccounts(t, sink, want)
	checkProvenance(t, sink)
	tel.mu.Lock()
	assert.Zero(t, tel.overflowed, "mailbox")
	assert.Zero(t, tel.coalesced)
	assert.Zero(t, tel.failed, "inspections")
	tel.mu.Unlock()
	assert.Zero(t, s.server.Dropped(), "the server never waits for a reader, and the observer keeps up")
	assert.LessOrEqual(t, fullest, 4096, "the outbox's capacity")

	time.Sleep(3 * time.Second) // until the rechecks of the last ends are done
	lists, inspections, quiet := s.server.Calls("ListContainers"), s.server.Calls("ContainerStatus"), time.Now()
	time.Sleep(2*resync + resync/2)
	listed := s.server.Calls("ListContainers") - lists
	assert.Positive(t, listed)
	assert.LessOrEqual(t, listed, int(time.Since(quiet)/resync)+1, "one list a period")
	assert.Equal(t, inspections, s.server.Calls("ContainerStatus"), "and nothing else")
}

// scale is a synthetic CRI server, with what its containers were before they were observed and what happened to them since.
type scale struct {
	t      *testing.T
	server *crifake.Server
	rt     *cri.Runtime
	before map[string]container.State
	lives  map[string]crifake.Life // of the containers to which something happened
}

func startScale(t *testing.T, containers int) *scale {
	t.Helper()
	server, err := crifake.Start(filepath.Join(socketdir.New(t), "c.sock"), crifake.Options{Name: "cri-o", Events: crifake.EventsOn, Seed: 3})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	server.Fill(containers, 3)
	for range aged * containers {
		server.Step()
	}
	rt, err := cri.New(cri.Options{Endpoint: server.Endpoint()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = rt.Close() })
	s := &scale{t: t, server: server, rt: rt, before: map[string]container.State{}, lives: map[string]crifake.Life{}}
	for _, listed := range s.list() {
		s.before[listed.ID] = listed.State
	}
	return s
}

func (s *scale) list() []runtime.Summary {
	listed, err := s.rt.List(s.t.Context(), nil)
	require.NoError(s.t, err)
	return listed
}

// running counts the containers that ran before they were observed.
func (s *scale) running() int {
	n := 0
	for _, state := range s.before {
		if state == container.StateRunning {
			n++
		}
	}
	return n
}

// expected returns what is to be reported of each container, and the number of transitions since the inventory.
func (s *scale) expected() (want map[string]string, happened int) {
	exists := map[string]bool{}
	for _, listed := range s.list() {
		exists[listed.ID] = true
		s.lives[listed.ID], _ = s.server.Life(listed.ID)
	}
	want = map[string]string{}
	for id, life := range s.lives {
		var what []string
		was, inventory := s.before[id]
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
		if !exists[id] {
			what = append(what, "removed")
		}
		want[id] = strings.Join(what, ", ")
		happened += len(what)
	}
	return want, happened
}

// accounts returns what was reported of each container, a stop as its last revision has it.
func (r *recorder) accounts() map[string]string {
	got, stops := map[string]string{}, map[string]string{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.transitions {
		tr := &r.transitions[i]
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

// requireAccounts waits until exactly what is wanted was reported of each container.
func requireAccounts(t *testing.T, sink *recorder, want map[string]string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		wrong := differences(sink.accounts(), want)
		if len(wrong) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d accounts are wrong: %.2000s", len(wrong), fmt.Sprint(wrong))
		}
		time.Sleep(500 * time.Millisecond)
	}
}

func differences(got, want map[string]string) (wrong []string) {
	for id, what := range want {
		if got[id] != what {
			wrong = append(wrong, fmt.Sprintf("%s: reported %q, was %q", id, got[id], what))
		}
	}
	for id := range got {
		if want[id] == "" {
			wrong = append(wrong, id+" never existed")
		}
	}
	return wrong
}

// checkProvenance requires that all times are exact and that nothing was missed. On a machine that is busy with other things, notices
// may be handled late, of which a gap says so.
func checkProvenance(t *testing.T, sink *recorder) {
	t.Helper()
	sink.mu.Lock()
	defer sink.mu.Unlock()
	for i := range sink.transitions {
		tr := &sink.transitions[i]
		assert.Equal(t, container.PrecisionExact, tr.Provenance.Precision, "%s of %s", tr.Kind, tr.Container.ID)
		assert.False(t, (tr.Provenance.MissedUnknown || tr.Provenance.MissedRuns > 0) && len(sink.gaps) == 0)
	}
	for _, g := range sink.gaps {
		assert.Equal(t, container.CauseMailboxOverflow, g.Cause)
		t.Logf("reported a gap of %s", g.To.Sub(g.From))
	}
}

// BenchmarkTransitions measures what the observation of a transition costs, in processor time of this process and in allocations, at
// the rate of the scale test on nodes of different sizes. The server is a process of its own. The periodic list is not included: see
// BenchmarkCycle.
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
						if steps++; steps%10 == 0 { // few requests to the server, because they cost time too
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
