// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/metric"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/delivery"
)

// logsExporter is what the pipeline sees: a lane for events and one for facts, over one connection.
type logsExporter struct {
	*connection

	events *delivery.Lane
	facts  *delivery.Lane // nil if callgraph_id is empty
}

func newLogsExporter(ctx context.Context, set exporter.Settings, cfg *Config) (*logsExporter, error) {
	c, err := newConnection(set, cfg)
	if err != nil {
		return nil, err
	}
	events, err := newEventSender(c)
	if err != nil {
		return nil, err
	}
	overflow := delivery.AsConfigured
	if cfg.DropOldest {
		overflow = delivery.EvictOldest
	}
	x := &logsExporter{connection: c}
	if x.events, err = c.newLane(ctx, set, laneEvents, events, overflow); err != nil {
		return nil, err
	}
	if cfg.CallgraphID == "" {
		set.Logger.Info("Runtime facts are off: samples of processes are not sent; set callgraph_id to send them")
		return x, nil
	}
	facts, err := newFactSender(c)
	if err != nil {
		return nil, err
	}
	set.ID = component.NewIDWithName(set.ID.Type(), set.ID.Name()+"-facts") // for the queue's storage and metrics
	if x.facts, err = c.newLane(ctx, set, laneFacts, facts, delivery.Refuse); err != nil {
		return nil, err
	}
	x.facts.YieldTo(x.events)
	return x, nil
}

func (c *connection) newLane(ctx context.Context, set exporter.Settings, name laneName, to delivery.Destination, overflow delivery.Overflow) (*delivery.Lane, error) {
	return delivery.NewLane(ctx, set, c.config, delivery.Options{
		Name: name.String(), Destination: to, Queue: c.config.QueueConfig, Retry: c.config.RetryConfig, Overflow: overflow, Now: c.now,
	})
}

// Start starts the connection before the lanes, which use it at once.
func (x *logsExporter) Start(ctx context.Context, host component.Host) error {
	if err := x.start(ctx, host); err != nil {
		return err
	}
	if err := x.observe(); err != nil {
		return err
	}
	if err := x.events.Start(ctx, host); err != nil {
		return fmt.Errorf("start the delivery of events: %w", err)
	}
	if x.facts == nil {
		return nil
	}
	if err := x.facts.Start(ctx, host); err != nil {
		return fmt.Errorf("start the delivery of facts: %w", err)
	}
	return nil
}

// Shutdown stops the lanes before the connection.
func (x *logsExporter) Shutdown(ctx context.Context) error {
	var factsErr error
	if x.facts != nil {
		factsErr = x.facts.Shutdown(ctx)
	}
	err := errors.Join(factsErr, x.events.Shutdown(ctx))
	x.shutdown()
	return err
}

// Capabilities returns those of the lanes, which are the same for both.
func (x *logsExporter) Capabilities() consumer.Capabilities { return x.events.Capabilities() }

// ConsumeLogs passes samples of processes to the lane of facts, if there is one, and all else to the lane of events.
func (x *logsExporter) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	if x.facts == nil {
		return x.events.ConsumeLogs(ctx, logs)
	}
	return splitter{x.events.ConsumeLogs, x.facts.ConsumeLogs, x.logger}.consume(ctx, logs)
}

// observe registers the metrics of what is not delivered.
func (x *logsExporter) observe() error {
	t := x.telemetry
	faults := []error{
		t.RegisterExporterZastavabackendOldestUndeliveredCallback(observeOldest(x.events)),
		t.RegisterExporterZastavabackendQueueBytesCallback(observeQueueBytes(x.events)),
		t.RegisterExporterZastavabackendOutageCapacityCallback(observeCapacity(x.events)),
	}
	if x.facts != nil {
		faults = append(faults,
			t.RegisterExporterZastavabackendFactsOldestUndeliveredCallback(observeOldest(x.facts)),
			t.RegisterExporterZastavabackendFactsQueueBytesCallback(observeQueueBytes(x.facts)))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("register the exporter's own metrics: %w", err)
	}
	return nil
}

func observeOldest(l *delivery.Lane) metric.Float64Callback {
	return func(_ context.Context, o metric.Float64Observer) error {
		o.Observe(l.OldestUndelivered().Seconds())
		return nil
	}
}

func observeQueueBytes(l *delivery.Lane) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		if size, known := l.QueueBytes(); known {
			o.Observe(size)
		}
		return nil
	}
}

func observeCapacity(l *delivery.Lane) metric.Float64Callback {
	return func(_ context.Context, o metric.Float64Observer) error {
		if seconds, known := l.OutageCapacity(); known {
			o.Observe(seconds)
		}
		return nil
	}
}
