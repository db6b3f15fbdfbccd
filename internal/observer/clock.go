// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import "time"

const (
	clockCheck     = 5 * time.Second // between two readings of the clock
	clockTolerance = 2 * time.Second // a wall clock that moved more than this against the monotonic one has jumped
)

// clockWatch detects that the wall clock was set or that the machine slept.
type clockWatch struct {
	*time.Ticker
	last time.Time
}

func newClockWatch() *clockWatch {
	return &clockWatch{Ticker: time.NewTicker(clockCheck), last: time.Now()}
}

// jumpedAt reports whether the clock jumped between the reading before and now.
func (c *clockWatch) jumpedAt(now time.Time) bool {
	was := c.last
	c.last = now
	return jumped(elapsed(was, now))
}

// elapsed returns the time between two readings of the clock, by the wall clock and by the monotonic one.
func elapsed(was, now time.Time) (wall, monotonic time.Duration) {
	return now.Round(0).Sub(was.Round(0)), now.Sub(was)
}

// jumped reports whether the wall clock was set, or the machine slept, in a time that the two clocks measure so differently.
func jumped(wall, monotonic time.Duration) bool {
	return (wall - monotonic).Abs() > clockTolerance
}
