// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
)

func load(t *testing.T, name string) *Config {
	t.Helper()
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	sub, err := conf.Sub(name)
	require.NoError(t, err)
	cfg := NewFactory().CreateDefaultConfig().(*Config)
	require.NoError(t, sub.Unmarshal(cfg))
	return cfg
}

func TestDefaultConfiguration(t *testing.T) {
	cfg := load(t, "zastavabackend")
	require.NoError(t, confmap.Validate(cfg))
	assert.Equal(t, 30*time.Second, cfg.ClientConfig.Timeout)
	assert.EqualValues(t, "gzip", cfg.ClientConfig.Compression)
	assert.Equal(t, 10*time.Second, cfg.ClientConfig.HTTP2ReadIdleTimeout)
	assert.Equal(t, 5*time.Second, cfg.ClientConfig.HTTP2PingTimeout)
	assert.False(t, cfg.InsecureCredentials)
	assert.Equal(t, "all", cfg.EventKinds)
	assert.Equal(t, "X-StellaOps-Tenant", cfg.TenantHeader)
	assert.Equal(t, "/api/v1/runtime/events", cfg.EventsPath)
	assert.Equal(t, 256, cfg.MaxBatchEvents)
	assert.Equal(t, 1<<20, cfg.MaxBatchBytes)
	assert.True(t, cfg.RetryConfig.Enabled)
	assert.Zero(t, cfg.RetryConfig.MaxElapsedTime, "retry without an end")
	require.True(t, cfg.QueueConfig.HasValue())
	queue := cfg.QueueConfig.Get()
	assert.True(t, queue.BlockOnOverflow, "wait rather than drop")
	require.True(t, queue.Batch.HasValue())
	assert.Equal(t, exporterhelper.BatchConfig{
		FlushTimeout: 200 * time.Millisecond, Sizer: exporterhelper.RequestSizerTypeItems, MinSize: 256,
	}, *queue.Batch.Get())
}

func TestEveryOptionIsUnmarshalled(t *testing.T) {
	cfg := load(t, "zastavabackend/everything")
	require.NoError(t, confmap.Validate(cfg))

	want := createDefaultConfig().(*Config)
	want.ClientConfig.Endpoint = "https://backend.example.com/scanner"
	want.ClientConfig.Timeout = 10 * time.Second
	want.ClientConfig.Compression = "zstd"
	want.ClientConfig.Headers = configopaque.MapList{{Name: "X-Extra", Value: "value"}}
	want.ClientConfig.TLS = configtls.ClientConfig{InsecureSkipVerify: true}
	want.Tenant, want.Project, want.Node = "acme", "payments", "edge-7"
	want.Annotations = map[string]string{"deployment": "cluster-a", "environment": "prod"}
	want.EventKinds, want.DropOldest = "core", true
	want.TenantHeader, want.EventsPath = "X-Stella-Tenant", "/runtime/events"
	want.MaxBatchEvents, want.MaxBatchBytes = 100, 262144
	want.Quarantine = QuarantineConfig{Directory: "/var/lib/otelcol/quarantine", MaxFileBytes: 1 << 20, MaxTotalBytes: 8 << 20}
	queue := want.QueueConfig.Get()
	queue.QueueSize, queue.NumConsumers = 50, 1
	want.QueueConfig = configoptional.Some(*queue)
	want.RetryConfig.InitialInterval, want.RetryConfig.MaxElapsedTime = time.Second, 10*time.Minute

	// The queue's own type remembers what the user set, so only its values are compared.
	require.True(t, cfg.QueueConfig.HasValue())
	got := *cfg.QueueConfig.Get()
	assert.Equal(t, *queue.Batch.Get(), *got.Batch.Get())
	got.Batch = queue.Batch
	assert.Equal(t, *queue, got)
	cfg.QueueConfig = want.QueueConfig
	assert.Equal(t, want, cfg)
}

func TestValidateReportsAllFaultsAtOnce(t *testing.T) {
	err := confmap.Validate(load(t, "zastavabackend/empty"))
	require.ErrorContains(t, err, "endpoint is empty: set it to")
	require.ErrorContains(t, err, "tenant is empty: no event is sent without one; set it to")

	err = confmap.Validate(load(t, "zastavabackend/wrong"))
	for _, want := range []string{
		"endpoint is not an http or https URL: write it as",
		`tenant "two words" cannot be sent in a header: use`,
		`event_kinds "classic" is not known: use "all", or "core"`,
		`tenant_header "X Tenant" is not a header name: use`,
		`events_path "runtime/events?x=1" is not a path: begin it with /`,
		"max_batch_events 0 is too small: use at least 1",
		"max_batch_bytes 10 is out of range: use 4096 to",
		"max_file_bytes 10 is too small: use at least 4096",
		"max_total_bytes 19 is too small: use at least twice max_file_bytes",
		"annotations:: does not fit: use a key of 1 to",
	} {
		require.ErrorContains(t, err, want)
	}
	assert.NotContains(t, err.Error(), "s3cret")
}

func TestValidateReportsEachFault(t *testing.T) {
	for _, tt := range []struct {
		desc   string
		change func(*Config)
		want   string
	}{
		{"no host", func(c *Config) { c.ClientConfig.Endpoint = "https://" }, "endpoint is not an http or https URL"},
		{"not a URL", func(c *Config) { c.ClientConfig.Endpoint = "http://user:s3cret@[::1" }, "endpoint is not an http or https URL"},
		{"a proxy that is no URL", func(c *Config) { c.ClientConfig.ProxyURL = "http://user:s3cret@proxy:80x" }, "proxy_url is not a URL"},
		{"a proxy without a scheme", func(c *Config) { c.ClientConfig.ProxyURL = "user:s3cret@proxy:3128" }, "proxy_url is not a URL"},
		{"query", func(c *Config) { c.ClientConfig.Endpoint = "https://u:s3cret@host/base?token=s3cret" }, "endpoint https://host/base has a query"},
		{"tenant of another alphabet", func(c *Config) { c.Tenant = "вартовий" }, "cannot be sent in a header"},
		{"tenant with a line break", func(c *Config) { c.Tenant = "a\r\nX-Admin: 1" }, "cannot be sent in a header"},
		{"long project", func(c *Config) { c.Project = strings.Repeat("x", 513) }, "project has more than 512"},
		{"long node", func(c *Config) { c.Node = strings.Repeat("x", 513) }, "node has more than 512"},
		{"large annotation", func(c *Config) { c.Annotations = map[string]string{"k": strings.Repeat("x", 4097)} }, "annotations::k does not fit"},
		{"many annotations", func(c *Config) {
			c.Annotations = map[string]string{}
			for i := range 128 {
				c.Annotations[strconv.Itoa(i)] = ""
			}
		}, "annotations has 128 entries: set at most 127"},
		{"no limit of bytes", func(c *Config) { c.MaxBatchBytes = 1 << 30 }, "max_batch_bytes 1073741824 is out of range"},
		{"compression level", func(c *Config) { c.ClientConfig.CompressionParams.Level = 99 }, "unsupported"},
		{"queue without consumers", func(c *Config) { c.QueueConfig.Get().NumConsumers = 0 }, "num_consumers"},
		{"a policy for no queue", func(c *Config) {
			c.DropOldest, c.QueueConfig = true, configoptional.None[exporterhelper.QueueBatchConfig]()
		}, "there is no queue"},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			cfg := load(t, "zastavabackend")
			tt.change(cfg)
			err := confmap.Validate(cfg)
			require.ErrorContains(t, err, tt.want)
			assert.NotContains(t, err.Error(), "s3cret")
		})
	}
}
