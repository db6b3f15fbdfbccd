// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxTenants bounds the tenants whose rates are limited separately at the same time.
const maxTenants = 10_000

// limits holds a token bucket per tenant. A bucket holds at least one full batch; a smaller one would never let it pass.
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

// allow reports whether n events of a tenant may be stored now, and otherwise how long the client should wait. Nil limits allow
// everything.
func (l *limits) allow(tenant string, n int, now time.Time) (wait time.Duration, ok bool) {
	if l == nil {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket := l.buckets[tenant]
	if bucket == nil {
		if len(l.buckets) >= maxTenants {
			l.dropIdle(now)
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

// dropIdle drops the full buckets; a new one would be full too.
func (l *limits) dropIdle(now time.Time) {
	for tenant, bucket := range l.buckets {
		if bucket.TokensAt(now) >= float64(l.burst) {
			delete(l.buckets, tenant)
		}
	}
}
