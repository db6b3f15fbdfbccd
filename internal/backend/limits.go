// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxTenants bounds the tenants whose rates are kept apart at the same time.
const maxTenants = 10_000

// limits holds a token bucket per tenant. A bucket takes at least one full batch, or such a batch could never pass.
type limits struct {
	rate  rate.Limit
	burst int

	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

func newLimits(perSecond float64, batch int) *limits {
	if perSecond <= 0 {
		return nil
	}
	return &limits{rate: rate.Limit(perSecond), burst: max(int(perSecond), batch), buckets: map[string]*rate.Limiter{}}
}

// take takes n events of a tenant at a moment, or tells how long to wait before trying again. Nil limits let all through.
func (l *limits) take(tenant string, n int, now time.Time) (wait time.Duration, ok bool) {
	if l == nil {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket := l.buckets[tenant]
	if bucket == nil {
		if len(l.buckets) >= maxTenants {
			l.forgetIdle(now)
		}
		if len(l.buckets) >= maxTenants {
			return time.Minute, false
		}
		bucket = rate.NewLimiter(l.rate, l.burst)
		l.buckets[tenant] = bucket
	}
	r := bucket.ReserveN(now, n)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return wait, false
	}
	return 0, true
}

// forgetIdle drops the full buckets; a new one would be full too.
func (l *limits) forgetIdle(now time.Time) {
	for tenant, bucket := range l.buckets {
		if bucket.TokensAt(now) >= float64(l.burst) {
			delete(l.buckets, tenant)
		}
	}
}
