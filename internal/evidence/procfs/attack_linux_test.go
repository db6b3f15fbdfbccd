// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/evidence"
)

func TestHostileContainerIsSampledWithoutHarm(t *testing.T) {
	t.Parallel()
	h := hostileRuntime(t, false)
	host := plant(t)
	gone := evidence.Unknown[string](evidence.ReasonDeletedFile)

	tests := []struct {
		name   string
		trick  []string
		limits func(*Limits)
		check  func(t *testing.T, sample evidence.Sample, byLinks bool) // byLinks: with map_files
	}{
		{name: "link to the host", trick: []string{"symlink", host.path}, check: func(t *testing.T, sample evidence.Sample, byLinks bool) {
			f := fileNamed(t, sample, "/lib/evil/libevil.so")
			assert.True(t, f.Deleted)
			assert.Equal(t, pick2(byLinks, patternSum(8192), gone), f.SHA256)
		}},
		{name: "directory linked to the host", trick: []string{"dirlink", filepath.Dir(host.path), filepath.Base(host.path)}, check: func(t *testing.T, sample evidence.Sample, _ bool) {
			assert.Equal(t, patternSum(8192), fileNamed(t, sample, "/lib/good/planted.so").SHA256, "the kernel knows where it went")
		}},
		{name: "link through proc", trick: []string{"magiclink", host.path}, check: func(t *testing.T, sample evidence.Sample, byLinks bool) {
			assert.Equal(t, pick2(byLinks, patternSum(8192), gone), fileNamed(t, sample, "/lib/evil/libevil.so").SHA256)
		}},
		{name: "fifo", trick: []string{"fifo"}, check: func(t *testing.T, sample evidence.Sample, byLinks bool) {
			assert.Equal(t, evidence.Unknown[string](evidence.ReasonNotRegular), fileNamed(t, sample, "/pipe.jar").SHA256)
			assert.Equal(t, pick2(byLinks, patternSum(8192), gone), fileNamed(t, sample, "/lib/evil/libevil.so").SHA256)
		}},
		{name: "device", trick: []string{"device"}, check: func(t *testing.T, sample evidence.Sample, _ bool) {
			assert.Equal(t, evidence.Unknown[string](evidence.ReasonNotRegular), fileNamed(t, sample, "/zero.jar").SHA256)
			assert.Equal(t, evidence.Unknown[string](evidence.ReasonNotRegular), fileNamed(t, sample, "/dev/zero").SHA256)
		}},
		{name: "terabyte", trick: []string{"sparse"}, check: func(t *testing.T, sample evidence.Sample, _ bool) {
			for _, path := range []string{"/lib/evil/libbig.so", "/big.jar"} {
				f := fileNamed(t, sample, path)
				assert.Equal(t, evidence.Present[int64](1<<40), f.Size)
				assert.Equal(t, evidence.Unknown[string](evidence.ReasonTooLarge), f.SHA256)
			}
		}},
		{name: "absurd headers", trick: []string{"absurd"}, check: func(t *testing.T, sample evidence.Sample, _ bool) {
			for i := range 6 {
				f := fileNamed(t, sample, fmt.Sprintf("/lib/evil/lib%d.so", i))
				assert.Equal(t, evidence.Unknown[string](evidence.ReasonTooLarge), f.SHA256)
				assert.NotEqual(t, evidence.StatusPresent, f.BuildID.Status)
			}
		}},
		{name: "50,000 mappings", trick: []string{"mappings", "50000"}, check: func(t *testing.T, sample evidence.Sample, _ bool) {
			assert.Equal(t, patternSum(8192), fileNamed(t, sample, "/lib/evil/libmany.so").SHA256)
			assert.False(t, sample.Coverage.MappingsTruncated)
			assert.Len(t, sample.Files, 2)
		}},
		{
			name: "more mappings than are read", trick: []string{"mappings", "50000"},
			limits: func(l *Limits) { l.Mappings = 10_000 },
			check: func(t *testing.T, sample evidence.Sample, _ bool) {
				assert.True(t, sample.Coverage.MappingsTruncated)
			},
		},
		{name: "more files than are kept", trick: []string{"files", "1500"}, check: func(t *testing.T, sample evidence.Sample, _ bool) {
			assert.Len(t, sample.Files, 1024)
			assert.Equal(t, evidence.Count{Seen: 1501, Read: 1024, Skipped: map[evidence.Reason]int{evidence.ReasonBudget: 477}}, sample.Coverage.Files)
		}},
		{
			name: "more bytes than are read", trick: []string{"files", "100"},
			limits: func(l *Limits) { l.Bytes = 3 << 20 },
			check: func(t *testing.T, sample evidence.Sample, _ bool) {
				assert.LessOrEqual(t, sample.Coverage.BytesRead, int64(3<<20))
				assert.Equal(t, 101, sample.Coverage.Files.Seen)
			},
		},
		{
			name: "more bytes than a minute has", trick: []string{"files", "100"},
			limits: func(l *Limits) { l.BytesPerMinute = 100 << 10 },
			check: func(t *testing.T, sample evidence.Sample, _ bool) {
				assert.LessOrEqual(t, sample.Coverage.BytesRead, int64(101<<10))
				assert.Positive(t, sample.Coverage.Files.Skipped[evidence.ReasonBudget])
			},
		},
		{
			name: "more processes than are read", trick: []string{"processes", "40"},
			limits: func(l *Limits) { l.Processes = 10 },
			check: func(t *testing.T, sample evidence.Sample, _ bool) {
				assert.Equal(t, evidence.Count{Seen: 41, Read: 10, Skipped: map[evidence.Reason]int{evidence.ReasonBudget: 31}}, sample.Coverage.Processes)
				assert.Len(t, sample.Processes, 10)
			},
		},
		{name: "deleted", trick: []string{"deleted"}, check: func(t *testing.T, sample evidence.Sample, byLinks bool) {
			f := fileNamed(t, sample, "/lib/evil/libgone.so")
			assert.True(t, f.Deleted)
			assert.Equal(t, pick2(byLinks, patternSum(8192), gone), f.SHA256)
		}},
		{name: "replaced", trick: []string{"replaced"}, check: func(t *testing.T, sample evidence.Sample, byLinks bool) {
			f := fileNamed(t, sample, "/lib/evil/libnew.so")
			assert.True(t, f.Deleted)
			assert.Equal(t, pick2(byLinks, patternSum(8192), gone), f.SHA256, "never that of the new one")
		}},
		{name: "misleading names", trick: []string{"names"}, check: func(t *testing.T, sample evidence.Sample, _ bool) {
			for path, size := range map[string]int{"/lib/evil/libalive.so (deleted)": 8192, "/lib/evil/new\nline.so": 8193, `/lib/evil/back\012slash.so`: 8194} {
				f := fileNamed(t, sample, path)
				assert.False(t, f.Deleted, path)
				assert.Equal(t, patternSum(size), f.SHA256, path)
			}
		}},
	}

	// All are started before the first is sampled, some at a time: most of the time is needed to start them.
	lives, failures := make([]live, len(tests)), make([]error, len(tests))
	var starting sync.WaitGroup
	room := make(chan struct{}, 4)
	for i := range tests {
		starting.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			lives[i], failures[i] = h.start(t.Context(), tests[i].trick...)
		})
	}
	starting.Wait()
	require.NoError(t, errors.Join(failures...))
	for i, test := range tests {
		l := lives[i]
		t.Run(test.name, func(t *testing.T) {
			l.setUp(t, test.trick...)
			for _, byLinks := range []bool{true, false} {
				config := testConfig()
				if test.limits != nil {
					test.limits(&config.Limits)
				}
				s := samplerFor(t, config)
				s.kernel.noMapFiles.Store(!byLinks)
				sample, err := s.Sample(t.Context(), l.target())
				require.NoError(t, err)
				test.check(t, sample, byLinks)
				assert.Len(t, unique(sample.Files), len(sample.Files), "no file twice")
				for _, f := range sample.Files {
					assert.NotEqual(t, host.sum, f.SHA256.Value)
					assert.NotContains(t, f.Path, filepath.Dir(host.path))
				}
				assert.Zero(t, s.Stats().Stuck)
			}
			assert.False(t, host.opened(t), "the planted file was opened")
		})
	}

	t.Run("a directory that is a link to the host every other moment", func(t *testing.T) {
		l := h.play(t, "swap", filepath.Dir(host.path), filepath.Base(host.path))
		s := samplerFor(t, testConfig())
		for range 100 {
			sample, err := s.Sample(t.Context(), l.target())
			require.NoError(t, err)
			for _, f := range sample.Files {
				assert.NotEqual(t, host.sum, f.SHA256.Value)
			}
		}
		assert.False(t, host.opened(t), "the planted file was opened")
		require.NoError(t, h.d.Remove(t.Context(), l.id))
	})

	t.Run("changing while read", func(t *testing.T) {
		l := h.play(t, "changing")
		s := samplerFor(t, testConfig())
		until(t, "the file to be caught changing", func() bool { // its writer may be kept from writing, for a while
			sample, err := s.Sample(t.Context(), l.target())
			return err == nil && fileNamed(t, sample, "/hot.jar").SHA256 == gone
		})
		require.NoError(t, h.d.Remove(t.Context(), l.id))
	})

	t.Run("the trap works", func(t *testing.T) {
		l := h.play(t, "symlink", host.path)
		assert.False(t, host.opened(t))
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/lib/evil/libevil.so", l.pid)) // as an observer that trusts paths would
		require.NoError(t, err)
		assert.Equal(t, "a secret of the host", string(content))
		assert.True(t, host.opened(t))
	})
}

func pick2[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

func unique(files []evidence.File) map[string]bool {
	keys := map[string]bool{}
	for _, f := range files {
		keys[fmt.Sprint(f.Path, f.Device, f.Inode)] = true
	}
	return keys
}

// TestMemoryIsBoundedForHostileProcess samples the tricks that demand memory, played in a chroot. It runs alone, because memory is counted for
// all of this process.
func TestMemoryIsBoundedForHostileProcess(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	need(t, "go")
	program := built(t, t.TempDir(), "hostile")
	for _, trick := range [][]string{{"mappings", "50000"}, {"files", "1500"}, {"absurd"}, {"sparse"}} {
		t.Run(trick[0], func(t *testing.T) {
			root := t.TempDir()
			require.NoError(t, os.Link(program, filepath.Join(root, "hostile")))
			c := &exec.Cmd{Path: "/hostile", Args: append([]string{"/hostile"}, trick...), SysProcAttr: &syscall.SysProcAttr{Chroot: root}}
			require.NoError(t, c.Start())
			t.Cleanup(func() {
				_ = c.Process.Kill()
				_ = c.Wait()
			})
			until(t, trick[0]+" to be set up", func() bool {
				_, err := os.Stat(filepath.Join(root, "ready"))
				return err == nil
			})
			s := samplerFor(t, testConfig())
			for range 2 {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				sample, err := s.Sample(t.Context(), evidence.Target{PID: c.Process.Pid})
				runtime.ReadMemStats(&after)
				require.NoError(t, err)
				assert.Greater(t, len(sample.Files), 1)
				assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20))
			}
		})
	}
}

func TestContainerIsSuspendedWhenItsFileSystemHangs(t *testing.T) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("needs /dev/fuse")
	}
	t.Parallel()
	h := hostileRuntime(t, true)
	l := h.play(t, "fuse")
	other := h.play(t, "sleep")
	config := testConfig()
	config.Limits.Step = 2 * time.Second // a busy machine holds an honest thread up for some tenths of a second
	s, err := NewSampler(config)
	require.NoError(t, err)

	sample, err := s.Sample(t.Context(), l.target())
	require.NoError(t, err)
	f := fileNamed(t, sample, "/mnt/hang.jar")
	assert.Equal(t, evidence.Unknown[string](evidence.ReasonTimeout), f.SHA256)
	assert.Equal(t, evidence.Unknown[int64](evidence.ReasonTimeout), f.Size)
	assert.Equal(t, evidence.StatusPresent, fileNamed(t, sample, "/hostile").SHA256.Status, "what was read before it hung")
	assert.Equal(t, 1, s.Stats().Stuck)
	assert.Equal(t, 1, s.Stats().Suspended)

	sample, err = s.Sample(t.Context(), l.target())
	require.NoError(t, err)
	assert.Equal(t, []evidence.Process{unknownProcess(l.pid, true, evidence.ReasonTimeout)}, sample.Processes, "it is left alone")
	assert.Equal(t, 1, s.Stats().Stuck)

	sample, err = s.Sample(t.Context(), other.target())
	require.NoError(t, err)
	assert.Equal(t, 1, sample.Coverage.Files.Read, "others are not")
	require.ErrorContains(t, s.Close(), "1 threads")
	_, err = s.Sample(t.Context(), other.target())
	require.ErrorIs(t, err, ErrClosed)

	require.NoError(t, h.d.Remove(t.Context(), l.id))
	until(t, "the thread to come back", func() bool { return s.Stats().Stuck == 0 })
	assert.Equal(t, 1, s.Stats().Suspended, "it stays aside for a while")
	require.NoError(t, s.Close())
}

func TestNothingIsSampledWhenTooManyThreadsHang(t *testing.T) {
	config := testConfig()
	config.Limits.Stuck = 2
	s := samplerFor(t, config)
	s.hung.abandoned("a")
	assert.True(t, s.hung.allows("b"))
	s.hung.abandoned("b")
	assert.False(t, s.hung.allows("c"))
	s.hung.returned("a")
	assert.True(t, s.hung.allows("c"))
	assert.False(t, s.hung.allows("a"))
	s.hung.containers["a"] = suspension{until: time.Now().Add(-time.Second)}
	s.hung.containers["b"] = suspension{until: time.Now().Add(-time.Second), threads: 1}
	assert.True(t, s.hung.allows("a"))
	assert.False(t, s.hung.allows("b"), "it hangs still")
	s.hung.returned("b")
}
