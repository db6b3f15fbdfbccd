// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configcompression"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/metadata"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

const (
	defaultTimeout      = 30 * time.Second
	defaultFlushTimeout = 200 * time.Millisecond

	defaultReadIdleTimeout = 10 * time.Second // then a ping
	defaultPingTimeout     = 5 * time.Second  // without an answer to it, another connection is made

	defaultQuarantineFileBytes  = 16 << 20
	defaultQuarantineTotalBytes = 128 << 20
)

// NewFactory creates the factory of the exporter.
func NewFactory() exporter.Factory {
	return exporter.NewFactory(
		metadata.Type,
		createDefaultConfig,
		exporter.WithLogs(createLogs, metadata.LogsStability),
	)
}

func createDefaultConfig() component.Config {
	client := confighttp.NewDefaultClientConfig()
	client.Timeout = defaultTimeout
	client.Compression = configcompression.TypeGzip
	client.WriteBufferSize = 512 << 10 // a batch in few writes, as in the collector's otlphttp exporter
	// Without these, a connection whose packets are dropped silently is kept for minutes: requests fail one timeout after another.
	client.HTTP2ReadIdleTimeout = defaultReadIdleTimeout
	client.HTTP2PingTimeout = defaultPingTimeout

	retry := configretry.NewDefaultBackOffConfig()
	retry.MaxElapsedTime = 0 // what happened must arrive, however long the backend is unreachable

	queue := exporterhelper.NewDefaultQueueConfig()
	queue.BlockOnOverflow = true // the observer waits and coalesces transitions; to drop would lose events
	// Lifecycle events arrive a few at a time; without batching each would be a request of its own.
	queue.Batch = configoptional.Some(exporterhelper.BatchConfig{
		FlushTimeout: defaultFlushTimeout,
		Sizer:        exporterhelper.RequestSizerTypeItems,
		MinSize:      backendapi.MaxEventsPerBatch,
	})

	return &Config{
		ClientConfig:   client,
		QueueConfig:    configoptional.Some(queue),
		RetryConfig:    retry,
		EventKinds:     eventKindsAll,
		TenantHeader:   backendapi.HeaderTenant,
		EventsPath:     backendapi.EventsPath,
		FactsPath:      backendapi.FactsNDJSONPath,
		MaxBatchEvents: backendapi.MaxEventsPerBatch,
		MaxBatchBytes:  backendapi.MaxBatchBytes,
		Quarantine:     QuarantineConfig{MaxFileBytes: defaultQuarantineFileBytes, MaxTotalBytes: defaultQuarantineTotalBytes},
	}
}

func createLogs(ctx context.Context, set exporter.Settings, cfg component.Config) (exporter.Logs, error) {
	config, ok := cfg.(*Config)
	if !ok {
		return nil, fmt.Errorf("configuration is a %T, not a %T", cfg, config)
	}
	return newLogsExporter(ctx, set, config)
}
