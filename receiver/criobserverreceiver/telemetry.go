// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver/internal/metadata"
)

// telemetry is the receiver's own metrics, by runtime.
type telemetry struct {
	builder *metadata.TelemetryBuilder

	mu    sync.Mutex
	stats map[string]func() observer.Stats
}

func newTelemetry(set component.TelemetrySettings) (*telemetry, error) {
	builder, err := metadata.NewTelemetryBuilder(set)
	if err != nil {
		return nil, err
	}
	t := &telemetry{builder: builder, stats: map[string]func() observer.Stats{}}
	ints := func(value func(observer.Stats) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			t.each(func(name metric.MeasurementOption, s observer.Stats) {
				o.Observe(value(s), name.(metric.ObserveOption))
			})
			return nil
		}
	}
	for _, register := range []func() error{
		func() error {
			return builder.RegisterCriobserverTrackedContainersCallback(ints(func(s observer.Stats) int64 { return int64(s.Tracked) }))
		},
		func() error {
			return builder.RegisterCriobserverOutboxCallback(ints(func(s observer.Stats) int64 { return int64(s.Outbox) }))
		},
		func() error {
			return builder.RegisterCriobserverStreamUpCallback(ints(func(s observer.Stats) int64 {
				if s.Streaming {
					return 1
				}
				return 0
			}))
		},
		func() error {
			return builder.RegisterCriobserverListAgeCallback(func(_ context.Context, o metric.Float64Observer) error {
				t.each(func(name metric.MeasurementOption, s observer.Stats) {
					if !s.LastGoodList.IsZero() {
						o.Observe(time.Since(s.LastGoodList).Seconds(), name.(metric.ObserveOption))
					}
				})
				return nil
			})
		},
	} {
		if err := register(); err != nil {
			builder.Shutdown()
			return nil, err
		}
	}
	return t, nil
}

// watch adds the stats of a runtime to the gauges.
func (t *telemetry) watch(name string, stats func() observer.Stats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats[name] = stats
}

func (t *telemetry) each(f func(metric.MeasurementOption, observer.Stats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, stats := range t.stats {
		f(runtimeAttribute(name), stats())
	}
}

func (t *telemetry) shutdown() { t.builder.Shutdown() }

func (t *telemetry) dropped(n int) {
	t.builder.CriobserverRecordsDropped.Add(context.Background(), int64(n))
}

func (t *telemetry) refused(n int) {
	t.builder.CriobserverRecordsRefused.Add(context.Background(), int64(n))
}

// of returns the counters of one runtime.
func (t *telemetry) of(name string) *runtimeTelemetry {
	return &runtimeTelemetry{builder: t.builder, runtime: runtimeAttribute(name), name: name}
}

// setAside returns a function that counts entries without a valid id of one runtime, and logs the first.
func (t *telemetry) setAside(name string, log *zap.Logger) func(int) {
	var first sync.Once
	return func(n int) {
		if n == 0 {
			return
		}
		t.builder.CriobserverEntriesSetAside.Add(context.Background(), int64(n), runtimeAttribute(name))
		first.Do(func() {
			log.Warn("the runtime reports containers whose ids are not valid; they are not observed, and counted as otelcol_criobserver_entries_set_aside")
		})
	}
}

func runtimeAttribute(name string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("runtime", name)))
}

// runtimeTelemetry is the counters of one observer.
type runtimeTelemetry struct {
	builder *metadata.TelemetryBuilder
	runtime metric.MeasurementOption
	name    string
}

var _ observer.Telemetry = (*runtimeTelemetry)(nil)

func (t *runtimeTelemetry) Listed(d time.Duration, err error) {
	t.builder.CriobserverListDuration.Record(context.Background(), d.Seconds(), t.runtime)
	if err != nil {
		t.builder.CriobserverListErrors.Add(context.Background(), 1, t.runtime)
	}
}

func (t *runtimeTelemetry) Transitions(kind container.Kind, n int) {
	t.builder.CriobserverTransitions.Add(context.Background(), int64(n), t.with("kind", kind.String()))
}

func (t *runtimeTelemetry) Gap(cause string) {
	t.builder.CriobserverGaps.Add(context.Background(), 1, t.with("cause", cause))
}

func (t *runtimeTelemetry) with(key, value string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("runtime", t.name), attribute.String(key, value)))
}

func (t *runtimeTelemetry) InspectFailed() {
	t.builder.CriobserverInspectErrors.Add(context.Background(), 1, t.runtime)
}

func (t *runtimeTelemetry) Reconnected() {
	t.builder.CriobserverReconnects.Add(context.Background(), 1, t.runtime)
}

func (t *runtimeTelemetry) MailboxOverflowed() {
	t.builder.CriobserverMailboxOverflows.Add(context.Background(), 1, t.runtime)
}

func (t *runtimeTelemetry) Coalesced(n int) {
	t.builder.CriobserverFolded.Add(context.Background(), int64(n), t.runtime)
}

func (t *runtimeTelemetry) CheckpointFailed() {
	t.builder.CriobserverCheckpointErrors.Add(context.Background(), 1, t.runtime)
}
