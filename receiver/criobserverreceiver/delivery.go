// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"context"
	"errors"
	"os"
	goruntime "runtime"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver/internal/metadata"
)

// delivery hands transitions to the next consumer as log records. What is refused for now is offered again, for ever; what
// is refused for good is counted and let go.
type delivery struct {
	cfg     *Config
	encoder *record.Encoder
	next    consumer.Logs
	obs     *receiverhelper.ObsReport
	tel     *telemetry
	log     *zap.Logger
	samples *sampled // nil: evidence is off
}

func newDelivery(cfg *Config, set receiver.Settings, next consumer.Logs, tel *telemetry) (*delivery, error) {
	obs, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{ReceiverID: set.ID, LongLivedCtx: true, ReceiverCreateSettings: set})
	if err != nil {
		return nil, err
	}
	hostName, err := os.Hostname()
	if err != nil {
		set.Logger.Warn("the host's name is not known", zap.Error(err))
	}
	return &delivery{
		cfg: cfg, next: next, obs: obs, tel: tel, log: set.Logger,
		encoder: &record.Encoder{
			HostName: hostName, HostID: machineID(cfg.HostRoot), NodeName: cfg.NodeName,
			Scope: metadata.ScopeName, ScopeVersion: set.BuildInfo.Version, OS: goruntime.GOOS,
		},
	}, nil
}

// Deliver returns once the items are accepted or refused for good, or ctx ends.
func (d *delivery) Deliver(ctx context.Context, items []observer.Item) error {
	d.samples.took(items)
	logs := d.encode(items)
	wait := d.backoff()
	for {
		n := logs.LogRecordCount() // the pipeline may change what it is given
		done, err := d.offer(ctx, logs, "the pipeline refused records for good; they are lost")
		if done {
			return err
		}
		delay := wait.NextBackOff()
		d.log.Warn("the pipeline refused records for now; offering them again", zap.Int("records", n), zap.Duration("retry_in", delay), zap.Error(err))
		if !sleep(ctx, delay) {
			return ctx.Err()
		}
		if partial, ok := errors.AsType[consumererror.Logs](err); ok {
			logs = partial.Data()
		} else {
			logs = d.encode(items) // the pipeline may have changed what it was given
		}
	}
}

// offer hands logs to the next consumer once. done: they were accepted (nil), or refused for good, which it counts and says as
// lost (nil), or ctx ended (its error). Else they were refused for now, which it counts, and err says why.
func (d *delivery) offer(ctx context.Context, logs plog.Logs, lost string) (done bool, err error) {
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

func (d *delivery) backoff() *backoff.ExponentialBackOff {
	c := d.cfg.Backoff
	b := &backoff.ExponentialBackOff{
		InitialInterval: c.InitialInterval, RandomizationFactor: c.RandomizationFactor, Multiplier: c.Multiplier, MaxInterval: c.MaxInterval,
	}
	b.Reset()
	return b
}
