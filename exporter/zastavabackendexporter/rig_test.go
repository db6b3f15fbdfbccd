// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/metadatatest"
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/internal/test/statushost"
)

// rig is the sender of events without queue and retry, so that a test sees the result of a push.
type rig struct {
	*eventSender
	host      *statushost.Host
	telemetry *componenttest.Telemetry
	logs      *observer.ObservedLogs
}

func newRig(t *testing.T, endpoint string, change ...func(*Config)) *rig {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.ClientConfig.Endpoint, cfg.Tenant = endpoint, "acme"
	for _, c := range change {
		c(cfg)
	}
	require.NoError(t, cfg.Validate())
	r := &rig{telemetry: componenttest.NewTelemetry(), host: statushost.New()}
	set := metadatatest.NewSettings(r.telemetry)
	core, logs := observer.New(zap.DebugLevel)
	set.Logger, r.logs = zap.New(core), logs
	set.BuildInfo = component.BuildInfo{Command: "otelcol-zastava", Version: "0.1.0"}
	c, err := newConnection(set, cfg)
	require.NoError(t, err)
	r.eventSender, err = newEventSender(c)
	require.NoError(t, err)
	require.NoError(t, c.start(context.Background(), r.host))
	t.Cleanup(func() {
		c.shutdown()
		require.NoError(t, r.telemetry.Shutdown(context.Background()))
	})
	return r
}

func (r *rig) push(logs plog.Logs) error { return r.Push(context.Background(), logs) }

// outcomes returns the events counter by outcome.
func (r *rig) outcomes(t *testing.T) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	m, err := r.telemetry.GetMetric("otelcol_exporter_zastavabackend_events")
	if err != nil {
		return out
	}
	for _, dp := range m.Data.(metricdata.Sum[int64]).DataPoints {
		v, _ := dp.Attributes.Value(attribute.Key("outcome"))
		out[v.AsString()] = dp.Value
	}
	return out
}

// retried returns the event ids that err asks to be sent again.
func retried(t *testing.T, err error) []string {
	t.Helper()
	var partial consumererror.Logs
	require.ErrorAs(t, err, &partial)
	var out []string
	for _, rl := range partial.Data().ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				id, _ := lr.Attributes().Get(record.AttrEventID)
				out = append(out, id.Str())
			}
		}
	}
	return out
}
