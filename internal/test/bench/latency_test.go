// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver"
)

const (
	lives    = 150
	lifetime = 60 // ms
	between  = 90 * time.Millisecond
	relist   = time.Second // the period of the kubelet's generic PLEG
	polled   = 2 * time.Second
	spin     = 100 * time.Microsecond // between two status calls
)

// moment is a start or an end of a container.
type moment struct {
	id  string
	end bool
}

// reader records when it first received each moment.
type reader struct {
	mu   sync.Mutex
	seen map[moment]time.Time
}

func newReader() *reader { return &reader{seen: map[moment]time.Time{}} }

func (r *reader) note(id string, end bool, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := (moment{id, end}); r.seen[m].IsZero() {
		r.seen[m] = at
	}
}

func (r *reader) at(id string, end bool) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[moment{id, end}]
}

// BenchmarkLatency measures, on a real containerd under light churn, the time from the runtime's own time of a start or an end until
// the receiver calls ConsumeLogs. In the same run, over the same containers, it measures for comparison a bare subscriber of
// containerd's native events, a bare reader of CRI's GetContainerEvents where the version has it, and a list every second. added is the
// receiver minus the bare native subscriber, container by container. polling is the receiver without a stream, at its default period.
//
// status is when CRI's status first reports a start, with a status call every 100 µs after the native event. CRI's started_at, which
// identifies a run, cannot be known earlier. beyond-status is the receiver minus status.
//
// It runs on the installed containerd and on each one below build/runtimes, or only on the one in ZASTAVA_TEST_CONTAINERD_BIN.
func BenchmarkLatency(b *testing.B) {
	for _, dirs := range containerds() {
		c := realruntime.Containerd(b, dirs...)
		b.Run(c.Version(), func(b *testing.B) { latency(b, c) })
	}
}

// containerds returns the directories of the programs of each containerd, nil for the installed one or the one in BinDirsVariable.
func containerds() [][]string {
	all := [][]string{nil}
	if os.Getenv(realruntime.BinDirsVariable) != "" {
		return all
	}
	built, _ := filepath.Glob("../../../build/runtimes/containerd*")
	for _, dir := range built {
		if path, err := filepath.Abs(dir); err == nil {
			all = append(all, []string{path})
		}
	}
	return all
}

func latency(b *testing.B, c *privateruntime.Containerd) {
	ctx, cancel := context.WithCancel(b.Context())
	var work sync.WaitGroup
	var stop []func()
	end := sync.OnceFunc(func() {
		for _, f := range stop {
			f()
		}
		cancel()
		work.Wait()
	})
	defer end()

	readers := map[string]*reader{"native": newReader(), "relisting": newReader(), "status": newReader()}
	bareNative(ctx, b, c, &work, readers["native"], readers["status"])
	bareList(ctx, b, c, &work, readers["relisting"])
	if !strings.HasPrefix(c.Version(), "1.") { // 1.6 has none; on 1.7 its readers take the events from each other
		readers["cri"] = newReader()
		bareCRI(ctx, b, c, &work, readers["cri"])
	}
	for name, stream := range map[string]criobserverreceiver.Stream{"receiver": criobserverreceiver.StreamAuto, "polling": criobserverreceiver.StreamOff} {
		readers[name] = newReader()
		stop = append(stop, receive(b, c, stream, readers[name]))
	}
	time.Sleep(time.Second) // until every subscription is established

	driver := c.Driver()
	pod, err := driver.RunPod(b.Context(), privateruntime.PodSpec{Name: "latency"})
	require.NoError(b, err)
	ids := runLives(b, driver, pod)
	awaitAll(b, readers, ids)
	var truth []privateruntime.Record
	for _, id := range ids {
		r, err := driver.Wait(b.Context(), id)
		require.NoError(b, err)
		truth = append(truth, r)
	}
	end()
	require.NoError(b, driver.RemovePod(b.Context(), pod))

	showAll(b, readers, truth)
}

// runLives runs containers one after the other, and returns the ids of those that count: the first ones warm up.
func runLives(b *testing.B, driver *privateruntime.Driver, pod *privateruntime.Pod) (ids []string) {
	b.Helper()
	const warm = 5
	for i := range warm + lives {
		id, err := driver.Run(b.Context(), pod, privateruntime.ContainerSpec{
			Name: fmt.Sprintf("life-%d", i), Args: []string{"sleepms", strconv.Itoa(lifetime)},
		})
		require.NoError(b, err)
		if i >= warm {
			ids = append(ids, id)
		}
		time.Sleep(between)
	}
	return ids
}

// awaitAll waits until every reader has noted every start and end.
func awaitAll(b *testing.B, readers map[string]*reader, ids []string) {
	b.Helper()
	for name, r := range readers {
		require.Eventually(b, func() bool {
			for _, id := range ids {
				if r.at(id, false).IsZero() || (r.at(id, true).IsZero() && name != "status") {
					return false
				}
			}
			return true
		}, 30*time.Second, 50*time.Millisecond, "%s has not received all", name)
	}
}

// showAll reports, for starts and ends, how much later than the runtime's own time each reader noted them.
func showAll(b *testing.B, readers map[string]*reader, truth []privateruntime.Record) {
	b.Helper()
	for _, what := range []struct {
		name string
		end  bool
	}{{"start", false}, {"stop", true}} {
		native := readers["native"]
		for _, name := range []string{"receiver", "native", "status", "cri", "relisting", "polling"} {
			r := readers[name]
			if r == nil || (name == "status" && what.end) {
				continue
			}
			show(b, what.name+"/"+name, truth, func(t *privateruntime.Record) time.Duration {
				at := t.StartedAt
				if what.end {
					at = t.FinishedAt
				}
				return r.at(t.ID, what.end).Sub(at)
			})
		}
		show(b, what.name+"/added", truth, func(t *privateruntime.Record) time.Duration {
			return readers["receiver"].at(t.ID, what.end).Sub(native.at(t.ID, what.end))
		})
	}
	show(b, "start/beyond-status", truth, func(t *privateruntime.Record) time.Duration {
		return readers["receiver"].at(t.ID, false).Sub(readers["status"].at(t.ID, false))
	})
}

// show reports the percentiles of something of every life as a line of its own.
func show(b *testing.B, name string, truth []privateruntime.Record, of func(*privateruntime.Record) time.Duration) {
	b.Helper()
	all := make([]time.Duration, len(truth))
	for i := range truth {
		all[i] = of(&truth[i])
	}
	slices.Sort(all)
	b.Run(name, func(b *testing.B) {
		b.ReportMetric(0, "ns/op") // it was measured before
		b.ReportMetric(quantile(all, 0.5), "p50-ms")
		b.ReportMetric(quantile(all, 0.99), "p99-ms")
		b.ReportMetric(quantile(all, 1), "max-ms")
	})
}

// quantile returns a quantile of sorted durations in milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	return float64(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Microseconds()) / 1000
}
