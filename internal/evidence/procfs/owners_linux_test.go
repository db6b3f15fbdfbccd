// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/evidence"
	inputs "github.com/zastava-otel/zastava/internal/test/hostile"
)

// TestOwnersByRPMDatabaseInRoot has a sampler find the owner of a program in the rpm database of its root.
func TestOwnersByRPMDatabaseInRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	need(t, "busybox")
	busybox, err := exec.LookPath("busybox")
	require.NoError(t, err)
	program, err := os.ReadFile(busybox)
	require.NoError(t, err)
	const app = "/usr/lib64/libsmall.so.1"
	database := rpmFixture(t)
	broken := bytes.Clone(database)
	clear(broken[4096:])
	for name, test := range map[string]struct {
		files map[string][]byte
		link  string
		want  evidence.Datum[string]
	}{
		"owned":              {map[string][]byte{"/var/lib/rpm/rpmdb.sqlite": database, "/var/lib/rpm/rpmdb.sqlite-wal": nil}, "", evidence.Present("pkg:rpm/fedora/small@1-1?arch=x86_64&distro=fedora-42")},
		"in its newer place": {map[string][]byte{"/usr/lib/sysimage/rpm/rpmdb.sqlite": database}, "", evidence.Present("pkg:rpm/fedora/small@1-1?arch=x86_64&distro=fedora-42")},
		"being written":      {map[string][]byte{"/var/lib/rpm/rpmdb.sqlite": ownerless(t), "/var/lib/rpm/rpmdb.sqlite-wal": []byte("x")}, "", evidence.Unknown[string](evidence.ReasonDeletedFile)},
		"not its own":        {map[string][]byte{"/var/lib/rpm/rpmdb.sqlite": ownerless(t)}, "", evidence.Absent[string]()},
		"broken":             {map[string][]byte{"/var/lib/rpm/rpmdb.sqlite": broken}, "", evidence.Unknown[string](evidence.ReasonNotELF)},
		"a link outside":     {nil, "/etc/passwd", evidence.Absent[string]()},
		"none":               {nil, "", evidence.Absent[string]()},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write := func(at string, content []byte, mode os.FileMode) {
				require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, at)), 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(root, at), content, mode))
			}
			write(app, program, 0o755)
			write("/etc/os-release", []byte("ID=fedora\nVERSION_ID=42\n"), 0o644)
			for at, content := range test.files {
				write(at, content, 0o644)
			}
			if test.link != "" {
				require.NoError(t, os.MkdirAll(filepath.Join(root, "var/lib/rpm"), 0o755))
				require.NoError(t, os.Symlink(test.link, filepath.Join(root, "var/lib/rpm/rpmdb.sqlite")))
			}
			pid := runInRoot(t, root, app)
			config := testConfig()
			config.PackageOwners = true
			sample, err := samplerFor(t, config).Sample(t.Context(), evidence.Target{PID: pid})
			require.NoError(t, err)
			assert.Equal(t, test.want, fileNamed(t, sample, app).Package)
		})
	}
}

// runInRoot runs the busybox that a directory has as app, with the directory as its root, until the test ends.
func runInRoot(t *testing.T, root, app string) (pid int) {
	t.Helper()
	c := &exec.Cmd{Path: app, Args: []string{"busybox", "sleep", "1000"}, SysProcAttr: &syscall.SysProcAttr{Chroot: root}}
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	until(t, "the program to run", func() bool {
		exe, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(c.Process.Pid), "exe"))
		return err == nil && strings.HasSuffix(exe, app)
	})
	return c.Process.Pid
}

// ownerless is the fixture with the file under another name of the same length.
func ownerless(t *testing.T) []byte {
	t.Helper()
	return bytes.ReplaceAll(rpmFixture(t), []byte("libsmall.so.1"), []byte("libother.so.1"))
}

// rpmFixture returns the database that the tests of packagedb read.
func rpmFixture(t *testing.T) []byte {
	t.Helper()
	f, err := os.Open("../packagedb/testdata/rpmdb.sqlite.gz")
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	database, err := io.ReadAll(z)
	require.NoError(t, err)
	return database
}

// hostileDatabase makes a root with a program and a package database, and returns a configuration to sample it with.
func hostileDatabase(t *testing.T, files inputs.PackageFiles, app string) (root string, config Config) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	need(t, "busybox")
	busybox, err := exec.LookPath("busybox")
	require.NoError(t, err)
	program, err := os.ReadFile(busybox)
	require.NoError(t, err)
	root = t.TempDir()
	files[app] = program
	for at, content := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, at)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, at), content, 0o755))
	}
	config = testConfig()
	config.PackageOwners = true
	return root, config
}

func TestDatabaseThatReachesALimitIsNotSearchedForEachSample(t *testing.T) {
	const app = "/usr/lib/x/x"
	root, config := hostileDatabase(t, inputs.RPMFiles("/usr/lib/y/", 15<<20), app)
	s := samplerFor(t, config)
	budget := evidence.Unknown[string](evidence.ReasonBudget)
	target := evidence.Target{PID: runInRoot(t, root, app)}
	sample, err := s.Sample(t.Context(), target)
	require.NoError(t, err)
	assert.Equal(t, budget, fileNamed(t, sample, app).Package)
	first := s.Stats().CPU

	database := filepath.Join(root, "var/lib/rpm/Packages.db")
	require.NoError(t, os.Chtimes(database, time.Now(), time.Now())) // a container touches it to have it read again
	for range 5 {
		sample, err = s.Sample(t.Context(), target)
		require.NoError(t, err)
		assert.Equal(t, budget, fileNamed(t, sample, app).Package)
	}
	again := s.Stats().CPU - first
	t.Logf("CPU time of the first sample %v, of five more %v", first, again)
	assert.Less(t, again, first)

	require.NoError(t, os.Remove(database))
	sample, err = s.Sample(t.Context(), target)
	require.NoError(t, err)
	assert.Equal(t, evidence.Absent[string](), fileNamed(t, sample, app).Package, "there is no database any more")
}

// TestDatabaseIsReadWithinTheShareOfCPUTime has a search that would take seconds of CPU time stop when the sample's time is over.
func TestDatabaseIsReadWithinTheShareOfCPUTime(t *testing.T) {
	const app = "/usr/lib/x/x"
	var paths []string
	for range 16 {
		paths = append(paths, "/usr/lib/y/y")
	}
	root, config := hostileDatabase(t, inputs.DpkgLists(paths, 24, 4<<20-1), app)
	config.MaxCPUFraction, config.Limits.Time = 0.01, 3*time.Second
	s := samplerFor(t, config)
	began := time.Now()
	sample, err := s.Sample(t.Context(), evidence.Target{PID: runInRoot(t, root, app)})
	require.NoError(t, err)
	assert.Equal(t, evidence.Unknown[string](evidence.ReasonBudget), fileNamed(t, sample, app).Package)
	stats := s.Stats()
	t.Logf("CPU time %v in %v", stats.CPU, time.Since(began))
	assert.Less(t, stats.CPU, time.Second, "of 0.1 s at once and 0.03 s more")
	assert.Less(t, time.Since(began), 30*time.Second)
}
