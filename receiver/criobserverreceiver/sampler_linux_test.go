// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver/internal/metadata"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver/internal/metadatatest"
)

// samplerProcess returns the id of the sampler that this process has started, 0 if none runs.
func samplerProcess(t *testing.T) int {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, file := range found {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(after)
		cmdline, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if err == nil && len(fields) > 1 && fields[0] != "Z" && fields[1] == strconv.Itoa(os.Getpid()) && strings.HasPrefix(string(cmdline), "zastava-sampler\x00") {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			require.NoError(t, err)
			return pid
		}
	}
	return 0
}

func TestSamplerProcessesAreCounted(t *testing.T) {
	tel := componenttest.NewTelemetry()
	t.Cleanup(func() { assert.NoError(t, tel.Shutdown(context.Background())) })
	set := receivertest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = tel.NewTelemetrySettings()
	cfg := quick("unix:///nowhere.sock")
	cfg.Evidence.Enabled = true
	r, err := newReceiver(cfg, set, consumertest.NewNop())
	require.NoError(t, err)
	sampler := r.delivery.samples.sampler
	t.Cleanup(func() { assert.NoError(t, sampler.Close()) })
	counts := func(starts, failures, suspended int64) {
		t.Helper()
		metadatatest.AssertEqualCriobserverSamplerStarts(t, tel, []metricdata.DataPoint[int64]{{Value: starts}}, metricdatatest.IgnoreTimestamp())
		metadatatest.AssertEqualCriobserverSamplerFailures(t, tel, []metricdata.DataPoint[int64]{{Value: failures}}, metricdatatest.IgnoreTimestamp())
		metadatatest.AssertEqualCriobserverSamplerSuspendedContainers(t, tel, []metricdata.DataPoint[int64]{{Value: suspended}}, metricdatatest.IgnoreTimestamp())
	}
	counts(0, 0, 0)

	sleeper := exec.CommandContext(t.Context(), "sleep", "3600")
	require.NoError(t, sleeper.Start())
	t.Cleanup(func() {
		_ = sleeper.Process.Kill()
		_ = sleeper.Wait()
	})
	target := evidence.Target{ContainerID: strings.Repeat("a", 64), PID: sleeper.Process.Pid}
	_, err = sampler.Sample(t.Context(), target)
	require.NoError(t, err)
	counts(1, 0, 0)

	pid := samplerProcess(t)
	require.NotZero(t, pid)
	require.NoError(t, unix.Kill(pid, unix.SIGKILL))
	eventually(t, func() bool { return samplerProcess(t) == 0 }, "the end of the sampler process")
	suspended := int64(0) // the container, if the end was noticed only by the next sample
	eventually(t, func() bool {
		if sampler.Stats().Suspended > 0 {
			suspended, target.ContainerID = 1, strings.Repeat("b", 64)
		}
		_, err = sampler.Sample(t.Context(), target)
		return err == nil && sampler.Stats().Processes == 2
	}, "a sample by another process")
	counts(2, 1, suspended)
}
