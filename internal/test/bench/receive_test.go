// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bench

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver"
)

// receive starts the receiver for a containerd. It returns the function that ends it.
func receive(b *testing.B, c *privateruntime.Containerd, stream criobserverreceiver.Stream, r *reader) (stop func()) {
	b.Helper()
	return receiveWith(b, r, nil, func(cfg *criobserverreceiver.Config) {
		cfg.Runtimes = []criobserverreceiver.RuntimeConfig{{Endpoint: c.Endpoint(), Stream: stream}}
		cfg.PollInterval = polled
	})
}

// receiveWith starts the receiver with a configuration. Its consumer notes starts and ends in r, and calls sampled, unless it is nil, for
// each record with evidence. It returns the function that ends the receiver.
func receiveWith(b *testing.B, r *reader, sampled func(), configure func(*criobserverreceiver.Config)) (stop func()) {
	b.Helper()
	factory := criobserverreceiver.NewFactory()
	cfg := factory.CreateDefaultConfig().(*criobserverreceiver.Config)
	configure(cfg)
	started, stopped := record.EventName(container.KindStarted), record.EventName(container.KindStopped)
	next, err := consumer.NewLogs(func(_ context.Context, logs plog.Logs) error {
		now := time.Now()
		for _, rl := range logs.ResourceLogs().All() {
			id, _ := rl.Resource().Attributes().Get(record.AttrContainerID)
			for _, sl := range rl.ScopeLogs().All() {
				for _, lr := range sl.LogRecords().All() {
					switch lr.EventName() {
					case started:
						r.note(id.Str(), false, now)
					case stopped:
						r.note(id.Str(), true, now)
					case record.EventProcessSampled:
						if sampled != nil {
							sampled()
						}
					}
				}
			}
		}
		return nil
	})
	require.NoError(b, err)
	rcv, err := factory.CreateLogs(b.Context(), receivertest.NewNopSettings(factory.Type()), cfg, next)
	require.NoError(b, err)
	require.NoError(b, rcv.Start(b.Context(), componenttest.NewNopHost()))
	return func() { require.NoError(b, rcv.Shutdown(context.Background())) }
}
