// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"context"
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	zapobserver "go.uber.org/zap/zaptest/observer"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/evidence/procfs"
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/internal/sampling"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver/internal/metadata"
)

// countingSampler counts its samples. Each has the same file.
type countingSampler struct{ samples atomic.Int64 }

func (l *countingSampler) Sample(_ context.Context, target evidence.Target) (evidence.Sample, error) {
	l.samples.Add(1)
	return evidence.Sample{
		ContainerID: target.ContainerID, TakenAt: time.Now(),
		Processes: []evidence.Process{{PID: target.PID, Main: true, Name: "api"}},
		Files:     []evidence.File{{Path: "/lib/a.so", Kind: evidence.KindLibrary, SHA256: evidence.Present("ab")}},
	}, nil
}

func TestPendingHitsAreReportedAtShutdown(t *testing.T) {
	if goruntime.GOOS != "linux" {
		t.Skip("there is no process evidence here")
	}
	sink, sampler := new(consumertest.LogsSink), new(countingSampler)
	cfg := quick("unix:///nowhere.sock")
	cfg.Evidence.Enabled = true
	r, err := newReceiver(cfg, receivertest.NewNopSettings(metadata.Type), sink)
	require.NoError(t, err)
	s := r.delivery.samples
	require.NotNil(t, s)
	const often = 5 * time.Millisecond
	s.scheduler = sampling.New(sampling.Options{First: often, Second: often, Resample: often}, sampler, &reports{r.delivery}, &sampleTelemetry{r.tel.builder})
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	s.scheduler.Began(sampling.Run{Runtime: "main", Container: &container.Container{Engine: "containerd", ID: "1"}, Run: container.Run{StartedAt: time.Now(), PID: 7}})
	eventually(t, func() bool { return sampler.samples.Load() > 5 }, "samples")
	require.NoError(t, r.Shutdown(context.Background()))

	reported := int64(0)
	for _, logs := range sink.AllLogs() {
		eachRecord(logs, func(lr plog.LogRecord) {
			files, ok := lr.Attributes().Get(record.AttrSampleFiles)
			if !ok {
				return
			}
			for _, f := range files.Slice().All() {
				hits, _ := f.Map().Get("hits")
				reported += hits.Int()
			}
		})
	}
	assert.Equal(t, sampler.samples.Load(), reported, "each sample counts")
}

// targets records the targets of samples.
type targets struct{ seen chan evidence.Target }

func (l targets) Sample(_ context.Context, target evidence.Target) (evidence.Sample, error) {
	l.seen <- target
	return evidence.Sample{}, nil
}

func TestTargetIsMarkedElsewhereWhenTheRuntimeMayBeWrongAboutIt(t *testing.T) {
	sampler := targets{make(chan evidence.Target, 3)}
	user := int64(os.Geteuid() + 1000)
	r, err := newReceiver(quick("unix:///nowhere.sock"), receivertest.NewNopSettings(metadata.Type), consumertest.NewNop())
	require.NoError(t, err)
	s := &samples{scheduler: sampling.New(sampling.Options{First: time.Millisecond}, sampler, &reports{r.delivery}, &sampleTelemetry{r.tel.builder})}
	s.withPIDReader("far", RuntimeConfig{Endpoint: "tcp://127.0.0.1:2375"}, nil)
	s.withPIDReader("near", RuntimeConfig{Endpoint: "unix:///run/docker.sock"}, nil)
	s.withPIDReader("user's", RuntimeConfig{Endpoint: "unix:///run/user/1000/docker.sock", Owner: &user}, nil)
	for id, name := range map[string]string{"1": "far", "2": "near", "3": "user's"} {
		s.scheduler.Began(sampling.Run{Runtime: name, Container: &container.Container{ID: id}, Run: container.Run{StartedAt: time.Now(), PID: 7}})
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.scheduler.Run(ctx) }()
	for range 3 {
		target := <-sampler.seen
		assert.Equal(t, target.ContainerID != "2", target.Elsewhere)
	}
	stop()
	<-done
}

func TestMissingEvidenceIsAWarningOnlyWhenItWasConfigured(t *testing.T) {
	unsupported := fmt.Errorf("here: %w", procfs.ErrUnsupported)
	for name, test := range map[string]struct {
		evidence map[string]any
		err      error
		want     zapcore.Level
	}{
		"default":                         {nil, unsupported, zapcore.InfoLevel},
		"other options set":               {map[string]any{"arguments": "none"}, unsupported, zapcore.InfoLevel},
		"turned on":                       {map[string]any{"enabled": true}, unsupported, zapcore.WarnLevel},
		"an invalid proc_root":            {map[string]any{"proc_root": "/nowhere"}, errors.New("shows no processes"), zapcore.WarnLevel},
		"turned on, an invalid proc_root": {map[string]any{"enabled": true}, errors.New("shows no processes"), zapcore.WarnLevel},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := createDefaultConfig().(*Config)
			given := map[string]any{}
			if test.evidence != nil {
				given["evidence"] = test.evidence
			}
			require.NoError(t, confmap.NewFromStringMap(given).Unmarshal(cfg))
			assert.True(t, cfg.Evidence.Enabled)
			core, logs := zapobserver.New(zapcore.InfoLevel)
			logNoEvidence(cfg.Evidence.explicit, zap.New(core), test.err)
			require.Equal(t, 1, logs.Len())
			assert.Equal(t, test.want, logs.All()[0].Level)
		})
	}
}

func TestReceiverStartsWithoutEvidenceWhenThereIsNoProc(t *testing.T) {
	if goruntime.GOOS == "linux" {
		t.Skip("there is process evidence here")
	}
	core, logs := zapobserver.New(zapcore.InfoLevel)
	set := receivertest.NewNopSettings(metadata.Type)
	set.Logger = zap.New(core)
	r, err := newReceiver(createDefaultConfig().(*Config), set, consumertest.NewNop())
	require.NoError(t, err)
	assert.Nil(t, r.delivery.samples)
	require.Equal(t, 1, logs.Len())
	assert.Equal(t, zapcore.InfoLevel, logs.All()[0].Level)
}
