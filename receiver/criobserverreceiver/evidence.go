// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/evidence/procfs"
	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/sampling"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver/internal/metadata"
)

// sampled has the processes of the runs that go on looked at. Nil: evidence is off. It goes its own way to the pipeline, so
// that lifecycle records never wait for it.
type sampled struct {
	scheduler *sampling.Scheduler
	sampler   *procfs.Sampler
}

// newSampled gives nil where evidence is off, or cannot be had here, which the log says once.
func newSampled(cfg *Config, d *delivery, tel *telemetry, log *zap.Logger) (*sampled, error) {
	if !cfg.Evidence.Enabled {
		return nil, nil //nolint:nilnil // off is no fault
	}
	sampler, err := procfs.NewSampler(cfg.Evidence.config())
	if err != nil {
		sayNoEvidence(cfg.Evidence.asked, log, err)
		return nil, nil //nolint:nilnil // lifecycle events go on without it
	}
	s := &sampled{sampler: sampler}
	s.scheduler = sampling.New(sampling.Options{Resample: cfg.Evidence.ResampleInterval, Refresh: cfg.Evidence.RefreshInterval},
		sampler, &reports{d}, &sampleTelemetry{tel.builder})
	if err := tel.watchSamples(s); err != nil {
		return nil, errors.Join(err, sampler.Close())
	}
	return s, nil
}

// sayNoEvidence says why there is none. That a system has no /proc is no fault, and news only to who asked for evidence.
func sayNoEvidence(asked bool, log *zap.Logger, err error) {
	if errors.Is(err, procfs.ErrUnsupported) && !asked {
		log.Info("no process evidence: it is read from /proc, which only Linux has; set evidence.enabled to false to not be told")
		return
	}
	log.Warn("no process evidence: processes cannot be looked at here; set evidence.proc_root, or evidence.enabled to false", zap.Error(err))
}

func (s *sampled) run(ctx context.Context, log *zap.Logger) {
	s.scheduler.Run(ctx)
	if err := s.sampler.Close(); err != nil {
		log.Warn("closing the sampler failed", zap.Error(err))
	}
}

// took notes what transitions tell of runs. It never blocks.
func (s *sampled) took(items []observer.Item) {
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
			default: // the run goes on
			}
		}
	}
}

// asking has the runtime asked for process ids that no start told. One behind tcp:// is often on this machine, behind a proxy, but
// need not be.
func (s *sampled) asking(name, endpoint string, open observer.Open) observer.Open {
	if s == nil {
		return open
	}
	if strings.HasPrefix(endpoint, "tcp://") {
		s.scheduler.Elsewhere(name)
	}
	return func(ctx context.Context) (runtime.Runtime, runtime.Info, error) {
		rt, info, err := open(ctx)
		if reader, ok := rt.(runtime.PIDReader); ok && err == nil {
			s.scheduler.Asks(name, reader.PID)
		}
		return rt, info, err
	}
}

// remembering has the runs looked at that a checkpoint says go on: their starts are not told again.
func (s *sampled) remembering(cp observer.Checkpoint) observer.Checkpoint {
	if s == nil || cp == nil {
		return cp
	}
	return &remembered{cp, s.scheduler}
}

type remembered struct {
	observer.Checkpoint
	scheduler *sampling.Scheduler
}

// Load tells the scheduler what was loaded. The process ids are from then: who asks the runtime gets those of now.
func (r *remembered) Load(ctx context.Context) (observer.Remembered, error) {
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

// reports hands reports to the next consumer.
type reports struct{ *delivery }

// Deliver offers a report until it is accepted, or refused for good and counted.
func (d *reports) Deliver(ctx context.Context, r *sampling.Report) error {
	wait := d.backoff()
	for {
		logs := d.encodeReport(r) // anew: the pipeline may have changed what it was given
		if done, err := d.offer(ctx, logs, "the pipeline refused a sample for good; it is lost"); done {
			return err
		}
		if !sleep(ctx, wait.NextBackOff()) {
			return ctx.Err()
		}
	}
}

func (d *delivery) encodeReport(r *sampling.Report) plog.Logs {
	batch := d.encoder.NewBatch()
	batch.AppendSampled(&record.Sampled{
		Container: r.Container, RestartCount: r.RestartCount, RunStartedAt: r.Run.Run.StartedAt, Sequence: r.Sequence, Sample: r.Sample, Hits: r.Hits,
	})
	if r.Whole && r.Start != nil {
		batch.AppendEvidence(r.Start, &r.Sample)
	}
	return batch.Logs()
}

// sampleTelemetry counts looks.
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

// watchSamples has the asynchronous metrics read a sampler.
func (t *telemetry) watchSamples(s *sampled) error {
	return errors.Join(
		t.builder.RegisterCriobserverSampleCPUCallback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(s.sampler.Stats().CPU.Seconds())
			return nil
		}),
		t.builder.RegisterCriobserverSampleWaitCallback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(s.sampler.Stats().Waited.Seconds())
			return nil
		}),
		t.builder.RegisterCriobserverSampledContainersCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(s.scheduler.Len()))
			return nil
		}),
	)
}
