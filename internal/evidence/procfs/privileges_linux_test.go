// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// otherPrivileges makes the test program take one sample instead of running tests, so that it can be started with other privileges.
const otherPrivileges = "ZASTAVA_TEST_EVIDENCE_SAMPLE"

// TestSampleWithOtherPrivileges is not a test: it is the sampler that TestSampleByPrivileges starts.
func TestSampleWithOtherPrivileges(t *testing.T) {
	spec := os.Getenv(otherPrivileges)
	if spec == "" {
		t.Skip("started by TestSampleByPrivileges")
	}
	root, pid, _ := strings.Cut(spec, " ")
	config := testConfig()
	config.ProcRoot = root
	var target evidence.Target
	var err error
	target.PID, err = strconv.Atoi(pid)
	require.NoError(t, err)
	sample, err := samplerFor(t, config).Sample(t.Context(), target)
	require.NoError(t, err)
	text, err := json.Marshal(sample)
	require.NoError(t, err)
	fmt.Printf("\nsample %s\n", text)
}

// sampledBy runs the sampler under a command, such as setpriv.
func sampledBy(t *testing.T, procRoot string, pid int, command ...string) (sample evidence.Sample) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	command = append(command, self, "-test.run=^TestSampleWithOtherPrivileges$", "-test.v")
	c := exec.CommandContext(t.Context(), command[0], command[1:]...)
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", otherPrivileges, procRoot, pid), "GORACE=atexit_sleep_ms=0") // which is a second
	said, err := c.CombinedOutput()
	require.NoError(t, err, "%s", said)
	_, text, found := strings.Cut(string(said), "\nsample ")
	require.True(t, found, "%s", said)
	text, _, _ = strings.Cut(text, "\n")
	require.NoError(t, json.Unmarshal([]byte(text), &sample))
	require.NotEmpty(t, sample.Processes)
	return sample
}

// TestSampleByPrivileges is what docs/evidence.md says of each privilege.
func TestSampleByPrivileges(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	need(t, "setpriv", "unshare", "mount", "sh")
	sleep, err := exec.LookPath("sleep")
	require.NoError(t, err)
	// A program that its owner alone may read, and that another user runs: what the mode of a file keeps from whom.
	dir := t.TempDir()
	for _, at := range []string{dir, filepath.Dir(dir)} { // they are root's alone
		require.NoError(t, os.Chmod(at, 0o755))
	}
	secret := filepath.Join(dir, "secret")
	content, err := os.ReadFile(sleep)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(secret, content, 0o711))
	require.NoError(t, os.Chown(secret, 4242, 4242))
	require.NoError(t, os.Chmod(secret, 0o711))
	target := child(t, "setpriv", "--reuid=4243", "--regid=4243", "--clear-groups", secret, "1000")
	until(t, "the program to run", func() bool {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", target.Process.Pid))
		return err == nil && exe == secret
	})
	pid := target.Process.Pid

	with := func(caps string) []string {
		return []string{"setpriv", "--bounding-set=-all" + caps, "--inh-caps=-all"}
	}
	permission := evidence.Unknown[string](evidence.ReasonPermission)

	t.Run("all of root", func(t *testing.T) {
		s := sampledBy(t, "/proc", pid, "setpriv")
		assert.Equal(t, evidence.Present(secret), s.Processes[0].Executable)
		assert.Equal(t, evidence.StatusPresent, fileNamed(t, s, secret).SHA256.Status)
		assert.Equal(t, s.Coverage.Files.Seen, s.Coverage.Files.Read)
	})
	t.Run("the least set", func(t *testing.T) {
		s := sampledBy(t, "/proc", pid, with(",+sys_ptrace,+dac_read_search")...)
		assert.Equal(t, evidence.Present(secret), s.Processes[0].Executable)
		assert.Equal(t, s.Coverage.Files.Seen, s.Coverage.Files.Read)
		assert.GreaterOrEqual(t, s.Coverage.Files.Read, 3)
		assert.Equal(t, evidence.StatusPresent, fileNamed(t, s, secret).SHA256.Status)
	})
	t.Run("without CAP_DAC_READ_SEARCH", func(t *testing.T) {
		s := sampledBy(t, "/proc", pid, with(",+sys_ptrace")...)
		assert.Equal(t, evidence.Present(secret), s.Processes[0].Executable)
		f := fileNamed(t, s, secret)
		assert.Equal(t, permission, f.SHA256)
		assert.Equal(t, permission, f.BuildID)
		assert.Equal(t, evidence.Present(int64(len(content))), f.Size)
		assert.Equal(t, map[evidence.Reason]int{evidence.ReasonPermission: 1}, s.Coverage.Files.Skipped, "what all may read is read")
	})
	t.Run("without CAP_SYS_PTRACE", func(t *testing.T) {
		s := sampledBy(t, "/proc", pid, with(",+dac_read_search")...)
		p := s.Processes[0]
		assert.Equal(t, "secret", p.Name)
		assert.False(t, p.StartedAt.IsZero())
		assert.Equal(t, evidence.Present([]string{secret, "1000"}), p.Arguments)
		assert.Equal(t, permission, p.Executable)
		assert.Equal(t, evidence.Unknown[int](evidence.ReasonPermission), p.Mappings)
		assert.Equal(t, evidence.Unknown[int](evidence.ReasonPermission), p.OpenFiles)
		assert.Empty(t, s.Files)
		assert.Equal(t, evidence.Count{Seen: 1, Skipped: map[evidence.Reason]int{evidence.ReasonPermission: 1}}, s.Coverage.Processes)
	})
	t.Run("another user without any", func(t *testing.T) {
		s := sampledBy(t, "/proc", pid, "setpriv", "--reuid=4244", "--regid=4244", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all")
		assert.Equal(t, permission, s.Processes[0].Executable)
		assert.Equal(t, evidence.Unknown[int](evidence.ReasonPermission), s.Processes[0].Mappings)
	})
	for _, hidden := range []string{"1", "2"} {
		t.Run("hidepid="+hidden, func(t *testing.T) {
			// A proc of its own in a mount namespace of its own. hidepid holds for whoever lacks CAP_SYS_PTRACE and is not in the
			// group that the mount option gid names, which is root's when it names none.
			group := []string{"--regid=4244", "--clear-groups"}
			script := fmt.Sprintf(`mkdir -p %[1]s && mount -t proc -o hidepid=%[2]s proc %[1]s && exec "$@"`, filepath.Join(dir, "proc"+hidden), hidden)
			command := []string{"unshare", "--mount", "sh", "-c", script, "sh"}
			s := sampledBy(t, filepath.Join(dir, "proc"+hidden), pid, slices.Concat(command, with(",+dac_read_search"), group)...)
			assert.Equal(t, []evidence.Process{unknownProcess(pid, true, evidence.ReasonPermission)}, s.Processes, "hidden, and not gone")
			s = sampledBy(t, filepath.Join(dir, "proc"+hidden), pid, slices.Concat(command, with(",+sys_ptrace,+dac_read_search"), group)...)
			assert.Equal(t, s.Coverage.Files.Seen, s.Coverage.Files.Read, "CAP_SYS_PTRACE sees through it")
			assert.Equal(t, evidence.Present(secret), s.Processes[0].Executable)
		})
	}
	t.Run("a user namespace", func(t *testing.T) {
		// Root there has every capability there, and none over processes outside.
		s := sampledBy(t, "/proc", pid, "unshare", "--user", "--map-root-user")
		assert.Equal(t, permission, s.Processes[0].Executable)
		assert.Equal(t, evidence.Unknown[int](evidence.ReasonPermission), s.Processes[0].Mappings)
	})
	t.Run("proc_root", func(t *testing.T) {
		// The host's proc elsewhere, in a collector with a pid namespace of its own.
		root := filepath.Join(dir, "host")
		script := fmt.Sprintf(`mkdir -p %[1]s && mount --rbind /proc %[1]s && mount -t proc proc /proc && exec "$@"`, root)
		s := sampledBy(t, root, pid, append([]string{"unshare", "--mount", "--pid", "--fork", "sh", "-c", script, "sh"}, with(",+sys_ptrace,+dac_read_search")...)...)
		assert.Equal(t, evidence.Present(secret), s.Processes[0].Executable)
		assert.Equal(t, s.Coverage.Files.Seen, s.Coverage.Files.Read)
	})
}
