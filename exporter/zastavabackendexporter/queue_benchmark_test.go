// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/exporter/otlphttpexporter"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/extension/zastavastorageextension"
)

// BenchmarkQueueOnDisk sends the same records through this exporter and through otlphttp, each behind the same queue on disk with
// fsync, in turn: on zastavastorage, and on file_storage. It reports events/s from the first enqueued to the last delivered.
func BenchmarkQueueOnDisk(b *testing.B) {
	storages := map[string]func(*testing.B) component.Component{
		"zastavastorage": func(b *testing.B) component.Component {
			cfg := zastavastorageextension.NewFactory().CreateDefaultConfig().(*zastavastorageextension.Config)
			cfg.Directory = b.TempDir()
			return startStorage(b, zastavastorageextension.NewFactory(), cfg)
		},
		"file_storage": func(b *testing.B) component.Component {
			cfg := filestorage.NewFactory().CreateDefaultConfig().(*filestorage.Config)
			cfg.Directory, cfg.FSync = b.TempDir(), true
			return startStorage(b, filestorage.NewFactory(), cfg)
		},
	}
	for _, name := range []string{"zastavastorage", "file_storage"} {
		for _, size := range []int{1, 256} {
			b.Run(name+"/events="+strconv.Itoa(size), func(b *testing.B) { benchmarkQueue(b, size, storages[name]) })
		}
	}
}

func startStorage(tb testing.TB, f extension.Factory, cfg component.Config) component.Component {
	tb.Helper()
	ext, err := f.Create(context.Background(), extensiontest.NewNopSettings(f.Type()), cfg)
	require.NoError(tb, err)
	require.NoError(tb, ext.Start(context.Background(), componenttest.NewNopHost()))
	tb.Cleanup(func() { require.NoError(tb, ext.Shutdown(context.Background())) })
	return ext
}

func benchmarkQueue(b *testing.B, size int, storage func(*testing.B) component.Component) {
	b.Helper()
	id := component.MustNewID("disk")
	queue := exporterhelper.NewDefaultQueueConfig()
	queue.StorageID, queue.BlockOnOverflow, queue.NumConsumers = &id, true, 4
	queue.Sizer, queue.QueueSize = exporterhelper.RequestSizerTypeItems, 1_000_000
	queue.Batch = configoptional.Some(exporterhelper.BatchConfig{
		FlushTimeout: 200 * time.Millisecond, Sizer: exporterhelper.RequestSizerTypeItems, MinSize: 256, MaxSize: 256,
	})

	var delivered [2]*atomic.Int64
	begin := func(n int, f exporter.Factory, cfg component.Config) exporter.Logs {
		exp, err := f.CreateLogs(context.Background(), exportertest.NewNopSettings(f.Type()), cfg)
		require.NoError(b, err)
		host := extensions{componenttest.NewNopHost(), map[component.ID]component.Component{id: storage(b)}}
		require.NoError(b, exp.Start(context.Background(), host))
		b.Cleanup(func() { require.NoError(b, exp.Shutdown(context.Background())) })
		require.NotNil(b, delivered[n])
		return exp
	}
	ourURL, ourRequests := countRequests(b)
	delivered[0] = ourRequests
	ours := createDefaultConfig().(*Config)
	ours.ClientConfig.Endpoint, ours.Tenant, ours.QueueConfig = ourURL, "acme", configoptional.Some(queue)
	our := begin(0, NewFactory(), ours)
	theirURL, theirRequests := countRequests(b)
	delivered[1] = theirRequests
	theirs := otlphttpexporter.NewFactory().CreateDefaultConfig().(*otlphttpexporter.Config)
	theirs.ClientConfig.Endpoint, theirs.QueueConfig = theirURL, configoptional.Some(queue)
	their := begin(1, otlphttpexporter.NewFactory(), theirs)

	master := stops(size)
	const turn = 4 * 256 // events
	send := func(exp exporter.Logs, requests *atomic.Int64) time.Duration {
		from := requests.Load()
		began := time.Now()
		for range turn / size {
			logs := plog.NewLogs() // the queue may change the records
			master.CopyTo(logs)
			if err := exp.ConsumeLogs(context.Background(), logs); err != nil {
				b.Fatal(err)
			}
		}
		for requests.Load() < from+turn/256 {
			time.Sleep(100 * time.Microsecond)
		}
		return time.Since(began)
	}
	send(our, ourRequests)
	send(their, theirRequests)
	var ourTime, theirTime time.Duration
	turns := 0
	for b.Loop() {
		ourTime += send(our, ourRequests)
		theirTime += send(their, theirRequests)
		turns++
	}
	events := float64(turns * turn)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(events/ourTime.Seconds(), "events/s")
	b.ReportMetric(events/theirTime.Seconds(), "otlphttp-events/s")
	b.ReportMetric(theirTime.Seconds()/ourTime.Seconds(), "ratio")
}
