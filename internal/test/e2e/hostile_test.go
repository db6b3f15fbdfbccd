//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/hostile"
	"github.com/zastava-otel/zastava/internal/test/process"
)

// The bounds that a hostile container must not push the collector over.
const (
	maxCollectorMiB = 150
	maxSamplerMiB   = 200
	bombBytes       = 1 << 30 // what a bomb unpacks to
)

// samplersOf returns the processes that a collector has started as samplers, and how many of its children are zombies.
func samplersOf(tb testing.TB, collector int) (pids []int, zombies int) {
	tb.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(tb, err)
	for _, entry := range entries {
		stat, err := os.ReadFile(entry)
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(after)
		if len(fields) < 2 || fields[1] != strconv.Itoa(collector) {
			continue
		}
		if fields[0] == "Z" {
			zombies++
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(entry)))
		require.NoError(tb, err)
		pids = append(pids, pid)
	}
	return pids, zombies
}

// bomb imports an image whose program unpacks to a GiB in a careless reader, and that still runs.
func bomb(t *testing.T, c *privateruntime.Containerd, name string, compression hostile.Compression) (image string) {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	require.NoError(t, err)
	program, err := os.ReadFile(busybox)
	require.NoError(t, err)
	content, err := hostile.ELFBomb(program, bombBytes, compression)
	require.NoError(t, err)
	image = "zastava.local/" + name + ":1"
	archive := filepath.Join(t.TempDir(), "image.tar")
	require.NoError(t, privateruntime.BuildCustom(archive, privateruntime.ImageSpec{
		Name: image, Entrypoint: []string{"/busybox"}, Files: []privateruntime.ImageFile{{Path: "/busybox", Content: content}},
	}))
	require.NoError(t, c.Import(t.Context(), archive, image))
	return image
}

// kindsOf returns the kinds of events that the backend has of a container.
func (s *stack) kindsOf(id string) map[backendapi.Kind]int {
	kinds := map[backendapi.Kind]int{}
	for _, e := range s.events() {
		if strings.HasSuffix(e.Workload.ContainerID, id) && e.Revision == 0 {
			kinds[e.Kind]++
		}
	}
	return kinds
}

// TestProgramsThatUnpackToAGiBLeaveTheCollectorAlive runs the attack on the sampler's reader of ELF files.
func TestProgramsThatUnpackToAGiBLeaveTheCollectorAlive(t *testing.T) {
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("needs busybox")
	}
	c, d, pod := driverOf(t)
	s := newStack(t, c.Endpoint(), "auto", "exporters::zastavabackend::callgraph_id: e2e")
	s.observe()
	s.observing()
	var bombs []string
	for name, compression := range map[string]hostile.Compression{"bomb-zlib": hostile.Zlib, "bomb-zstd": hostile.Zstd} {
		id, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: name, Image: bomb(t, c, name, compression), Args: []string{"sleep", "3600"}})
		require.NoError(t, err)
		bombs = append(bombs, id)
	}
	s.await("the starts of the bombs", func() bool {
		return s.kindsOf(bombs[0])[backendapi.KindStart] == 1 && s.kindsOf(bombs[1])[backendapi.KindStart] == 1
	})
	honest, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "honest", Args: []string{"sleep", "3600"}})
	require.NoError(t, err)
	s.await("the facts of an honest container beside them", func() bool {
		return strings.Contains(s.get(s.base+"/api/v1/containers/"+honest), `"sha256"`)
	})
	for _, id := range bombs {
		s.await("the mark of a bomb", func() bool {
			return strings.Contains(s.get(s.base+"/api/v1/containers/"+id), `"hostile"`)
		})
	}
	s.requireSmall()
	for _, id := range bombs {
		require.NoError(t, d.Stop(t.Context(), id, 0))
	}
	s.await("the stops of the bombs", func() bool {
		return s.kindsOf(bombs[0])[backendapi.KindStop] == 1 && s.kindsOf(bombs[1])[backendapi.KindStop] == 1
	})
}

// requireSmall checks the memory of the collector and of its sampler, and that the sampler is one process.
func (s *stack) requireSmall() {
	s.t.Helper()
	collector := process.Peak(s.t, s.collector.PID())
	assert.Less(s.t, collector, float64(maxCollectorMiB))
	samplers, zombies := samplersOf(s.t, s.collector.PID())
	assert.Zero(s.t, zombies)
	assert.LessOrEqual(s.t, len(samplers), 1)
	for _, pid := range samplers {
		sampler := process.Peak(s.t, pid)
		assert.Less(s.t, sampler, float64(maxSamplerMiB))
		s.t.Logf("peak memory: collector %.1f MiB, sampler %.1f MiB", collector, sampler)
	}
}

// startLatency returns the longest time from the start of a container to its event at the backend, of some starts one after the other.
func (s *stack) startLatency(d *privateruntime.Driver, pod *privateruntime.Pod, name string) (longest time.Duration) {
	s.t.Helper()
	for i := range 12 {
		began := time.Now()
		id, err := d.Run(s.t.Context(), pod, privateruntime.ContainerSpec{Name: fmt.Sprintf("%s-%d", name, i), Args: []string{"sleepms", "100", "0"}})
		require.NoError(s.t, err)
		s.await("a start", func() bool { return s.kindsOf(id)[backendapi.KindStart] == 1 })
		longest = max(longest, time.Since(began))
	}
	return longest
}

// databaseImage imports an image with a program and a hostile package database.
func databaseImage(t *testing.T, c *privateruntime.Containerd, name string, files hostile.PackageFiles) (image string) {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	require.NoError(t, err)
	spec := privateruntime.ImageSpec{Name: "zastava.local/" + name + ":1", Entrypoint: []string{"/busybox"}}
	spec.Files = []privateruntime.ImageFile{{Path: "/busybox", Source: busybox}}
	for path, content := range files {
		spec.Files = append(spec.Files, privateruntime.ImageFile{Path: path, Content: content})
	}
	archive := filepath.Join(t.TempDir(), "image.tar")
	require.NoError(t, privateruntime.BuildCustom(archive, spec))
	require.NoError(t, c.Import(t.Context(), archive, spec.Name))
	return spec.Name
}

// TestPackageDatabasesThatAreExpensiveDelayNoEvent has containers whose databases took minutes on the sampling threads.
func TestPackageDatabasesThatAreExpensiveDelayNoEvent(t *testing.T) {
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("needs busybox")
	}
	c, d, pod := driverOf(t)
	s := newStack(t, c.Endpoint(), "auto", "exporters::zastavabackend::callgraph_id: e2e", "receivers::criobserver::evidence::package_owners: true")
	s.observe()
	s.observing()
	undisturbed := s.startLatency(d, pod, "before")
	var ids []string
	for name, files := range map[string]hostile.PackageFiles{
		"dpkg": hostile.DpkgStanzas([]string{"/busybox"}), "status": hostile.DpkgStatus(16 << 20), "rpm": hostile.RPMFiles("/usr/lib/y/", 15<<20),
	} {
		id, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: name, Image: databaseImage(t, c, name, files), Args: []string{"sleep", "3600"}})
		require.NoError(t, err)
		ids = append(ids, id)
	}
	disturbed := s.startLatency(d, pod, "beside")
	t.Logf("longest start: %v undisturbed, %v beside hostile databases", undisturbed, disturbed)
	assert.Less(t, disturbed, 10*undisturbed+5*time.Second)
	for _, id := range ids {
		s.await("the sample of a hostile container", func() bool {
			return strings.Contains(s.get(s.base+"/api/v1/containers/"+id), `"sha256"`)
		})
	}
	s.requireSmall()
	log, err := os.ReadFile(filepath.Join(s.dir, "collector.log"))
	require.NoError(t, err)
	assert.NotContains(t, string(log), "ended unexpectedly")
}

// TestSamplerKilledAtRandomLosesNoEvent kills the sampler process again and again while containers live and end.
func TestSamplerKilledAtRandomLosesNoEvent(t *testing.T) {
	kills := 8
	if os.Getenv("ZASTAVA_E2E") == "long" {
		kills = 100
	}
	c, d, pod := driverOf(t)
	s := newStack(t, c.Endpoint(), "auto", "exporters::zastavabackend::callgraph_id: e2e")
	s.observe()
	s.observing()
	collector := s.collector.PID()
	killed := 0
	var lives []string
	for deadline := time.Now().Add(5 * time.Minute); killed < kills && time.Now().Before(deadline); {
		name := fmt.Sprintf("life-%d", len(lives))
		id, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: name, Args: []string{"sleepms", "1500", "0"}})
		require.NoError(t, err)
		lives = append(lives, id)
		for wait := time.Now().Add(1300 * time.Millisecond); time.Now().Before(wait); {
			samplers, _ := samplersOf(t, collector)
			for _, pid := range samplers {
				if unix.Kill(pid, unix.SIGKILL) == nil {
					killed++
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	require.GreaterOrEqual(t, killed, kills, "the sampler was started again after each kill")
	for _, id := range lives {
		s.await("start and stop of each life", func() bool {
			kinds := s.kindsOf(id)
			return kinds[backendapi.KindStart] == 1 && kinds[backendapi.KindStop] == 1
		})
		assert.Equal(t, 1, s.kindsOf(id)[backendapi.KindCreate])
	}
	fresh, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "fresh", Args: []string{"sleep", "3600"}})
	require.NoError(t, err)
	s.await("the facts of a container that began after", func() bool {
		return strings.Contains(s.get(s.base+"/api/v1/containers/"+fresh), `"sha256"`)
	})
	_, zombies := samplersOf(t, collector)
	assert.Zero(t, zombies)
	assert.Equal(t, collector, s.collector.PID())
	assert.Less(t, process.Peak(t, collector), float64(maxCollectorMiB))
}
