// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// testConfig has no limit of CPU time, so that the tests wait for the containers alone.
func testConfig() Config {
	c := DefaultConfig()
	c.MaxCPUFraction = 1
	c.Limits.Step, c.Limits.Time = time.Minute, 2*time.Minute // a busy machine has little to give to a thread of low priority
	return c
}

func samplerFor(t *testing.T, c Config) *Sampler {
	t.Helper()
	s, err := NewSampler(c)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

// need skips a test if a program is not installed.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s", program)
		}
	}
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	said, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, said)
	return string(said)
}

// live is a running container of a test.
type live struct {
	id  string
	pid int
}

func (l live) target() evidence.Target { return evidence.Target{ContainerID: l.id, PID: l.pid} }

func run(t *testing.T, d *privateruntime.Driver, pod *privateruntime.Pod, spec privateruntime.ContainerSpec) live {
	t.Helper()
	id, err := d.Run(t.Context(), pod, spec)
	require.NoError(t, err)
	pid, err := d.PID(t.Context(), id)
	require.NoError(t, err)
	return live{id, pid}
}

// mapped waits until a process of the container has something mapped whose path contains a text.
func (l live) mapped(t *testing.T, text string) {
	t.Helper()
	until(t, "a mapping of "+text, func() bool {
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", l.pid))
		return err == nil && strings.Contains(string(maps), text)
	})
}

// steady takes a sample of a container that may be starting still: one during which its main process mapped nothing new.
func (l live) steady(t *testing.T, s *Sampler) (sample evidence.Sample) {
	t.Helper()
	until(t, "nothing new to be mapped", func() bool {
		before := codeOf(t, l.pid)
		var err error
		sample, err = s.Sample(t.Context(), l.target())
		require.NoError(t, err)
		return slices.Equal(before, codeOf(t, l.pid))
	})
	return sample
}

// opened waits until the container's main process has a file open whose path ends so.
func (l live) opened(t *testing.T, suffix string) {
	t.Helper()
	until(t, suffix+" to be open", func() bool {
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", l.pid))
		return err == nil && slices.ContainsFunc(links, func(link string) bool {
			target, err := os.Readlink(link)
			return err == nil && strings.HasSuffix(target, suffix)
		})
	})
}

func until(t *testing.T, what string, reached func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !reached() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.Fail(t, "waited for "+what)
		}
	}
}

// built compiles a program of testdata, statically, with the options a release would have.
func built(t *testing.T, dir, name string) string {
	t.Helper()
	program := filepath.Join(dir, name)
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, "./testdata/"+name)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	said, err := build.CombinedOutput()
	require.NoError(t, err, "%s", said)
	return program
}

func program(t *testing.T, source, at string) []privateruntime.ImageFile {
	t.Helper()
	files, err := privateruntime.Program(t.Context(), source, at)
	require.NoError(t, err)
	return files
}

// imported builds images and loads them.
func imported(t *testing.T, c *privateruntime.Containerd, specs ...privateruntime.ImageSpec) {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "images.tar")
	require.NoError(t, privateruntime.BuildCustom(archive, specs...))
	names := make([]string, len(specs))
	for i, spec := range specs {
		names[i] = spec.Name
	}
	require.NoError(t, c.Import(t.Context(), archive, names...))
}

// grown waits until a new file can be remembered, as one that changed within the resolution of its times may change again, and until it is
// older than a container that is started then, as the files of an image are.
func grown(t *testing.T, made time.Time) {
	t.Helper()
	until(t, "the files to be old", func() bool { return time.Since(made) > settled+time.Second })
}

// kernelIdentifiesOverlays reports whether the kernel returns the identity of files below an overlay (Linux 6.5).
func kernelIdentifiesOverlays(t *testing.T, pid int) bool {
	t.Helper()
	p, err := openProcess("/proc", pid, newScratch())
	require.NoError(t, err)
	defer p.close()
	found, err := p.locateLink("exe")
	require.NoError(t, err)
	defer found.close()
	_, ok := found.sharedKey(time.Now().Add(time.Hour))
	return ok
}
