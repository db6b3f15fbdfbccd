// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"context"
	"errors"
	"os"
	goruntime "runtime"
	"time"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver/internal/metadata"
)

// delivery sends transitions to the next consumer as log records. It retries retryable errors without limit. Records that are
// refused permanently are counted and dropped.
type delivery struct {
	cfg     *Config
	encoder *record.Encoder
	next    consumer.Logs
	obs     *receiverhelper.ObsReport
	tel     *telemetry
	log     *zap.Logger
	samples *samples // nil if evidence is off
}

func newDelivery(cfg *Config, set receiver.Settings, next consumer.Logs, tel *telemetry) (*delivery, error) {
	obs, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{ReceiverID: set.ID, LongLivedCtx: true, ReceiverCreateSettings: set})
	if err != nil {
		return nil, err
	}
	hostName, err := os.Hostname()
	if err != nil {
		set.Logger.Warn("read the host name failed; records have no host.name", zap.Error(err))
	}
	return &delivery{
		cfg: cfg, next: next, obs: obs, tel: tel, log: set.Logger,
		encoder: &record.Encoder{
			HostName: hostName, HostID: machineID(cfg.HostRoot), NodeName: cfg.NodeName,
			Scope: metadata.ScopeName, ScopeVersion: set.BuildInfo.Version, OS: goruntime.GOOS,
		},
	}, nil
}

// Deliver returns when the items are accepted or refused permanently, or when ctx ends.
func (d *delivery) Deliver(ctx context.Context, items []observer.Item) error {
	d.samples.schedule(items)
	logs := d.encode(items)
	wait := retry.NewBackOff(d.cfg.backOff())
	for {
		n := logs.LogRecordCount() // before the pipeline can change the records
		done, err := d.push(ctx, logs, "the pipeline refused records permanently; they are lost")
		if done {
			return err
		}
		delay := wait.NextBackOff()
		d.log.Warn("the pipeline refused records; retrying", zap.Int("records", n), zap.Duration("retry_in", delay), zap.Error(err))
		if !retry.Sleep(ctx, delay) {
			return ctx.Err()
		}
		if partial, ok := errors.AsType[consumererror.Logs](err); ok {
			logs = partial.Data()
		} else {
			logs = d.encode(items) // the pipeline may have changed the previous ones
		}
	}
}

// push sends logs to the next consumer once. It returns done with a nil error if they were accepted or refused permanently (which it
// counts and logs as lost), and done with ctx's error if ctx ended. Otherwise err is retryable, and the records are counted as refused.
func (d *delivery) push(ctx context.Context, logs plog.Logs, lost string) (done bool, err error) {
	n := logs.LogRecordCount()
	opCtx := d.obs.StartLogsOp(ctx)
	err = d.next.ConsumeLogs(opCtx, logs)
	d.obs.EndLogsOp(opCtx, metadata.Type.String(), n, err)
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return true, ctx.Err()
	case consumererror.IsPermanent(err):
		d.tel.dropped(n)
		d.log.Error(lost, zap.Int("records", n), zap.Error(err))
		return true, nil
	}
	d.tel.refused(n)
	return false, err
}

func (d *delivery) encode(items []observer.Item) plog.Logs {
	batch := d.encoder.NewBatch()
	now := time.Now()
	for i := range items {
		for j := range items[i].Transitions {
			batch.Append(&items[i].Transitions[j])
		}
		if items[i].Gap != nil {
			batch.AppendGap(items[i].Gap, now)
		}
	}
	return batch.Logs()
}
