// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// TestRecalledMappingsFollowChanges has this very process change what it maps between samples of one sampler.
func TestRecalledMappingsFollowChanges(t *testing.T) {
	for _, noSpans := range []bool{false, true} {
		t.Run(pick2(noSpans, "by the text of maps", "by the spans"), func(t *testing.T) {
			s := samplerFor(t, testConfig())
			s.kernel.noSpans.Store(noSpans)
			dir, err := filepath.EvalSymlinks(t.TempDir())
			require.NoError(t, err)
			sampled := func() map[string]evidence.File {
				sample, err := s.Sample(t.Context(), evidence.Target{PID: os.Getpid()})
				require.NoError(t, err)
				require.Equal(t, evidence.StatusPresent, sample.Processes[0].Mappings.Status)
				files := map[string]evidence.File{}
				for _, f := range sample.Files {
					if strings.HasPrefix(f.Path, dir) {
						files[filepath.Base(f.Path)] = f
					}
				}
				assert.Len(t, unique(sample.Files), len(sample.Files), "no file twice")
				return files
			}
			at := func(name string) string { return filepath.Join(dir, name) }
			mapped := func(name string, access int) []byte {
				require.NoError(t, os.WriteFile(at(name), bytes.Repeat([]byte(name), 4096), 0o755))
				f, err := os.Open(at(name))
				require.NoError(t, err)
				defer func() { require.NoError(t, f.Close()) }()
				m, err := unix.Mmap(int(f.Fd()), 0, 4096, access, unix.MAP_PRIVATE)
				require.NoError(t, err)
				return m
			}
			require.Empty(t, sampled())
			require.Empty(t, sampled())
			first := mapped("first.so", unix.PROT_READ|unix.PROT_EXEC)
			files := sampled()
			require.Len(t, files, 1, "a new mapping is noticed")
			require.Equal(t, files, sampled(), "and the same the next time")

			jar := mapped("app.jar", unix.PROT_READ)
			assert.Len(t, sampled(), 2, "one that is not executable too")
			require.NoError(t, unix.Munmap(jar))
			assert.Len(t, sampled(), 1, "one that is gone too")

			data := mapped("data", unix.PROT_READ)
			assert.Len(t, sampled(), 1, "and that it is data")
			require.NoError(t, unix.Mprotect(data, unix.PROT_READ|unix.PROT_EXEC))
			assert.Len(t, sampled(), 2, "until it is made executable")
			require.NoError(t, unix.Munmap(data))

			before := sampled()["first.so"]
			content := bytes.Repeat([]byte("x"), 9000)
			require.NoError(t, os.WriteFile(at("first.so"), content, 0o755))
			now := sampled()["first.so"]
			assert.Equal(t, evidence.Present(int64(len(content))), now.Size, "a file that was written to is read again")
			assert.NotEqual(t, before.SHA256, now.SHA256)

			require.NoError(t, os.Rename(at("first.so"), at("second.so")))
			files = sampled()
			require.Contains(t, files, "second.so", "a file that was renamed has its new name")
			assert.Len(t, files, 1)
			assert.False(t, files["second.so"].Deleted)
			assert.Equal(t, now.SHA256, files["second.so"].SHA256)

			require.NoError(t, os.WriteFile(at("other"), content, 0o755))
			require.NoError(t, os.Rename(at("other"), at("second.so")))
			files = sampled()
			assert.True(t, files["second.so"].Deleted, "a file that was replaced is deleted")
			assert.Equal(t, now.Inode, files["second.so"].Inode)
			require.NoError(t, unix.Munmap(first))
			assert.Empty(t, sampled())
		})
	}
}

// TestSumsOfSpansAndTextAgree compares what the kernel says of the same process in two ways.
func TestSumsOfSpansAndTextAgree(t *testing.T) {
	c := child(t, "sleep", "1000")
	maps, err := os.Open(filepath.Join("/proc", strconv.Itoa(c.Process.Pid), "maps"))
	require.NoError(t, err)
	defer func() { _ = maps.Close() }()
	until(t, "its libraries", func() bool {
		text, err := os.ReadFile(maps.Name())
		require.NoError(t, err)
		return bytes.Contains(text, []byte("libc"))
	})
	sum, err := spansOf(int(maps.Fd()))
	if errors.Is(err, unix.ENOTTY) {
		t.Skip("needs Linux 6.11: PROCMAP_QUERY")
	}
	require.NoError(t, err)
	found, err := readMaps(maps, 1000)
	require.NoError(t, err)
	assert.Equal(t, found.spans, sum)
	assert.NotZero(t, sum)
}

func TestRecallIsBounded(t *testing.T) {
	r, err := newRecall()
	require.NoError(t, err)
	many := slices.Repeat([]mapping{{raw: "/usr/lib/" + strings.Repeat("x", 200) + ".so"}}, 1000)
	for pid := range 100 {
		r.put(processKey{pid, 1}, recalled{mapped: true, mappings: many})
		r.put(processKey{pid, 1}, recalled{mapped: true, mappings: many})
	}
	assert.LessOrEqual(t, r.known.cost, maxRecalledBytes)
	assert.Less(t, r.known.lru.Len(), 30)
	assert.True(t, r.get(processKey{99, 1}).mapped)
	assert.False(t, r.get(processKey{99, 2}).mapped, "another process of the same number")
	for r.known.lru.Len() > 0 {
		r.known.lru.RemoveOldest()
	}
	assert.Zero(t, r.known.cost)
}

func TestTableFollowsProcessBetweenCgroups(t *testing.T) {
	tab := newTable("/proc")
	at := func(hierarchy, path string) membership { return membership{cgroup: cgroup{hierarchy, path}} }
	members := func(m membership) (pids []int) {
		for _, g := range tab.below[m.cgroup] {
			for pid := range g.pids {
				pids = append(pids, pid)
			}
		}
		slices.Sort(pids)
		return pids
	}
	tab.join(1, "0::/pods/a\n")
	tab.join(2, "0::/pods/a/inner\n")
	tab.join(3, "0::/pods/ab\n")
	assert.Equal(t, []int{1, 2}, members(at("0:", "/pods/a")))
	tab.remove(2, "0::/pods/a/inner\n")
	tab.join(2, "3:pids:/pods/a\n0::/\n")
	assert.Equal(t, []int{1}, members(at("0:", "/pods/a")))
	assert.Equal(t, []int{2}, members(at("3:pids", "/pods/a")))
	tab.remove(1, "0::/pods/a\n")
	tab.remove(2, "3:pids:/pods/a\n0::/\n")
	tab.remove(3, "0::/pods/ab\n")
	assert.Empty(t, tab.below)
	assert.Empty(t, tab.groups)
}
