// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package containerd

import (
	"errors"
	"fmt"
	"time"
)

// ErrBehind means that the reader of the stream cannot keep up. containerd queues events without limit in its own memory. The
// end of the stream frees the queue, and the next list shows the current state.
var ErrBehind = errors.New("the reader is too far behind containerd's events")

const (
	// maxLag is the maximum age of an event when it is read. Usually it is some milliseconds; a longer lag means that the
	// collector was stopped or gets almost no CPU.
	maxLag = 10 * time.Second
	// catchUp is how long the lag may exceed maxLag. A reader that was only paused reads thousands of queued events in far less
	// time, and the events contain more than a list.
	catchUp = 5 * time.Second
)

// lag detects that the reader of a stream is too far behind and does not catch up.
type lag struct {
	now   func() time.Time
	since time.Time // when the lag began to exceed maxLag; zero if it does not
}

func newLag() *lag { return &lag{now: time.Now} }

// check records the time of an event that is read now. It returns ErrBehind if the lag exceeded maxLag for longer than catchUp.
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
