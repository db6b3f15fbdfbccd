//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
)

// load is the durations of the operations that a runtime carried out.
type load struct {
	starts, stops []time.Duration
	longest       time.Duration // of any operation, creations and removals included
}

func (l *load) add(o load) {
	l.starts, l.stops = append(l.starts, o.starts...), append(l.stops, o.stops...)
	l.longest = max(l.longest, o.longest)
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2]
}

// noticesOfALife are the events of one full life that the observer subscribes to: create, start, exit, delete.
const noticesOfALife = 4

// generateLoad creates, starts, stops and removes containers, one after the other in each pod, for the duration lasts. No operation may
// fail.
func generateLoad(t *testing.T, d *privateruntime.Driver, pods []*privateruntime.Pod, lasts time.Duration, count *atomic.Int64) load {
	t.Helper()
	var mu sync.Mutex
	var total load
	var work sync.WaitGroup
	until := time.Now().Add(lasts)
	for _, pod := range pods {
		work.Go(func() {
			var l load
			timed := func(what string, call func(ctx context.Context) error) (time.Duration, bool) {
				ctx, cancel := context.WithTimeout(finally(), patient)
				defer cancel()
				began := time.Now()
				err := call(ctx)
				took := time.Since(began)
				l.longest = max(l.longest, took)
				return took, assert.NoError(t, err, what)
			}
			for time.Now().Before(until) && !t.Failed() {
				var id string
				name := fmt.Sprintf("life-%d", count.Add(1))
				_, ok := timed("create", func(ctx context.Context) (err error) {
					id, err = d.Create(ctx, pod, privateruntime.ContainerSpec{Name: name, Args: []string{"sleep", "3600"}})
					return err
				})
				if !ok {
					break
				}
				start, _ := timed("start", func(ctx context.Context) error { return d.Start(ctx, id) })
				if assert.NoError(t, d.Ready(finally(), id)) {
					stop, _ := timed("stop", func(ctx context.Context) error { return d.Stop(ctx, id, 10*time.Second) })
					l.starts, l.stops = append(l.starts, start), append(l.stops, stop)
				}
				timed("remove", func(ctx context.Context) error { return d.Remove(ctx, id) })
			}
			mu.Lock()
			defer mu.Unlock()
			total.add(l)
		})
	}
	work.Wait()
	return total
}

// obstruction keeps the observer from reading, or from delivering what it read.
type obstruction struct {
	name         string
	extra        []string // configuration of the collector
	begin        func(s *stack) (end func())
	alone, under time.Duration // duration of each round without the observer, and with the obstructed one
	rounds       int
}

func obstructions() []obstruction {
	all := []obstruction{
		{
			name: "the pipeline is blocked",
			// The smallest queue that works: the receiver delivers 256 records at once. It waits when twice as many are undelivered.
			extra: []string{"exporters::zastavabackend::sending_queue::num_consumers: 1", "exporters::zastavabackend::sending_queue::queue_size: 256"},
			begin: func(s *stack) func() {
				s.backend.Signal(syscall.SIGSTOP)
				return func() { s.backend.Signal(syscall.SIGCONT) }
			},
			alone: time.Minute, under: 2 * time.Minute, rounds: 1,
		},
		{
			name: "the collector is stopped",
			begin: func(s *stack) func() {
				s.collector.Signal(syscall.SIGSTOP)
				return func() { s.collector.Signal(syscall.SIGCONT) }
			},
			alone: 30 * time.Second, under: time.Minute, rounds: 3,
		},
		{
			name: "the collector has 2 percent of a core",
			begin: func(s *stack) func() {
				stop, done := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(done)
					tick := time.NewTicker(100 * time.Millisecond)
					defer tick.Stop()
					for {
						s.collector.Signal(syscall.SIGSTOP)
						select {
						case <-stop:
							s.collector.Signal(syscall.SIGCONT)
							return
						case <-tick.C:
						}
						s.collector.Signal(syscall.SIGCONT)
						time.Sleep(2 * time.Millisecond)
					}
				}()
				return func() { close(stop); <-done }
			},
			alone: 30 * time.Second, under: time.Minute, rounds: 3,
		},
	}
	if !long() {
		for i := range all {
			all[i].alone, all[i].under, all[i].rounds = 5*time.Second, 12*time.Second, 1
		}
	}
	return all
}

// TestContainerdNeverStallsWhenTheObserverDoesNotRead keeps the observer from reading under load and measures what containerd 2 does
// meanwhile, in turns with an unobserved containerd. The medians that the test logs show that containerd is not slower. The test
// requires that every operation ends long before the fault does, that every event is reported afterwards, and that containerd then
// keeps nothing for the observer.
func TestContainerdNeverStallsWhenTheObserverDoesNotRead(t *testing.T) {
	release := available(t, realruntime.Containerd2())
	for _, m := range obstructions() {
		t.Run(m.name, func(t *testing.T) {
			c := realruntime.Containerd(t, release.BinDirs...)
			d := c.Driver()
			var pods []*privateruntime.Pod
			for i := range 2 { // not more than the cores of a small machine: the test measures waiting, not a shortage of CPU time
				pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: fmt.Sprint("load-", i), Namespace: "stall"})
				require.NoError(t, err)
				pods = append(pods, pod)
			}
			s := newStack(t, c.Endpoint(), "auto", m.extra...)
			s.observe()
			s.observing()
			known := chronicle{mayOOM: mayOOM}
			var count atomic.Int64
			var alone, under load
			heap := func() uint64 {
				bytes, err := c.Heap(t.Context())
				require.NoError(t, err)
				return bytes
			}
			generateLoad(t, d, pods, m.alone/4, &count) // fills caches
			var during uint64
			for range m.rounds { // in turns
				from := time.Now()
				s.collector.Kill()
				alone.add(generateLoad(t, d, pods, m.alone, &count))
				s.observe()
				s.observing()
				end := m.begin(s)
				under.add(generateLoad(t, d, pods, m.under, &count))
				during = max(during, heap())
				end()
				// Without an observer everything is missed, and containers may be gone before the obstructed one reads their notices.
				known.outages = append(known.outages, span{from.Add(-2 * time.Second), time.Now().Add(10 * time.Second)})
				known.records = d.Records()
				s.awaitTrueEvents(known)
			}
			// containerd 2 keeps its CRI events of the last five minutes for later subscribers, so that its memory grows with the load.
			// What it keeps for the observer is the difference to its heap immediately after the observer was killed.
			after := heap()
			s.collector.Kill()
			without := heap()
			alone.add(generateLoad(t, d, pods, m.alone, &count))
			notices := noticesOfALife * len(under.starts)
			t.Logf("containerd %s, %d notices in %v with the obstruction; operations took at most %v without an observer and %v with the obstructed one", c.Version(), notices,
				time.Duration(m.rounds)*m.under, alone.longest.Round(time.Millisecond), under.longest.Round(time.Millisecond))
			report := func(what string, a, b []time.Duration) {
				t.Logf("%s: median %v without an observer (%d), %v with the obstructed one (%d): ratio %.3f", what, median(a).Round(10*time.Microsecond), len(a),
					median(b).Round(10*time.Microsecond), len(b), float64(median(b))/float64(median(a)))
			}
			report("start", alone.starts, under.starts)
			report("stop", alone.stops, under.stops)
			t.Logf("containerd's heap: %.2f MiB at the end of the obstruction, %.2f MiB after it, %.2f MiB without the observer: ratio %.3f",
				mib(during), mib(after), mib(without), mib(after)/mib(without))
			assert.NotEmpty(t, under.starts)
			assert.Less(t, under.longest, m.under*2/3, "an operation waited for the observer")
			assert.Less(t, mib(after), 1.1*mib(without)+1, "containerd kept what the observer did not read")
		})
	}
}

func mib(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

// TestContainerdStallsWhenACRISubscriberStopsReading is the control of TestContainerdNeverStallsWhenTheObserverDoesNotRead: under the
// same load containerd 2 stalls when a subscriber of its CRI event stream does not read. Therefore the observer does not subscribe
// to that stream.
func TestContainerdStallsWhenACRISubscriberStopsReading(t *testing.T) {
	const hangs = 10 * time.Second
	c := realruntime.Containerd(t, available(t, realruntime.Containerd2()).BinDirs...)
	d := c.Driver()
	conn, err := grpc.NewClient(c.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	subscription, unsubscribe := context.WithCancel(t.Context())
	defer unsubscribe()
	_, err = cri.NewRuntimeServiceClient(conn).GetContainerEvents(subscription, &cri.GetEventsRequest{})
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var lives atomic.Int64
	var stalled atomic.Bool
	var work sync.WaitGroup
	for w := range 4 {
		work.Go(func() {
			pod, err := d.RunPod(ctx, privateruntime.PodSpec{Name: fmt.Sprint("load-", w), Namespace: "stall"})
			for n := 0; err == nil && !stalled.Load() && ctx.Err() == nil; n++ {
				err = func() error {
					ctx, cancel := context.WithTimeout(ctx, hangs)
					defer cancel()
					id, err := d.Run(ctx, pod, privateruntime.ContainerSpec{Name: fmt.Sprint("life-", n), Args: []string{"pause"}})
					if err == nil {
						err = d.Stop(ctx, id, 0)
					}
					if err == nil {
						err = d.Remove(ctx, id)
					}
					return err
				}()
				lives.Add(1)
			}
			stalled.Store(stalled.Load() || err != nil && ctx.Err() == nil)
		})
	}
	work.Wait()
	require.True(t, stalled.Load(), "nothing stalled in %d lives: the control of TestContainerdNeverStallsWhenTheObserverDoesNotRead does not work", lives.Load())
	t.Logf("containerd %s stalled after %d lives", c.Version(), lives.Load())
	unsubscribe()
	pod, err := d.RunPod(ctx, privateruntime.PodSpec{Name: "after", Namespace: "stall"})
	require.NoError(t, err)
	_, err = d.Play(ctx, pod, privateruntime.Lives()[0], 0)
	require.NoError(t, err, "it goes on once the subscriber is gone")
}
