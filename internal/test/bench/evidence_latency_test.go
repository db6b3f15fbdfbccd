// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver"
)

const (
	turns     = 6                // with evidence, and as many without
	turnLives = 50               // containers of a turn that count
	sampled   = 1500             // ms that each lives, so that it is sampled while others start and stop
	resampled = 10 * time.Second // the smallest value that the configuration allows
	hostile   = "zastava.local/hostile:1"
)

// tricks are those of the attack suite (internal/evidence/procfs) that cost an observer something. They run at the same time.
var tricks = [][]string{
	{"mappings", "50000"},
	{"files", "1500"},
	{"processes", "40"},
	{"sparse"},
	{"absurd"},
	{"fifo"},
	{"device"},
	{"deleted"},
	{"changing"},
	{"fuse"},
}

// BenchmarkEvidenceLatency measures, on a real containerd under light churn and among hostile containers, the time from the
// runtime's own time of a start or an end until the receiver calls ConsumeLogs, with process evidence and without. Each turn starts a
// new receiver, and the turns alternate, so each turn with evidence begins without a cache and reads everything. of-off is the time
// with evidence divided by the time without.
func BenchmarkEvidenceLatency(b *testing.B) {
	if _, err := exec.LookPath("go"); err != nil {
		b.Skip("needs go")
	}
	for _, dirs := range containerds() {
		c := realruntime.Containerd(b, dirs...)
		b.Run(c.Version(), func(b *testing.B) { evidenceLatency(b, c) })
	}
}

func evidenceLatency(b *testing.B, c *privateruntime.Containerd) {
	driver := c.Driver()
	attack(b, c, driver)
	pod, err := driver.RunPod(b.Context(), privateruntime.PodSpec{Name: "latency"})
	require.NoError(b, err)
	defer func() { require.NoError(b, driver.RemovePod(context.Background(), pod)) }()

	taken := map[bool]map[bool][]time.Duration{false: {}, true: {}} // by evidence, then by end
	samples := 0
	for turn := range 2 * turns {
		on := turn%2 == 1
		r := newReader()
		stop := receiveEvidence(b, c, on, r, &samples)
		time.Sleep(2 * time.Second) // until the subscription is established, and samples have begun
		var ids []string
		for i := range turnLives {
			id, err := driver.Run(b.Context(), pod, privateruntime.ContainerSpec{
				Name: fmt.Sprintf("life-%d-%d", turn, i), Args: []string{"sleepms", strconv.Itoa(sampled)},
			})
			require.NoError(b, err)
			ids = append(ids, id)
			time.Sleep(between)
		}
		for _, id := range ids {
			life, err := driver.Wait(b.Context(), id)
			require.NoError(b, err)
			require.Eventually(b, func() bool { return !r.at(id, false).IsZero() && !r.at(id, true).IsZero() }, 30*time.Second, 10*time.Millisecond)
			taken[on][false] = append(taken[on][false], r.at(id, false).Sub(life.StartedAt))
			taken[on][true] = append(taken[on][true], r.at(id, true).Sub(life.FinishedAt))
			require.NoError(b, driver.Remove(b.Context(), id))
		}
		stop()
	}
	require.Greater(b, samples, turns*turnLives/2, "containers were sampled meanwhile")

	for _, end := range []bool{false, true} {
		off, on := taken[false][end], taken[true][end]
		slices.Sort(off)
		slices.Sort(on)
		b.Run(map[bool]string{false: "start", true: "stop"}[end], func(b *testing.B) {
			b.ReportMetric(0, "ns/op") // it was measured before
			for _, q := range []struct {
				name string
				of   float64
			}{{"p50", 0.5}, {"p99", 0.99}} {
				without, with := quantile(off, q.of), quantile(on, q.of)
				b.ReportMetric(without, "off-"+q.name+"-ms")
				b.ReportMetric(with, "on-"+q.name+"-ms")
				b.ReportMetric(with/without, q.name+"-of-off")
			}
		})
	}
	b.Run("samples", func(b *testing.B) {
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(samples), "records")
	})
}

// attack starts a container for each trick, and waits until all are prepared. They are removed before the process's threads are counted:
// a thread that hangs on a file system continues when that is removed.
func attack(b *testing.B, c *privateruntime.Containerd, driver *privateruntime.Driver) {
	b.Helper()
	dir := b.TempDir()
	program, archive := filepath.Join(dir, "hostile"), filepath.Join(dir, "hostile.tar")
	build := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-o", program, "../../evidence/procfs/testdata/hostile")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := build.CombinedOutput()
	require.NoError(b, err, "%s", output)
	require.NoError(b, privateruntime.BuildCustom(archive, privateruntime.ImageSpec{Name: hostile, Files: []privateruntime.ImageFile{
		{Path: "/hostile", Source: program}, {Path: "/dev/.keep", Content: []byte("x")}, {Path: "/mnt/.keep", Content: []byte("x")},
	}}))
	require.NoError(b, c.Import(b.Context(), archive, hostile))
	pod, err := driver.RunPod(b.Context(), privateruntime.PodSpec{Name: "hostile", Privileged: true})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, driver.RemovePod(context.Background(), pod)) })
	for i, trick := range tricks {
		if _, err := os.Stat("/dev/fuse"); trick[0] == "fuse" && err != nil {
			b.Log("skipped fuse: /dev/fuse does not exist")
			continue
		}
		id, err := driver.Run(b.Context(), pod, privateruntime.ContainerSpec{
			Name: "hostile", Attempt: uint32(i), Image: hostile, Command: append([]string{"/hostile"}, trick...), Privileged: trick[0] == "fuse",
		})
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, driver.Remove(context.Background(), id)) })
		pid, err := driver.PID(b.Context(), id)
		require.NoError(b, err)
		require.Eventually(b, func() bool {
			_, err := os.Stat(fmt.Sprintf("/proc/%d/root/ready", pid))
			return err == nil
		}, time.Minute, 20*time.Millisecond, "%v", trick)
	}
}

// receiveEvidence starts the receiver with or without evidence. It returns the function that ends it, which adds the number of records with
// evidence to samples.
func receiveEvidence(b *testing.B, c *privateruntime.Containerd, on bool, r *reader, samples *int) (stop func()) {
	b.Helper()
	counted := 0
	count := func() {
		r.mu.Lock()
		counted++
		r.mu.Unlock()
	}
	end := receiveWith(b, r, count, func(cfg *criobserverreceiver.Config) {
		cfg.Runtimes = []criobserverreceiver.RuntimeConfig{{Endpoint: c.Endpoint(), Stream: criobserverreceiver.StreamAuto}}
		cfg.Evidence.Enabled, cfg.Evidence.ResampleInterval = on, resampled
	})
	return func() {
		end()
		if on {
			*samples += counted
		}
	}
}
