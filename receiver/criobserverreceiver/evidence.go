// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/evidence/isolated"
	"github.com/zastava-otel/zastava/internal/evidence/procfs"
	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/sampling"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver/internal/metadata"
)

// samples schedules samples of running containers. It is nil if evidence is off. It delivers to the pipeline on its own, so that
// lifecycle records never wait for samples.
type samples struct {
	scheduler *sampling.Scheduler
	sampler   *isolated.Sampler
}

// newSamples returns nil if evidence is off or not possible on this system. The latter is logged.
func newSamples(cfg *Config, d *delivery, tel *telemetry, log *zap.Logger) (*samples, error) {
	if !cfg.Evidence.Enabled {
		return nil, nil //nolint:nilnil // off is not an error
	}
	sampler, err := isolated.NewSampler(isolated.Options{
		Config: cfg.Evidence.config(), Socket: cfg.Evidence.SamplerSocket, Log: logger{log.WithOptions(zap.AddCallerSkip(1)).Sugar()},
	})
	if err != nil {
		logNoEvidence(cfg.Evidence.explicit, log, err)
		return nil, nil //nolint:nilnil // lifecycle events do not need it
	}
	s := &samples{sampler: sampler}
	s.scheduler = sampling.New(sampling.Options{Resample: cfg.Evidence.ResampleInterval, Refresh: cfg.Evidence.RefreshInterval},
		sampler, &reports{d}, &sampleTelemetry{tel.builder})
	if err := tel.watchSamples(s); err != nil {
		return nil, errors.Join(err, sampler.Close())
	}
	return s, nil
}

// logNoEvidence logs why there is no evidence. A system without /proc is a warning only if the user set evidence.enabled.
func logNoEvidence(explicit bool, log *zap.Logger, err error) {
	if errors.Is(err, procfs.ErrUnsupported) && !explicit {
		log.Info("no process evidence: it needs /proc, which only Linux has; set evidence.enabled to false to remove this message")
		return
	}
	log.Warn("no process evidence: processes cannot be sampled here; set evidence.proc_root, or set evidence.enabled to false", zap.Error(err))
}

// run samples until ctx ends. client keeps the containers whose sampling is suspended; it is nil without a storage, and closed here.
func (s *samples) run(ctx context.Context, client storage.Client, log *zap.Logger) {
	if client != nil {
		s.sampler.Remember(ctx, suspensions{client})
	}
	s.scheduler.Run(ctx)
	err := s.sampler.Close()
	if client != nil {
		err = errors.Join(err, client.Close(context.Background()))
	}
	if err != nil {
		log.Warn("close the sampler failed", zap.Error(err))
	}
}

// suspensions keeps the containers whose sampling is suspended in the collector's storage.
type suspensions struct{ client storage.Client }

const suspensionsKey = "suspended"

func (s suspensions) Load(ctx context.Context) ([]byte, error) {
	return s.client.Get(ctx, suspensionsKey)
}

func (s suspensions) Save(ctx context.Context, text []byte) error {
	return s.client.Set(ctx, suspensionsKey, text)
}

// schedule starts sampling the runs that began and ends that of the runs that ended. It never blocks.
func (s *samples) schedule(items []observer.Item) {
	if s == nil {
		return
	}
	for i := range items {
		for j := range items[i].Transitions {
			t := &items[i].Transitions[j]
			switch t.Kind {
			case container.KindStarted, container.KindRestarted:
				s.scheduler.Began(sampling.Run{Runtime: t.Container.Runtime, Container: t.Container, Run: t.Run, RestartCount: t.RestartCount, Start: t})
			case container.KindStopped, container.KindRemoved:
				s.scheduler.Ended(t.Container.Runtime, t.Container.ID)
			default: // the run continues
			}
		}
	}
}

// withPIDReader makes the scheduler ask the runtime for process ids that starts do not have. A runtime behind tcp:// may be on
// another machine, and a user's runtime may report any process: of both, only what the cgroup says is believed.
func (s *samples) withPIDReader(name string, rc RuntimeConfig, open observer.Open) observer.Open {
	if s == nil {
		return open
	}
	if strings.HasPrefix(rc.Endpoint, "tcp://") || rc.foreign() {
		s.scheduler.Elsewhere(name)
	}
	return func(ctx context.Context) (runtime.Runtime, runtime.Info, error) {
		rt, info, err := open(ctx)
		if reader, ok := rt.(runtime.PIDReader); ok && err == nil {
			s.scheduler.SetPID(name, reader.PID)
		}
		return rt, info, err
	}
}

// withRestoredRuns also samples the running containers of a checkpoint, because their starts are not reported again.
func (s *samples) withRestoredRuns(cp observer.Checkpoint) observer.Checkpoint {
	if s == nil || cp == nil {
		return cp
	}
	return &samplingCheckpoint{cp, s.scheduler}
}

type samplingCheckpoint struct {
	observer.Checkpoint
	scheduler *sampling.Scheduler
}

// Load passes the running containers to the scheduler, without their process ids: those may be out of date, so the scheduler
// asks the runtime.
func (r *samplingCheckpoint) Load(ctx context.Context) (observer.Remembered, error) {
	was, err := r.Checkpoint.Load(ctx)
	for _, k := range was.Containers {
		if k.State == container.StateRunning || k.State == container.StatePaused {
			run := k.Run
			run.PID = 0
			r.scheduler.Began(sampling.Run{Runtime: k.Container.Runtime, Container: k.Container, Run: run, RestartCount: k.RestartCount})
		}
	}
	return was, err
}

// reports delivers reports to the next consumer.
type reports struct{ *delivery }

// Deliver retries a report until it is accepted, or refused permanently and counted.
func (d *reports) Deliver(ctx context.Context, r *sampling.Report) error {
	wait := retry.NewBackOff(d.cfg.backOff())
	for {
		logs := d.encodeReport(r) // again each time: the pipeline may have changed the previous one
		if done, err := d.push(ctx, logs, "the pipeline refused a sample permanently; it is lost"); done {
			return err
		}
		if !retry.Sleep(ctx, wait.NextBackOff()) {
			return ctx.Err()
		}
	}
}

func (d *delivery) encodeReport(r *sampling.Report) plog.Logs {
	batch := d.encoder.NewBatch()
	batch.AppendSampled(&record.Sampled{
		Container: r.Container, RestartCount: r.RestartCount, RunStartedAt: r.Run.Run.StartedAt, Sequence: r.Sequence, Sample: r.Sample, Hits: r.Hits,
	})
	if r.Complete && r.Start != nil {
		batch.AppendEvidence(r.Start, &r.Sample)
	}
	return batch.Logs()
}

// sampleTelemetry counts samples.
type sampleTelemetry struct{ builder *metadata.TelemetryBuilder }

func (t *sampleTelemetry) Sampled(outcome string, s *evidence.Sample) {
	ctx := context.Background()
	t.builder.CriobserverSamples.Add(ctx, 1, with("outcome", outcome))
	if s == nil {
		return
	}
	t.builder.CriobserverSampleBytes.Add(ctx, s.Coverage.BytesRead)
	if n := s.Coverage.Files.Read; n > 0 {
		t.builder.CriobserverSampleFiles.Add(ctx, int64(n), with("outcome", "hashed"))
	}
	for reason, n := range s.Coverage.Files.Skipped {
		t.builder.CriobserverSampleFiles.Add(ctx, int64(n), with("outcome", string(reason)))
	}
}

func (t *sampleTelemetry) Missed(reason string) {
	t.builder.CriobserverSampleMissed.Add(context.Background(), 1, with("reason", reason))
}

func with(key, value string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String(key, value)))
}

// watchSamples registers the asynchronous metrics of the sampler.
func (t *telemetry) watchSamples(s *samples) error {
	return errors.Join(
		t.builder.RegisterCriobserverSampleCPUCallback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(s.sampler.Stats().CPU.Seconds())
			return nil
		}),
		t.builder.RegisterCriobserverSampleWaitCallback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(s.sampler.Stats().Waited.Seconds())
			return nil
		}),
		t.builder.RegisterCriobserverSamplerStartsCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(s.sampler.Stats().Processes))
			return nil
		}),
		t.builder.RegisterCriobserverSamplerFailuresCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(s.sampler.Stats().Ended))
			return nil
		}),
		t.builder.RegisterCriobserverSamplerSuspendedContainersCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(s.sampler.Stats().Suspended))
			return nil
		}),
		t.builder.RegisterCriobserverSampledContainersCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(s.scheduler.Len()))
			return nil
		}),
	)
}
