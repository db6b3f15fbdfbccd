// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package retry paces repeated attempts: an exponential back-off with jitter, and a wait that a context ends. It does not decide
// what is tried again or when to give up; its callers do.
package retry

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Options of a back-off. The names follow the collector's configretry.
type Options struct {
	Initial    time.Duration // the first wait, before jitter
	Max        time.Duration // no wait before jitter is longer
	Multiplier float64       // of each wait, compared with the one before
	Jitter     float64       // each wait differs at random by up to this share of itself, 0 to 1
}

// NewBackOff returns a back-off whose NextBackOff never says to stop. It starts again from Initial after Reset. One goroutine may
// use it at a time.
func NewBackOff(o Options) *backoff.ExponentialBackOff {
	b := &backoff.ExponentialBackOff{InitialInterval: o.Initial, MaxInterval: o.Max, Multiplier: o.Multiplier, RandomizationFactor: o.Jitter}
	b.Reset()
	return b
}

// Sleep waits for d and returns true, or returns false as soon as ctx ends.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
