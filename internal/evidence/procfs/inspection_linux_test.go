// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bytes"
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
	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/redact"
)

// child starts a program that lives until the test ends, and waits until it runs.
func child(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(program, args...)
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	until(t, program+" to run", func() bool {
		exe, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(c.Process.Pid), "exe"))
		return err == nil && filepath.Base(exe) != filepath.Base(os.Args[0])
	})
	return c
}

func TestHashIsUnknownWhenFileChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app")
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("x"), 3<<20), 0o600))
	stat := func() (st unix.Stat_t) {
		require.NoError(t, unix.Stat(path, &st))
		return st
	}
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(fd) }()
	l := newInspection(t.Context(), samplerFor(t, testConfig()), evidence.Target{})
	l.scratch = newScratch()
	hash := func(before unix.Stat_t) evidence.Datum[string] {
		_, err := unix.Seek(fd, 0, 0)
		require.NoError(t, err)
		return l.hash(fd, before)
	}
	before := stat()
	assert.Equal(t, evidence.StatusPresent, hash(before).Status)

	require.NoError(t, os.Chtimes(path, time.Now(), time.Unix(1, 0)))
	assert.Equal(t, evidence.Unknown[string](evidence.ReasonDeletedFile), hash(before), "touched")
	before = stat()
	require.NoError(t, os.Truncate(path, 3<<20-1))
	assert.Equal(t, evidence.Unknown[string](evidence.ReasonDeletedFile), hash(before), "shorter")
	before = stat()
	require.NoError(t, os.Truncate(path, 9<<20))
	assert.Equal(t, evidence.Unknown[string](evidence.ReasonDeletedFile), hash(before), "longer")
}

func TestArgumentsAreRecordedByMode(t *testing.T) {
	c := child(t, "sleep", "1000", "--", "1")
	for mode, want := range map[redact.Mode]evidence.Datum[[]string]{
		redact.ModeFull:     evidence.Present([]string{"sleep", "1000", "--", "1"}),
		redact.ModeRedacted: evidence.Present([]string{"sleep", "***", "--", "1"}),
		redact.ModeNone:     {},
	} {
		config := testConfig()
		config.Arguments, config.Redact = mode, []string{"1000"}
		sample, err := samplerFor(t, config).Sample(t.Context(), evidence.Target{PID: c.Process.Pid})
		require.NoError(t, err)
		require.Len(t, sample.Processes, 1, "nothing else is known to be the container's")
		assert.Equal(t, want, sample.Processes[0].Arguments)
	}
}

// TestProcessesAreFoundByPIDNamespaceWithoutCgroup is for containers whose cgroup does not bear their id.
func TestProcessesAreFoundByPIDNamespaceWithoutCgroup(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	need(t, "unshare", "sh")
	c := child(t, "unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "sleep 1000 & sleep 1001")
	children := filepath.Join("/proc", strconv.Itoa(c.Process.Pid), "task", strconv.Itoa(c.Process.Pid), "children")
	var shell int
	until(t, "the shell's children", func() bool {
		text, err := os.ReadFile(children)
		require.NoError(t, err)
		shell, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		text, err = os.ReadFile(filepath.Join("/proc", strconv.Itoa(shell), "task", strconv.Itoa(shell), "children"))
		if err != nil || len(strings.Fields(string(text))) != 2 {
			return false
		}
		for pid := range strings.FieldsSeq(string(text)) {
			if exe, err := os.Readlink(filepath.Join("/proc", pid, "exe")); err != nil || filepath.Base(exe) != "sleep" {
				return false
			}
		}
		return true
	})
	sample, err := samplerFor(t, testConfig()).Sample(t.Context(), evidence.Target{ContainerID: "none", PID: shell})
	require.NoError(t, err)
	require.Len(t, sample.Processes, 3)
	assert.Equal(t, evidence.Count{Seen: 3, Read: 3}, sample.Coverage.Processes)
	assert.Equal(t, shell, sample.Processes[0].PID)
	assert.Equal(t, "sleep", sample.Processes[1].Name)
	assert.Equal(t, "sleep", sample.Processes[2].Name)
}

// TestFilesAreNamedInsideChroot is for what is in a root of its own without a mount namespace: files have the names they have inside.
func TestFilesAreNamedInsideChroot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	need(t, "busybox", "chroot")
	busybox, err := exec.LookPath("busybox")
	require.NoError(t, err)
	content, err := os.ReadFile(busybox)
	require.NoError(t, err)
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "busybox"), content, 0o755))
	c := child(t, "chroot", root, "/busybox", "sleep", "1000")
	until(t, "the program to run", func() bool {
		exe, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(c.Process.Pid), "exe"))
		return err == nil && exe == filepath.Join(root, "busybox")
	})
	sample, err := samplerFor(t, testConfig()).Sample(t.Context(), evidence.Target{PID: c.Process.Pid})
	require.NoError(t, err)
	assert.Equal(t, evidence.Present("/busybox"), sample.Processes[0].Executable)
	f := fileNamed(t, sample, "/busybox")
	assert.Equal(t, evidence.KindExecutable, f.Kind)
	assert.Equal(t, evidence.StatusPresent, f.SHA256.Status)
	assert.False(t, f.Deleted)
	for _, f := range sample.Files {
		assert.NotContains(t, f.Path, root)
	}

	// What is left of it when its root is emptied.
	require.NoError(t, os.Remove(filepath.Join(root, "busybox")))
	sample, err = samplerFor(t, testConfig()).Sample(t.Context(), evidence.Target{PID: c.Process.Pid})
	require.NoError(t, err)
	f = fileNamed(t, sample, "/busybox")
	assert.True(t, f.Deleted)
	assert.Equal(t, evidence.StatusPresent, f.SHA256.Status, "the program can be read as long as it runs")
}

// TestProgramNamedLikeRuntimeIsRecordedLater is for processes that would not be seen if any program with the name of a runtime's, or with
// a name that leads nowhere, were the runtime's.
func TestProgramNamedLikeRuntimeIsRecordedLater(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	need(t, "busybox", "unshare", "mount")
	busybox, err := exec.LookPath("busybox")
	require.NoError(t, err)
	content, err := os.ReadFile(busybox)
	require.NoError(t, err)

	fd, err := unix.MemfdCreate("runc_cloned:/proc/self/exe", 0)
	require.NoError(t, err)
	memory := os.NewFile(uintptr(fd), "memfd")
	defer func() { _ = memory.Close() }()
	sleep, err := exec.LookPath("sleep")
	require.NoError(t, err)
	program, err := os.ReadFile(sleep)
	require.NoError(t, err)
	_, err = memory.Write(program)
	require.NoError(t, err)
	inMemory := child(t, "/proc/self/fd/"+strconv.Itoa(fd), "1000")

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "busybox"), content, 0o755))
	covered := child(t, "unshare", "--mount", dir+"/busybox", "sh", "-c", "mount -t tmpfs none "+dir+" && while :; do sleep 1; done")
	until(t, "the mount", func() bool {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(covered.Process.Pid), "mounts"))
		return err == nil && strings.Contains(string(text), " "+dir+" tmpfs ")
	})

	s := samplerFor(t, testConfig())
	sampled := func(c *exec.Cmd) evidence.Sample {
		sample, err := s.Sample(t.Context(), evidence.Target{PID: c.Process.Pid})
		require.NoError(t, err)
		return sample
	}
	for _, c := range []*exec.Cmd{inMemory, covered} {
		assert.Equal(t, evidence.Count{Seen: 1, Skipped: map[evidence.Reason]int{evidence.ReasonProcessGone: 1}}, sampled(c).Coverage.Processes, "it may be the runtime's yet")
	}
	s.becoming = -time.Hour
	sample := sampled(inMemory)
	assert.Equal(t, evidence.Present("/memfd:runc_cloned:/proc/self/exe"), sample.Processes[0].Executable)
	f := fileNamed(t, sample, "/memfd:runc_cloned:/proc/self/exe")
	assert.True(t, f.Deleted)
	assert.Equal(t, evidence.StatusPresent, f.SHA256.Status)

	sample = sampled(covered)
	assert.Equal(t, evidence.Count{Seen: 1, Read: 1}, sample.Coverage.Processes)
	assert.Equal(t, evidence.Unknown[string](evidence.ReasonDeletedFile), sample.Processes[0].Executable)
	assert.Contains(t, sample.Processes[0].Arguments.Value, "sh")
	assert.Equal(t, evidence.Unknown[string](evidence.ReasonDeletedFile), fileNamed(t, sample, filepath.Join(dir, "busybox")).SHA256)
}

// TestProcessIsReadThroughLivingThread: nothing is to be seen of it but through its other threads.
func TestProcessIsReadThroughLivingThread(t *testing.T) {
	need(t, "python3")
	const program = "import ctypes, threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\nctypes.CDLL(None).pthread_exit(None)"
	c := child(t, "python3", "-c", program)
	until(t, "the first thread to end", func() bool {
		p, err := openProcess("/proc", c.Process.Pid, newScratch())
		require.NoError(t, err)
		defer p.close()
		return p.stat.state == 'Z'
	})
	sample, err := samplerFor(t, testConfig()).Sample(t.Context(), evidence.Target{PID: c.Process.Pid})
	require.NoError(t, err)
	assert.Equal(t, evidence.Count{Seen: 1, Read: 1}, sample.Coverage.Processes)
	p := sample.Processes[0]
	assert.Equal(t, c.Process.Pid, p.PID)
	assert.Equal(t, "python3", filepath.Base(p.Arguments.Value[0]))
	assert.Equal(t, evidence.StatusPresent, fileNamed(t, sample, p.Executable.Value).SHA256.Status)
	libraries := 0
	for _, f := range sample.Files {
		if f.Kind != evidence.KindExecutable && f.SHA256.Status == evidence.StatusPresent {
			libraries++
		}
	}
	assert.Positive(t, libraries)

	held, err := openProcess("/proc", c.Process.Pid, newScratch())
	require.NoError(t, err)
	defer held.close()
	require.True(t, held.unchanged(membership{}))
	require.NoError(t, c.Process.Kill())
	until(t, "the other to end", func() bool { return !held.unchanged(membership{}) })
}

func TestReusedPIDIsDetected(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	first := child(t, "sleep", "1000")
	pid := first.Process.Pid
	held, err := openProcess("/proc", pid, newScratch())
	require.NoError(t, err)
	defer held.close()
	require.True(t, held.unchanged(membership{}))
	started := held.startedAt()

	require.NoError(t, first.Process.Kill())
	_ = first.Wait()
	assert.False(t, held.unchanged(membership{}), "it ended")
	// Others fork on this machine too, so that it may take some tries to get the number.
	var second *exec.Cmd
	for range 1000 {
		require.NoError(t, os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0))
		c := exec.Command("sleep", "1000")
		require.NoError(t, c.Start())
		if c.Process.Pid == pid {
			second = c
			break
		}
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	if second == nil {
		t.Skip("another process has the pid")
	}
	defer func() {
		_ = second.Process.Kill()
		_ = second.Wait()
	}()
	assert.False(t, held.unchanged(membership{}), "another process has the pid")
	_, err = held.read("maps", 1)
	require.ErrorIs(t, err, syscall.ESRCH, "and nothing of it can be read through what was held")
	_, err = held.locateLink("exe")
	require.Error(t, err)

	s := samplerFor(t, testConfig())
	sample, err := s.Sample(t.Context(), evidence.Target{ContainerID: "none", PID: pid, StartedAt: started.Add(-time.Hour)})
	require.NoError(t, err)
	assert.Equal(t, []evidence.Process{unknownProcess(pid, true, evidence.ReasonProcessGone)}, sample.Processes, "it started an hour after the run")
	assert.Empty(t, sample.Files)
}

// TestProcessOfOtherMachineIsNotSampled is for runtimes whose pids are of another machine, behind tcp:// or a forwarded socket.
func TestProcessOfOtherMachineIsNotSampled(t *testing.T) {
	c := child(t, "sleep", "1000")
	s := samplerFor(t, testConfig())
	now := time.Now()
	for name, test := range map[string]struct {
		target evidence.Target
		own    bool
	}{
		"started with the run":              {evidence.Target{StartedAt: now}, true},
		"a slow hook":                       {evidence.Target{StartedAt: now.Add(30 * time.Second)}, true},
		"started long before":               {evidence.Target{StartedAt: now.Add(time.Hour)}, false},
		"started long after":                {evidence.Target{StartedAt: now.Add(-time.Hour)}, false},
		"the runtime may be anywhere":       {evidence.Target{StartedAt: now, Elsewhere: true}, false},
		"it may be anywhere, start unknown": {evidence.Target{Elsewhere: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			test.target.ContainerID, test.target.PID = strings.Repeat("ab", 32), c.Process.Pid
			sample, err := s.Sample(t.Context(), test.target)
			require.NoError(t, err)
			if test.own {
				assert.Equal(t, "sleep", sample.Processes[0].Name)
				assert.NotEmpty(t, sample.Files)
				return
			}
			assert.Equal(t, []evidence.Process{unknownProcess(c.Process.Pid, true, evidence.ReasonProcessGone)}, sample.Processes)
			assert.Empty(t, sample.Files)
		})
	}
}
