// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"context"
	"errors"
	"fmt"
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

// lookers counts looks, each of which shows the same file.
type lookers struct{ looks atomic.Int64 }

func (l *lookers) Sample(_ context.Context, target evidence.Target) (evidence.Sample, error) {
	l.looks.Add(1)
	return evidence.Sample{
		ContainerID: target.ContainerID, TakenAt: time.Now(),
		Processes: []evidence.Process{{PID: target.PID, Main: true, Name: "api"}},
		Files:     []evidence.File{{Path: "/lib/a.so", Kind: evidence.KindLibrary, SHA256: evidence.Present("ab")}},
	}, nil
}

func TestHitsThatAreNotToldYetAreToldAtShutdown(t *testing.T) {
	if goruntime.GOOS != "linux" {
		t.Skip("there is no process evidence here")
	}
	sink, looks := new(consumertest.LogsSink), new(lookers)
	cfg := quick("unix:///nowhere.sock")
	cfg.Evidence.Enabled = true
	r, err := newReceiver(cfg, receivertest.NewNopSettings(metadata.Type), sink)
	require.NoError(t, err)
	s := r.delivery.samples
	require.NotNil(t, s)
	const often = 5 * time.Millisecond
	s.scheduler = sampling.New(sampling.Options{First: often, Second: often, Resample: often}, looks, &reports{r.delivery}, &sampleTelemetry{r.tel.builder})
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	s.scheduler.Began(sampling.Run{Runtime: "main", Container: &container.Container{Engine: "containerd", ID: "1"}, Run: container.Run{StartedAt: time.Now(), PID: 7}})
	eventually(t, func() bool { return looks.looks.Load() > 5 }, "looks")
	require.NoError(t, r.Shutdown(context.Background()))

	told := int64(0)
	for _, logs := range sink.AllLogs() {
		eachRecord(logs, func(lr plog.LogRecord) {
			files, ok := lr.Attributes().Get(record.AttrSampleFiles)
			if !ok {
				return
			}
			for _, f := range files.Slice().All() {
				hits, _ := f.Map().Get("hits")
				told += hits.Int()
			}
		})
	}
	assert.Equal(t, looks.looks.Load(), told, "each look counts")
}

// targets remembers what is looked at.
type targets struct{ seen chan evidence.Target }

func (l targets) Sample(_ context.Context, target evidence.Target) (evidence.Sample, error) {
	l.seen <- target
	return evidence.Sample{}, nil
}

func TestAnEndpointOnTCPMayBeElsewhere(t *testing.T) {
	looks := targets{make(chan evidence.Target, 2)}
	r, err := newReceiver(quick("unix:///nowhere.sock"), receivertest.NewNopSettings(metadata.Type), consumertest.NewNop())
	require.NoError(t, err)
	s := &sampled{scheduler: sampling.New(sampling.Options{First: time.Millisecond}, looks, &reports{r.delivery}, &sampleTelemetry{r.tel.builder})}
	s.asking("far", "tcp://127.0.0.1:2375", nil)
	s.asking("near", "unix:///run/docker.sock", nil)
	for id, name := range map[string]string{"1": "far", "2": "near"} {
		s.scheduler.Began(sampling.Run{Runtime: name, Container: &container.Container{ID: id}, Run: container.Run{StartedAt: time.Now(), PID: 7}})
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.scheduler.Run(ctx) }()
	for range 2 {
		target := <-looks.seen
		assert.Equal(t, target.ContainerID == "1", target.Elsewhere)
	}
	stop()
	<-done
}

func TestOnlyWhoAskedForEvidenceIsWarnedThatThereIsNone(t *testing.T) {
	unsupported := fmt.Errorf("here: %w", procfs.ErrUnsupported)
	for name, test := range map[string]struct {
		evidence map[string]any
		err      error
		want     zapcore.Level
	}{
		"left at the default":             {nil, unsupported, zapcore.InfoLevel},
		"other options set":               {map[string]any{"arguments": "none"}, unsupported, zapcore.InfoLevel},
		"turned on":                       {map[string]any{"enabled": true}, unsupported, zapcore.WarnLevel},
		"a proc_root that is none":        {map[string]any{"proc_root": "/nowhere"}, errors.New("shows no processes"), zapcore.WarnLevel},
		"turned on, proc_root that isn't": {map[string]any{"enabled": true}, errors.New("shows no processes"), zapcore.WarnLevel},
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
			sayNoEvidence(cfg.Evidence.asked, zap.New(core), test.err)
			require.Equal(t, 1, logs.Len())
			assert.Equal(t, test.want, logs.All()[0].Level)
		})
	}
}

// TestEvidenceWhereThereIsNoProc starts the receiver with its defaults on a system without /proc.
func TestEvidenceWhereThereIsNoProc(t *testing.T) {
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
