// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/evidence/procfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logged keeps what is logged.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) Info(msg string, fields ...any) { l.add(msg, fields) }
func (l *logged) Warn(msg string, fields ...any) { l.add(msg, fields) }

func (l *logged) add(msg string, fields []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, msg+" "+fmt.Sprintln(fields...))
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "")
}

// stored is a Store in memory.
type stored struct {
	mu   sync.Mutex
	text []byte
}

func (s *stored) Load(context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text, nil
}

func (s *stored) Save(_ context.Context, text []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = text
	return nil
}

func newSampler(t *testing.T, change func(*Options)) *Sampler {
	t.Helper()
	options := Options{Config: procfs.DefaultConfig(), Log: &logged{}}
	options.Config.MaxCPUFraction = 1
	if change != nil {
		change(&options)
	}
	s, err := NewSampler(options)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

// sleeper starts a process that runs until the test ends, as a target. It has no cgroup of a container, so that its pid says it all.
func sleeper(t *testing.T) evidence.Target {
	t.Helper()
	c := exec.CommandContext(t.Context(), "sleep", "3600")
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	require.Eventually(t, func() bool { // the fork has become the program
		name, err := os.Readlink("/proc/" + strconv.Itoa(c.Process.Pid) + "/exe")
		return err == nil && strings.Contains(name, "sleep") || strings.Contains(name, "coreutils")
	}, 10*time.Second, time.Millisecond)
	return evidence.Target{ContainerID: strings.Repeat("a", 64), PID: c.Process.Pid}
}

// processID returns the id of the sampler process, 0 if none runs.
func (s *Sampler) processID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peer == nil || s.peer.child == nil {
		return 0
	}
	return s.peer.child.cmd.Process.Pid
}

func TestSampleIsThatOfASamplerInThisProcess(t *testing.T) {
	target := sleeper(t)
	s := newSampler(t, nil)
	got, err := s.Sample(t.Context(), target)
	require.NoError(t, err)

	config := procfs.DefaultConfig()
	config.MaxCPUFraction = 1
	here, err := procfs.NewSampler(config)
	require.NoError(t, err)
	want, err := here.Sample(t.Context(), target)
	require.NoError(t, err)
	require.NoError(t, here.Close())

	got.TakenAt, want.TakenAt = time.Time{}, time.Time{}
	assert.Equal(t, want, got)
	require.NotEmpty(t, got.Files)
	assert.Equal(t, evidence.StatusPresent, got.Files[0].SHA256.Status)
	stats := s.Stats()
	assert.EqualValues(t, 1, stats.Samples)
	assert.EqualValues(t, 1, stats.Processes)
	assert.Zero(t, stats.Ended)
}

func TestNoProcessRunsBeforeTheFirstSampleAndAfterAWhileWithout(t *testing.T) {
	target := sleeper(t)
	s := newSampler(t, func(o *Options) { o.IdleTimeout = 50 * time.Millisecond })
	assert.Zero(t, s.processID())
	_, err := s.Sample(t.Context(), target)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.processID() == 0 }, 30*time.Second, 5*time.Millisecond)
	hashed := s.Stats().FilesHashed
	require.Positive(t, hashed)

	_, err = s.Sample(t.Context(), target)
	require.NoError(t, err)
	stats := s.Stats()
	assert.EqualValues(t, 2, stats.Processes)
	assert.Equal(t, hashed, stats.FilesHashed, "the second process has what the first knew of files")
	assert.EqualValues(t, 2, stats.Samples, "counts add up over processes")
	assert.Zero(t, stats.Ended)
}

func TestProcessHasNoMoreRightsThanItNeeds(t *testing.T) {
	s := newSampler(t, nil)
	_, err := s.Sample(t.Context(), sleeper(t))
	require.NoError(t, err)
	proc := "/proc/" + strconv.Itoa(s.processID())
	status, err := os.ReadFile(proc + "/status")
	require.NoError(t, err)
	fields := map[string]string{}
	for line := range strings.SplitSeq(string(status), "\n") {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	for _, set := range []string{"CapPrm", "CapEff", "CapBnd"} {
		bits, err := strconv.ParseUint(fields[set], 16, 64)
		require.NoError(t, err)
		if set != "CapBnd" || os.Geteuid() == 0 {
			assert.Zero(t, bits&^kept, "%s has %x", set, bits)
		}
	}
	if os.Geteuid() == 0 {
		number := strconv.Itoa(user)
		assert.Equal(t, strings.Repeat(number+"\t", 3)+number, fields["Uid"], "root could write to its own files and to the memory of its processes")
		assert.Equal(t, strings.Repeat(number+"\t", 3)+number, fields["Gid"])
		assert.Empty(t, fields["Groups"])
	}
	assert.Equal(t, "1", fields["NoNewPrivs"])
	assert.Equal(t, "2", fields["Seccomp"], "2 is SECCOMP_MODE_FILTER")
	environment, err := os.ReadFile(proc + "/environ")
	require.NoError(t, err)
	assert.Empty(t, environment)
	score, err := os.ReadFile(proc + "/oom_score_adj")
	require.NoError(t, err)
	assert.Equal(t, "1000", strings.TrimSpace(string(score)))
	descriptors, err := os.ReadDir(proc + "/fd")
	require.NoError(t, err)
	for _, d := range descriptors {
		name, err := os.Readlink(filepath.Join(proc, "fd", d.Name()))
		require.NoError(t, err)
		assert.Regexp(t, `^(pipe:|anon_inode:|/memfd:zastava-sampler-files|/proc|/dev/null$|/sys/fs/cgroup/)`, name, "descriptor %s: Go's runtime reads the limits of the cgroup", d.Name())
	}
	limits, err := os.ReadFile(proc + "/limits")
	require.NoError(t, err)
	assert.Regexp(t, `Max open files +256 +256`, string(limits))
	assert.Regexp(t, `Max core file size +0 +0`, string(limits))
	assert.NotRegexp(t, `Max address space +unlimited`, string(limits))
}

func TestContainerWhoseSamplingEndsTheProcessIsSuspendedAndOthersAreNot(t *testing.T) {
	store := &stored{}
	log := &logged{}
	s := newSampler(t, func(o *Options) { o.Log = log })
	s.Remember(t.Context(), store)
	good := sleeper(t)
	_, err := s.Sample(t.Context(), good)
	require.NoError(t, err)

	// A sample that does not end: the process is stopped, then killed under it.
	bad := evidence.Target{ContainerID: strings.Repeat("b", 64), PID: good.PID}
	pid := s.processID()
	require.NoError(t, unix.Kill(pid, unix.SIGSTOP))
	done := make(chan evidence.Sample)
	go func() {
		sample, err := s.Sample(context.Background(), bad)
		assert.NoError(t, err)
		done <- sample
	}()
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.users == 1
	}, 10*time.Second, time.Millisecond)
	time.Sleep(50 * time.Millisecond)
	require.NoError(t, unix.Kill(pid, unix.SIGKILL))
	sample := <-done
	require.Len(t, sample.Processes, 1)
	assert.Equal(t, evidence.ReasonBudget, sample.Processes[0].Executable.Reason)
	assert.True(t, sample.Processes[0].Main)
	assert.Equal(t, 1, sample.Coverage.Processes.Skipped[evidence.ReasonBudget])

	assert.EqualValues(t, 1, s.Stats().Ended)
	assert.Equal(t, 1, s.Stats().Suspended)
	assert.Contains(t, log.text(), "signal: killed")
	assert.Contains(t, log.text(), bad.ContainerID)
	require.Eventually(t, func() bool { // it starts again after a moment
		got, err := s.Sample(t.Context(), good)
		return err == nil && len(got.Files) > 0
	}, 30*time.Second, 10*time.Millisecond)

	// The suspension outlives the collector.
	again := newSampler(t, nil)
	again.Remember(t.Context(), store)
	sample, err = again.Sample(t.Context(), bad)
	require.NoError(t, err)
	assert.Equal(t, evidence.ReasonBudget, sample.Processes[0].Executable.Reason)
	assert.Zero(t, again.processID(), "nothing is started for it")
}

func TestProcessThatIsSignalledWithTheCollectorGoesOn(t *testing.T) {
	s := newSampler(t, nil)
	target := sleeper(t)
	_, err := s.Sample(t.Context(), target)
	require.NoError(t, err)
	pid := s.processID()
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP} {
		require.NoError(t, unix.Kill(pid, signal))
	}
	_, err = s.Sample(t.Context(), target)
	require.NoError(t, err)
	assert.Equal(t, pid, s.processID())
}

func TestSampleIsCanceledWithItsContext(t *testing.T) {
	s := newSampler(t, nil)
	target := sleeper(t)
	_, err := s.Sample(t.Context(), target)
	require.NoError(t, err)
	require.NoError(t, unix.Kill(s.processID(), unix.SIGSTOP))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err = s.Sample(ctx, target)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, unix.Kill(s.processID(), unix.SIGCONT))
	_, err = s.Sample(t.Context(), target)
	require.NoError(t, err)
	assert.Zero(t, s.Stats().Ended)
}

func TestSamplesAfterCloseFail(t *testing.T) {
	s := newSampler(t, nil)
	_, err := s.Sample(t.Context(), sleeper(t))
	require.NoError(t, err)
	pid := s.processID()
	require.NoError(t, s.Close())
	_, err = s.Sample(t.Context(), sleeper(t))
	require.ErrorIs(t, err, procfs.ErrClosed)
	require.ErrorIs(t, unix.Kill(pid, 0), unix.ESRCH, "the process has ended and was waited for")
}

func TestConfigurationThatDoesNotValidateIsRefused(t *testing.T) {
	config := procfs.DefaultConfig()
	config.ProcRoot = t.TempDir()
	_, err := NewSampler(Options{Config: config})
	require.ErrorContains(t, err, "shows no processes")
}
