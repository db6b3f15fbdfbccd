// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"sync"
	"time"
)

// paceWindow is the time over which CPU use is averaged: a sample may use that much of its share at once.
const paceWindow = 10 * time.Second

// pace keeps CPU time under a share of one core: a bucket that fills with the share and may run into debt. Who is in debt waits.
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

// spend takes CPU time that was used, and says how long to wait before using more.
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

// addWaited counts time that was waited.
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
