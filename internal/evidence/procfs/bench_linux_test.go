// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// host is what stands in for containers where starting 200 of them would take longer than what is measured: processes with an overlay
// of their image for a root and a cgroup that bears their id, as a runtime makes them, and without its shims.
type host struct {
	dir, cgroups string
	targets      []evidence.Target
}

const (
	hostImages     = 10
	hostContainers = 200
	// hostImageCode is how much code an image has: Node's program is 90 to 120 MB, a JVM maps 20 MB of its own and its jars, Go's servers
	// are 20 to 100 MB.
	hostImageCode = 48 << 20
)

func containersOfAHost(b *testing.B) *host {
	b.Helper()
	if os.Getuid() != 0 {
		b.Skip("needs root")
	}
	h := &host{dir: b.TempDir(), cgroups: "/sys/fs/cgroup"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		h.cgroups = "/sys/fs/cgroup/pids"
	}
	sleep, err := exec.LookPath("sleep")
	require.NoError(b, err)
	files, err := privateruntime.Program(b.Context(), sleep, "/bin/sleep")
	require.NoError(b, err)
	var preload []string
	for _, name := range []string{"libcrypto.so.3", "libssl.so.3", "libstdc++.so.6", "libm.so.6", "libz.so.1", "libgcc_s.so.1"} {
		found, err := filepath.Glob("/usr/lib/*-linux-gnu/" + name)
		require.NoError(b, err)
		if len(found) > 0 {
			files = append(files, privateruntime.ImageFile{Path: "/usr/lib/" + name, Source: found[0]})
			preload = append(preload, "/usr/lib/"+name)
		}
	}
	for i := range hostImages {
		for _, f := range files {
			at := filepath.Join(h.dir, "image"+strconv.Itoa(i), f.Path)
			require.NoError(b, os.MkdirAll(filepath.Dir(at), 0o755))
			content, err := os.ReadFile(f.Source)
			require.NoError(b, err)
			if strings.Contains(at, "libcrypto") { // what comes after its sections is no part of it, and is hashed all the same
				rest := make([]byte, hostImageCode-len(content))
				_, err = rand.Read(rest)
				require.NoError(b, err)
				content = append(content, rest...)
			}
			require.NoError(b, os.WriteFile(at, content, 0o755))
			cold(b, at)
		}
	}
	unpacked := time.Now()
	for time.Since(unpacked) < settled+2*time.Second { // what is younger is not remembered
		<-time.After(100 * time.Millisecond)
	}
	for i := range hostContainers {
		id := fmt.Sprintf("zst%061d", i)
		at := filepath.Join(h.dir, id)
		for _, dir := range []string{"upper", "work", "root"} {
			require.NoError(b, os.MkdirAll(filepath.Join(at, dir), 0o755))
		}
		root := filepath.Join(at, "root")
		require.NoError(b, unix.Mount("overlay", root, "overlay", 0,
			fmt.Sprintf("lowerdir=%s/image%d,upperdir=%s/upper,workdir=%s/work", h.dir, i%hostImages, at, at)))
		b.Cleanup(func() { require.NoError(b, unix.Unmount(root, 0)) })
		c := exec.Command("/bin/sleep", "100000")
		c.Env = []string{"LD_PRELOAD=" + strings.Join(preload, ":")}
		c.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		require.NoError(b, c.Start())
		cgroup := filepath.Join(h.cgroups, "zastava-bench-"+id)
		require.NoError(b, os.Mkdir(cgroup, 0o755))
		require.NoError(b, os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte(strconv.Itoa(c.Process.Pid)), 0o600))
		b.Cleanup(func() {
			_ = c.Process.Kill()
			_ = c.Wait()
			require.NoError(b, os.Remove(cgroup))
		})
		h.targets = append(h.targets, evidence.Target{ContainerID: id, PID: c.Process.Pid})
	}
	for _, target := range h.targets {
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
			maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", target.PID))
			require.NoError(b, err)
			if strings.Contains(string(maps), "libc.so") && strings.Contains(string(maps), preload[0]) {
				break
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	return h
}

// cold writes a file out and lets the page cache forget it, as on a node that was just started.
func cold(b *testing.B, path string) {
	b.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(b, err)
	defer func() { _ = f.Close() }()
	require.NoError(b, f.Sync())
	require.NoError(b, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
}

// BenchmarkHostOfContainers samples 200 containers of 10 images twice: what a start of the collector costs, and what each round after.
// One core may be used in full, so that it is the work that is measured and not the waiting.
func BenchmarkHostOfContainers(b *testing.B) {
	h := containersOfAHost(b)
	for b.Loop() {
		s, err := NewSampler(testConfig())
		require.NoError(b, err)
		round := func(name string) (cpu time.Duration) {
			before, began := s.Stats(), time.Now()
			all := processCPU(b)
			files, processes := 0, 0
			for _, target := range h.targets {
				sample, err := s.Sample(b.Context(), target)
				require.NoError(b, err)
				require.Equal(b, sample.Coverage.Files.Seen, sample.Coverage.Files.Read)
				files += sample.Coverage.Files.Read
				processes += sample.Coverage.Processes.Read
			}
			require.Equal(b, hostContainers, processes)
			after := s.Stats()
			cpu = processCPU(b) - all
			b.ReportMetric(time.Since(began).Seconds()*1000, name+"-wall-ms")
			b.ReportMetric(cpu.Seconds()*1000, name+"-cpu-ms")
			b.ReportMetric((after.CPU-before.CPU).Seconds()*1000, name+"-thread-cpu-ms")
			b.ReportMetric(float64(after.BytesRead-before.BytesRead)/(1<<20), name+"-read-MiB")
			b.ReportMetric(float64(after.FilesHashed-before.FilesHashed), name+"-hashed")
			b.ReportMetric(float64(files), name+"-files")
			return cpu
		}
		first := round("first")
		second := round("second")
		b.ReportMetric(100*second.Seconds()/first.Seconds(), "second-cpu-%")
		require.NoError(b, s.Close())
	}
}

func processCPU(b *testing.B) time.Duration {
	b.Helper()
	var t unix.Timespec
	require.NoError(b, unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t))
	return time.Duration(t.Nano())
}

// BenchmarkSHA256 hashes a file as samples do, and with sha256sum, in turns, from the page cache.
func BenchmarkSHA256(b *testing.B) {
	if _, err := exec.LookPath("sha256sum"); err != nil {
		b.Skip("needs sha256sum")
	}
	const size = 128 << 20
	path := filepath.Join(b.TempDir(), "file")
	content := make([]byte, size)
	_, err := rand.Read(content)
	require.NoError(b, err)
	require.NoError(b, os.WriteFile(path, content, 0o600))
	var ours, theirs time.Duration
	n := 0
	for b.Loop() {
		n++
		begin := time.Now()
		require.Equal(b, evidence.StatusPresent, hashOf(b, path).Status)
		ours += time.Since(begin)
		begin = time.Now()
		require.NoError(b, exec.CommandContext(b.Context(), "sha256sum", path).Run())
		theirs += time.Since(begin)
	}
	megabytes := float64(n) * size / 1e6
	b.ReportMetric(megabytes/ours.Seconds(), "MB/s")
	b.ReportMetric(megabytes/theirs.Seconds(), "sha256sum-MB/s")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "of-sha256sum")
	b.ReportMetric(0, "ns/op")
}

func hashOf(b *testing.B, path string) (sum evidence.Datum[string]) {
	b.Helper()
	config := testConfig()
	s, err := NewSampler(config)
	require.NoError(b, err)
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	require.NoError(b, err)
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	require.NoError(b, unix.Fstat(fd, &st))
	l := newInspection(context.Background(), s, evidence.Target{})
	l.scratch = newScratch()
	l.cpu = threadCPU()
	return l.hash(fd, st)
}
