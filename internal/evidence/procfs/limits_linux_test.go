// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/evidence"
)

func TestCPUTimeOfSamplesStaysBelowFraction(t *testing.T) {
	t.Parallel()
	c := child(t, "sleep", "1000")
	config := testConfig()
	config.MaxCPUFraction, config.CacheEntries = 0.01, 1
	s := samplerFor(t, config)
	begin := time.Now()
	for passed := time.Duration(0); passed < 3*time.Second || s.Stats().Waited == 0 && passed < 20*time.Second; passed = time.Since(begin) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		_, _ = s.Sample(ctx, evidence.Target{PID: c.Process.Pid})
		cancel()
	}
	stats := s.Stats()
	// What was used when the last wait began is more than the share by one step at the most.
	allowed := 0.01*float64(time.Since(begin)+paceWindow) + float64(50*time.Millisecond)
	assert.LessOrEqual(t, float64(stats.CPU), allowed, "used %s", stats.CPU)
	if stats.Waited == 0 {
		t.Skipf("a busy machine gave a thread of low priority less than its share: %s", stats.CPU)
	}
}

func TestTimeOfSampleIsLimited(t *testing.T) {
	c := child(t, "sleep", "1000")
	config := testConfig()
	config.MaxCPUFraction = 0.0001 // a millisecond in the first ten seconds
	config.Limits.Time = time.Second
	s := samplerFor(t, config)
	for range 20 { // until the millisecond is used up
		sample, err := s.Sample(t.Context(), evidence.Target{PID: c.Process.Pid})
		require.NoError(t, err)
		if sample.Coverage.Files.Skipped[evidence.ReasonBudget] > 0 || sample.Coverage.Processes.Skipped[evidence.ReasonBudget] > 0 {
			return
		}
	}
	assert.Fail(t, "the limit was never reached")
}

func TestSampleEndsWithContext(t *testing.T) {
	s := samplerFor(t, testConfig())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sample, err := s.Sample(ctx, evidence.Target{ContainerID: "x", PID: os.Getpid()})
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, "x", sample.ContainerID)
}

func TestNewSamplerRejectsInvalidConfig(t *testing.T) {
	require.NoError(t, DefaultConfig().Validate())
	for want, change := range map[string]func(*Config){
		"proc_root":            func(c *Config) { c.ProcRoot = "proc" },
		"arguments mode":       func(c *Config) { c.Arguments = "some" },
		"expression 0":         func(c *Config) { c.Redact = []string{"("} },
		"max_cpu_fraction":     func(c *Config) { c.MaxCPUFraction = 1.5 },
		"max_bytes_per_minute": func(c *Config) { c.Limits.BytesPerMinute = 0 },
		"step_timeout":         func(c *Config) { c.Limits.Step = -1 },
		"cache_entries":        func(c *Config) { c.CacheEntries = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		_, err := NewSampler(c)
		require.ErrorContains(t, err, want)
	}
	c := DefaultConfig()
	c.ProcRoot = t.TempDir()
	_, err := NewSampler(c)
	require.ErrorContains(t, err, "shows no processes")
}
