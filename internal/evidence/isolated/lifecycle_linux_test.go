// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
)

func TestProcessThatIsGoneIsReportedAsGone(t *testing.T) {
	c := exec.CommandContext(t.Context(), "true")
	require.NoError(t, c.Run())
	sample, err := newSampler(t, nil).Sample(t.Context(), evidence.Target{ContainerID: strings.Repeat("a", 64), PID: c.Process.Pid})
	require.NoError(t, err)
	assert.Equal(t, evidence.ReasonProcessGone, sample.Processes[0].Executable.Reason, "asking whether a process exists is allowed")
}

func TestProcessThatEndedWhileIdleSuspendsNoContainer(t *testing.T) {
	s := newSampler(t, nil)
	target := sleeper(t)
	for range 3 {
		sample, err := s.Sample(t.Context(), target)
		require.NoError(t, err)
		require.NotEmpty(t, sample.Files)
		require.NoError(t, unix.Kill(s.processID(), unix.SIGKILL))
		s.mu.Lock()
		exited := s.peer.child.exited
		s.mu.Unlock()
		<-exited
	}
	assert.Zero(t, s.Stats().Suspended)
}

// slow is a Store that does not answer until it is released.
type slow struct{ release chan struct{} }

func (s slow) Load(ctx context.Context) ([]byte, error) {
	select {
	case <-s.release:
	case <-ctx.Done():
	}
	return nil, ctx.Err()
}

func (slow) Save(context.Context, []byte) error { return nil }

func TestStoreThatHangsKeepsNothingWaiting(t *testing.T) {
	s := newSampler(t, nil)
	store := slow{make(chan struct{})}
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		s.Remember(context.Background(), store)
	}()
	sample, err := s.Sample(t.Context(), sleeper(t))
	require.NoError(t, err)
	assert.NotEmpty(t, sample.Files)
	assert.EqualValues(t, 1, s.Stats().Samples)
	select {
	case <-loaded:
		t.Error("the store has answered")
	default:
	}
	close(store.release)
	<-loaded
}

// TestProcessCostsItsShare logs what one process costs, for the documentation.
func TestProcessCostsItsShare(t *testing.T) {
	began := time.Now()
	s := newSampler(t, nil)
	_, err := s.Sample(t.Context(), sleeper(t))
	require.NoError(t, err)
	elapsed := time.Since(began)
	used, err := cpuTime(s.processID())
	require.NoError(t, err)
	status, err := os.ReadFile("/proc/" + strconv.Itoa(s.processID()) + "/status")
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM") || strings.HasPrefix(line, "RssAnon") || strings.HasPrefix(line, "Threads") {
			t.Log(strings.TrimSpace(line))
		}
	}
	t.Logf("CPU time %v, first sample after %v", used, elapsed)
	assert.Less(t, used, cpuBurst)
}
