// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configcompression"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/collector/receiver"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/metadata"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/record"
)

const testID = "test_id" // the attribute by which the checker knows its records

// withID converts a record of the checker to one of ours; a label carries its id.
func withID(from plog.LogRecord) plog.Logs {
	id, _ := from.Attributes().Get(testID)
	tr := stopOf(0)
	tr.Container.Labels = map[string]string{testID: id.Str()}
	batch := encoder().NewBatch()
	batch.Append(&tr)
	return batch.Logs()
}

// recordsOfOurs converts the checker's records, which the exporter would skip, before it passes them on.
type recordsOfOurs struct{ exporter.Logs }

func (r recordsOfOurs) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	return r.Logs.ConsumeLogs(ctx, withID(logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)))
}

func factoryOfOurs() exporter.Factory {
	return exporter.NewFactory(metadata.Type, createDefaultConfig, exporter.WithLogs(
		func(ctx context.Context, set exporter.Settings, cfg component.Config) (exporter.Logs, error) {
			exp, err := createLogs(ctx, set, cfg)
			return recordsOfOurs{exp}, err
		}, metadata.LogsStability,
	))
}

// backendReceiver is a receiver with the API that passes each event to the checker's consumer.
type backendReceiver struct {
	*http.Server
	listen func() (net.Listener, error)
	next   consumer.Logs
	served chan struct{}
}

func (r *backendReceiver) Start(context.Context, component.Host) error {
	l, err := r.listen()
	if err != nil {
		return err
	}
	r.Server = &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	r.served = make(chan struct{})
	go func() {
		defer close(r.served)
		_ = r.Serve(l)
	}()
	return nil
}

func (r *backendReceiver) Shutdown(context.Context) error {
	err := r.Close()
	<-r.served
	return err
}

func (r *backendReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var batch backendapi.Batch
	if json.NewDecoder(req.Body).Decode(&batch) != nil || len(batch.Events) != 1 {
		refuse(w, http.StatusTeapot)
		return
	}
	logs := plog.NewLogs()
	lr := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	lr.Attributes().PutStr(testID, batch.Events[0].Event.Workload.Labels[testID])
	lr.Attributes().PutStr(record.AttrEventID, batch.Events[0].Event.EventID)
	switch err := r.next.ConsumeLogs(req.Context(), logs); {
	case err == nil:
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"accepted":1,"duplicates":0}`)
	case consumererror.IsPermanent(err):
		refuse(w, http.StatusBadRequest)
	default:
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func TestExporterKeepsTheConsumeContract(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())

	cfg := createDefaultConfig().(*Config)
	cfg.ClientConfig.Endpoint, cfg.Tenant = "http://"+address, "acme"
	cfg.ClientConfig.Compression = configcompression.Type("none")
	cfg.QueueConfig = configoptional.None[exporterhelper.QueueBatchConfig]()
	cfg.RetryConfig.InitialInterval = time.Millisecond
	cfg.RetryConfig.MaxInterval = 10 * time.Millisecond

	exportertest.CheckConsumeContract(exportertest.CheckConsumeContractParams{
		T:                    t,
		NumberOfTestElements: 10,
		Signal:               pipeline.SignalLogs,
		ExporterFactory:      factoryOfOurs(),
		ExporterConfig:       cfg,
		ReceiverFactory: receiver.NewFactory(component.MustNewType("backend"), func() component.Config { return &struct{}{} },
			receiver.WithLogs(func(_ context.Context, _ receiver.Settings, _ component.Config, next consumer.Logs) (receiver.Logs, error) {
				return &backendReceiver{listen: func() (net.Listener, error) { return net.Listen("tcp", address) }, next: next}, nil
			}, component.StabilityLevelDevelopment)),
		ReceiverConfig: &struct{}{},
	})
}
