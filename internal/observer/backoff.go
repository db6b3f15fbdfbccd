// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// pace says how long to wait before the next try.
type pace struct{ *backoff.ExponentialBackOff }

func newBackoff(o BackoffOptions) pace {
	b := &backoff.ExponentialBackOff{InitialInterval: o.Initial, MaxInterval: o.Max, Multiplier: o.Multiplier, RandomizationFactor: o.Jitter}
	b.Reset()
	return pace{b}
}

func (p pace) next() time.Duration { return p.NextBackOff() }

// sleep waits for d and tells whether ctx still goes on.
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
