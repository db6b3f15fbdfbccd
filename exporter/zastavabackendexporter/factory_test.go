// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/plog"
)

func startDefault(t *testing.T, endpoint string, change ...func(*Config)) exporter.Logs {
	t.Helper()
	f := NewFactory()
	cfg, ok := f.CreateDefaultConfig().(*Config)
	require.True(t, ok)
	cfg.ClientConfig.Endpoint, cfg.Tenant = endpoint, "acme"
	for _, c := range change {
		c(cfg)
	}
	exp, err := f.CreateLogs(t.Context(), exportertest.NewNopSettings(f.Type()), cfg)
	require.NoError(t, err)
	require.NoError(t, exp.Start(t.Context(), componenttest.NewNopHost()))
	return exp
}

// oneByOne returns the records of stops(n) as one delivery each.
func oneByOne(n int) []plog.Logs {
	var out []plog.Logs
	for i := range n {
		tr := stopOf(i)
		batch := encoder().NewBatch()
		batch.Append(&tr)
		out = append(out, batch.Logs())
	}
	return out
}

func TestQueueBatchesRecordsAndDrainsAtShutdown(t *testing.T) {
	s := newServer(t, accept)
	exp := startDefault(t, s.URL)
	for _, logs := range oneByOne(40) {
		require.NoError(t, exp.ConsumeLogs(t.Context(), logs))
	}
	require.NoError(t, exp.Shutdown(context.Background()))
	var got []string
	for _, r := range s.got() {
		got = append(got, r.ids()...)
	}
	assert.ElementsMatch(t, stopIDs(40), got)
	assert.Less(t, len(s.got()), 20, "not a request for each")
}

func TestRetryWaitsForRetryAfterAndThenDelivers(t *testing.T) {
	began := time.Now()
	s := newServer(t, []reply{status(429, "Retry-After", "1"), status(http.StatusUnauthorized), accept}...)
	exp := startDefault(t, s.URL, func(cfg *Config) { cfg.RetryConfig.InitialInterval = time.Millisecond })
	require.NoError(t, exp.ConsumeLogs(t.Context(), stops(3)))
	require.Eventually(t, func() bool { return len(s.got()) == 3 }, 30*time.Second, 5*time.Millisecond)
	assert.GreaterOrEqual(t, time.Since(began), time.Second)
	require.NoError(t, exp.Shutdown(context.Background()))
	for _, r := range s.got() {
		assert.Equal(t, stopIDs(3), r.ids())
		assert.Equal(t, s.got()[0].batch.BatchID, r.batch.BatchID)
	}
}

func TestExporterIsNotCreatedWithAnotherComponentsConfiguration(t *testing.T) {
	_, err := createLogs(t.Context(), exportertest.NewNopSettings(NewFactory().Type()), component.Config(&struct{}{}))
	require.ErrorContains(t, err, "configuration is a")
}
