// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/retry"
)

// deliver is the push function of the queue: it pushes logs until they are delivered or evicted. The lane waits between attempts
// itself, as retry_on_failure says, because nothing can interrupt exporterhelper's wait to evict. exporterhelper's retry gets an
// error only when the lane stops; it then has the queue keep what was not delivered.
func (l *Lane) deliver(ctx context.Context, logs plog.Logs) error {
	began, oldest := time.Now(), oldestOf(logs)
	defer l.backlog.hold(oldest)()
	defer l.eviction.released()
	wait := retry.NewBackOff(retry.Options{
		Initial: l.Retry.InitialInterval, Max: l.Retry.MaxInterval, Multiplier: l.Retry.Multiplier, Jitter: l.Retry.RandomizationFactor,
	})
	for {
		size := l.limit.sizeOf(logs)
		if l.eviction.shouldEvict(size) {
			l.Destination.Drop(ctx, logs, CauseOverflow)
			return nil
		}
		err := l.attempt(ctx, logs)
		if err == nil || consumererror.IsPermanent(err) {
			return err
		}
		if partial, ok := errors.AsType[consumererror.Logs](err); ok {
			logs = partial.Data()
			size = l.limit.sizeOf(logs)
		}
		delay := wait.NextBackOff()
		if after, ok := errors.AsType[*retryAfterError](err); ok {
			delay = max(delay, after.delay)
		}
		if !l.Retry.Enabled || (l.Retry.MaxElapsedTime > 0 && time.Since(began)+delay > l.Retry.MaxElapsedTime) {
			l.Destination.Drop(ctx, logs, CauseExpired)
			return consumererror.NewPermanent(fmt.Errorf("retry_on_failure gives up: %w", err))
		}
		l.logger.Info("The delivery of "+l.Name+" failed; retrying", zap.Error(err), zap.Duration("retry_in", delay))
		switch l.eviction.wait(ctx, delay, oldest, size) {
		case waitEvicted:
			l.Destination.Drop(ctx, logs, CauseOverflow)
			return nil
		case waitStopped:
			return err
		case waitElapsed:
		}
	}
}

// attempt pushes logs once, unless the lane with precedence is behind.
func (l *Lane) attempt(ctx context.Context, logs plog.Logs) error {
	if l.budget != nil && l.budget.first.backlog.isBehind() {
		return consumererror.NewLogs(fmt.Errorf("%w: %s are delivered before %s", errPrecedence, l.budget.first.Name, l.Name), logs)
	}
	return l.Destination.Push(ctx, logs)
}

// retryAfterError is a retryable error with the shortest wait before the next attempt.
type retryAfterError struct {
	error

	delay time.Duration
}

// RetryAfter returns err with the shortest wait before the next attempt. The lane's retry and exporterhelper's both keep to it.
func RetryAfter(err error, delay time.Duration) error {
	return &retryAfterError{exporterhelper.NewThrottleRetry(err, delay), delay}
}

func (e *retryAfterError) Unwrap() error { return e.error }
