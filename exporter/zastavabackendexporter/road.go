// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"
)

// Why the exporter itself loses what it was to deliver.
const (
	causeOverflow = "overflow" // room was wanted
	causeExpired  = "expired"  // retry_on_failure gave up
)

// road carries what a queue hands out until it is delivered, or let go because room is wanted. It waits between tries itself, as
// retry_on_failure says, because nothing can wake exporterhelper's wait. That one comes into play when the exporter stops: it
// then gets the error, and has the queue keep what was not delivered.
type road struct {
	what   string // for the log
	retry  configretry.BackOffConfig
	most   queueMost
	shed   *shedding
	logger *zap.Logger

	attempt func(context.Context, plog.Logs) error // a try; its errors are those of an exporter
	drop    func(ctx context.Context, logs plog.Logs, cause string)
}

// carry is the push function of a queue.
func (r *road) carry(ctx context.Context, logs plog.Logs) error {
	defer r.shed.finished()
	began, oldest := time.Now(), oldestOf(logs)
	wait := &backoff.ExponentialBackOff{
		InitialInterval: r.retry.InitialInterval, RandomizationFactor: r.retry.RandomizationFactor,
		Multiplier: r.retry.Multiplier, MaxInterval: r.retry.MaxInterval,
	}
	wait.Reset()
	for {
		units := r.most.sizeOf(logs)
		if r.shed.goes(units) {
			r.drop(ctx, logs, causeOverflow)
			return nil
		}
		err := r.attempt(ctx, logs)
		if err == nil || consumererror.IsPermanent(err) {
			return err
		}
		if rest, ok := errors.AsType[consumererror.Logs](err); ok {
			logs = rest.Data()
			units = r.most.sizeOf(logs)
		}
		delay := wait.NextBackOff()
		if later, ok := errors.AsType[*laterError](err); ok {
			delay = max(delay, later.after)
		}
		if !r.retry.Enabled || (r.retry.MaxElapsedTime > 0 && time.Since(began)+delay > r.retry.MaxElapsedTime) {
			r.drop(ctx, logs, causeExpired)
			return consumererror.NewPermanent(fmt.Errorf("retry_on_failure gives up: %w", err))
		}
		r.logger.Info("The delivery of "+r.what+" failed; trying again", zap.Error(err), zap.Duration("retry_in", delay))
		switch r.shed.hold(ctx, delay, oldest, units) {
		case waitedToGo:
			r.drop(ctx, logs, causeOverflow)
			return nil
		case waitedToStop:
			return err
		case waitedEnough:
		}
	}
}

// afterStop is what exporterhelper's own retry gets: with a queue, it is asked only when the exporter stops, and must not find
// that the wait that was cut short would have been too long; it would throw away what the queue is to keep.
func afterStop(cfg *Config) configretry.BackOffConfig {
	retry := cfg.RetryConfig
	if cfg.QueueConfig.HasValue() {
		retry.MaxElapsedTime = 0
	}
	return retry
}

// laterError asks to be tried again, not before a time.
type laterError struct {
	error

	after time.Duration
}

func newLater(err error, after time.Duration) error {
	return &laterError{exporterhelper.NewThrottleRetry(err, after), after}
}

func (e *laterError) Unwrap() error { return e.error }

// oldestOf is when the oldest of the records came into being.
func oldestOf(logs plog.Logs) time.Time {
	var oldest time.Time
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				oldest = earlier(oldest, lr)
			}
		}
	}
	return oldest
}

// earlier gives the earlier of a time, where it is one, and when a record came into being.
func earlier(than time.Time, lr plog.LogRecord) time.Time {
	at := lr.ObservedTimestamp()
	if at == 0 {
		at = lr.Timestamp()
	}
	if at == 0 { // nobody knows
		return than
	}
	if t := at.AsTime(); than.IsZero() || t.Before(than) {
		return t
	}
	return than
}
