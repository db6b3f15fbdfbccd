// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"sync"
	"time"
)

// paceWindow is the time over which CPU time is averaged: a sample may use the share of that time at once.
const paceWindow = 10 * time.Second

// pace keeps CPU time below a share of one core: a token bucket that fills with the share, and whose balance may become negative. While it
// is negative, samples wait.
type pace struct {
	fraction float64
	now      func() time.Time

	mu      sync.Mutex
	balance time.Duration
	at      time.Time
	spent   time.Duration
	waited  time.Duration
}

func newPace(fraction float64, now func() time.Time) *pace {
	p := &pace{fraction: fraction, now: now, at: now()}
	p.balance = p.capacity()
	return p
}

func (p *pace) capacity() time.Duration { return time.Duration(p.fraction * float64(paceWindow)) }

// spend subtracts used CPU time, and returns how long to wait before using more.
func (p *pace) spend(used time.Duration) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if elapsed := now.Sub(p.at); elapsed > 0 {
		p.balance = min(p.capacity(), p.balance+time.Duration(p.fraction*float64(elapsed)))
	}
	p.at = now
	p.balance -= used
	p.spent += used
	if p.balance >= 0 {
		return 0
	}
	wait = time.Duration(float64(-p.balance) / p.fraction)
	return wait
}

// addWaited counts time spent waiting.
func (p *pace) addWaited(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waited += d
}

func (p *pace) totals() (spent, waited time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spent, p.waited
}
