// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestPaceKeepsCPUTimeBelowFraction(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	p := newPace(0.02, func() time.Time { return now })
	begin := now
	var used, waited time.Duration
	for range 10_000 {
		const step = 3 * time.Millisecond
		now = now.Add(step)
		wait := p.spend(step)
		used += step
		waited += wait
		now = now.Add(wait)
	}
	elapsed := now.Sub(begin)
	assert.LessOrEqual(t, float64(used), 0.02*float64(elapsed+paceWindow)+float64(time.Millisecond), "used %s in %s", used, elapsed)
	assert.GreaterOrEqual(t, float64(used), 0.0199*float64(elapsed), "and the share is used up")
	p.addWaited(waited)
	spent, waitedInAll := p.totals()
	assert.Equal(t, used, spent)
	assert.Equal(t, waited, waitedInAll)
}

func TestPaceSavesIdleTimeForOneWindow(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	p := newPace(0.5, func() time.Time { return now })
	now = now.Add(time.Hour)
	assert.Zero(t, p.spend(5*time.Second), "half of ten seconds")
	assert.Equal(t, 2*time.Second, p.spend(time.Second), "nothing is left of the hour")
	now = now.Add(-time.Hour)
	assert.Positive(t, p.spend(0), "a clock that goes back pays nothing")
}
