// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// These tests check each guard alone: where several guard against one attack, the attacks do not show that one is missing.

func locatedAt(t *testing.T, path string) located {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	require.NoError(t, err)
	l, err := locate(fd)
	require.NoError(t, err)
	t.Cleanup(l.close)
	return l
}

func fileOf(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestProcessIsChangedWhenItLeavesTheCgroup(t *testing.T) {
	p, err := openProcess("/proc", child(t, "sleep", "1000").Process.Pid, newScratch())
	require.NoError(t, err)
	defer p.close()
	container := membership{cgroup: cgroup{"0:", "/pods/of-the-container"}}
	require.True(t, p.unchanged(container), "its cgroup is what it was")
	p.cgroup = "0::/pods/of-the-container\n"
	assert.False(t, p.unchanged(container), "it was moved since")
}

func TestProcessIsGoneWhenItEndsWhileItIsRead(t *testing.T) {
	c := child(t, "sleep", "1000")
	l := newInspection(t.Context(), samplerFor(t, testConfig()), evidence.Target{PID: c.Process.Pid})
	l.scratch = newScratch()
	p, err := openProcess("/proc", c.Process.Pid, l.scratch)
	require.NoError(t, err)
	defer p.close()
	require.NoError(t, c.Process.Kill())
	_ = c.Wait()
	l.readProcess(p, true, nil)
	assert.Equal(t, []evidence.Process{unknownProcess(c.Process.Pid, true, evidence.ReasonProcessGone)}, l.finish().Processes)
}

func TestProcessOfOtherPIDNamespaceDoesNotBelong(t *testing.T) {
	p, err := openProcess("/proc", os.Getpid(), newScratch())
	require.NoError(t, err)
	defer p.close()
	l := newInspection(t.Context(), samplerFor(t, testConfig()), evidence.Target{})
	l.member.pidNamespace = pidNamespace("/proc", os.Getpid())
	assert.True(t, l.belongs(p))
	l.member.pidNamespace = "pid:[1]"
	assert.False(t, l.belongs(p))
}

func TestFileIsComparedByDeviceAndInode(t *testing.T) {
	stat := locatedAt(t, "/proc/self/stat") // proc reports the same device to stat and to maps
	same := mapping{device: stat.device(), inode: stat.stat.Ino}
	assert.True(t, stat.is(same))
	other := same
	other.device.minor++
	assert.False(t, stat.is(other), "only overlays and btrfs report another device")
	other = same
	other.inode++
	assert.False(t, stat.is(other))
}

func TestSymbolicLinkIsNotFollowedToMapping(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "real"), nil, 0o600))
	require.NoError(t, os.Symlink("real", filepath.Join(dir, "last")))
	require.NoError(t, os.Symlink(".", filepath.Join(dir, "within")))
	file := locatedAt(t, filepath.Join(dir, "real"))
	m := mapping{device: file.device(), inode: file.stat.Ino}
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(root) }()
	roots := []rootDir{{fd: root}}
	found, name, err := locateInRoots(roots, "/real", m)
	require.NoError(t, err)
	found.close()
	assert.Equal(t, "/real", name)
	for _, link := range []string{"/last", "/within/real"} {
		_, _, err = locateInRoots(roots, link, m)
		assert.Equal(t, evidence.ReasonDeletedFile, fileReason(err), link)
	}
}

// TestMappingIsDeletedWhenAnotherFileIsMappedThere is for map_files, whose names are addresses and nothing else.
func TestMappingIsDeletedWhenAnotherFileIsMappedThere(t *testing.T) {
	p, err := openProcess("/proc", os.Getpid(), newScratch())
	require.NoError(t, err)
	defer p.close()
	maps, err := os.Open("/proc/self/maps")
	require.NoError(t, err)
	defer func() { _ = maps.Close() }()
	found, err := readMaps(maps, 1000)
	require.NoError(t, err)
	require.NotEmpty(t, found.code)
	m := found.code[0]
	m.deleted = true
	s := samplerFor(t, testConfig())
	l, _, deleted, err := s.locateMapping(p, m, nil)
	if s.kernel.noMapFiles.Load() {
		t.Skip("needs CAP_CHECKPOINT_RESTORE")
	}
	require.NoError(t, err)
	assert.True(t, deleted)
	l.close()
	m.inode++
	_, _, _, err = s.locateMapping(p, m, nil)
	assert.Equal(t, evidence.ReasonDeletedFile, fileReason(err))
}

// TestReopenDoesNotWaitForLease: the kernel has whoever opens a leased file wait for 45 s (fcntl(2)).
func TestReopenDoesNotWaitForLease(t *testing.T) {
	path := fileOf(t, "x")
	holder, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer func() { _ = holder.Close() }()
	if _, err = unix.FcntlInt(holder.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skip("no leases here:", err)
	}
	begin := time.Now()
	_, err = locatedAt(t, path).reopen()
	require.ErrorIs(t, err, unix.EWOULDBLOCK)
	assert.Equal(t, evidence.ReasonTimeout, fileReason(err))
	assert.Less(t, time.Since(begin), 10*time.Second)
}

func TestBytesOfSampleAreBounded(t *testing.T) {
	path := fileOf(t, "four")
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(fd) }()
	l := newInspection(t.Context(), samplerFor(t, testConfig()), evidence.Target{})
	l.scratch = newScratch()
	l.bytesLeft = 7
	file := locatedAt(t, path)
	assert.Equal(t, evidence.StatusPresent, l.hash(fd, file.stat).Status)
	assert.Equal(t, evidence.Unknown[string](evidence.ReasonBudget), l.hash(fd, file.stat), "three are left")
}

func TestDirectoryNamedLikeJarIsIgnored(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "app.war")
	require.NoError(t, os.Mkdir(dir, 0o700))
	open, err := os.Open(dir)
	require.NoError(t, err)
	defer func() { _ = open.Close() }()
	sample, err := samplerFor(t, testConfig()).Sample(t.Context(), evidence.Target{PID: os.Getpid()})
	require.NoError(t, err)
	for _, f := range sample.Files {
		assert.NotEqual(t, dir, f.Path)
	}
}
