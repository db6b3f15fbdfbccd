// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// BackoffOptions says how long to wait before the next attempt to reach a runtime: from Initial to Max, growing by Multiplier. Each
// wait varies at random by the fraction Jitter (0 to 1), so that the observers of many nodes do not retry in step.
type BackoffOptions struct {
	Initial    time.Duration
	Max        time.Duration
	Multiplier float64
	Jitter     float64
}

// pace computes the waits between attempts to connect, to list and to subscribe. It never ends.
type pace struct{ *backoff.ExponentialBackOff }

func newPace(o BackoffOptions) pace {
	b := &backoff.ExponentialBackOff{InitialInterval: o.Initial, MaxInterval: o.Max, Multiplier: o.Multiplier, RandomizationFactor: o.Jitter}
	b.Reset()
	return pace{b}
}

func (p pace) next() time.Duration { return p.NextBackOff() }

// sleep waits for d and reports whether ctx is still alive then.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
