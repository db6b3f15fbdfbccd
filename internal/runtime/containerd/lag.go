// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package containerd

import (
	"errors"
	"fmt"
	"time"
)

// ErrBehind ends a stream whose reader cannot keep up. containerd queues for it without a bound, in its own memory: ending
// the stream frees the queue, and a list finds what is still true.
var ErrBehind = errors.New("the reader is too far behind containerd's events")

const (
	// maxLag is how old an event may be when it is read. Events are read within milliseconds; this far behind is a
	// collector that was stopped, or has next to no CPU.
	maxLag = 10 * time.Second
	// catchUp is how long the reader may be that far behind. One that was merely paused reads thousands of waiting events in
	// far less, and they tell more than a list would.
	catchUp = 5 * time.Second
)

// lag notices that a stream's reader is far behind and stays so.
type lag struct {
	now   func() time.Time
	since time.Time // since when it has been too far behind; zero: it is not
}

func newLag() *lag { return &lag{now: time.Now} }

// check takes note of an event that is being read now.
func (l *lag) check(event time.Time) error {
	now := l.now()
	if event.IsZero() || now.Sub(event) <= maxLag {
		l.since = time.Time{}
		return nil
	}
	if l.since.IsZero() {
		l.since = now
		return nil
	}
	if now.Sub(l.since) > catchUp {
		return fmt.Errorf("%w: %s for %s", ErrBehind, now.Sub(event).Round(time.Second), now.Sub(l.since).Round(time.Second))
	}
	return nil
}
