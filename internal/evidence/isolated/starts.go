// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import "time"

const (
	// startAgainFirst is how long after an unexpected end no process is started; it doubles up to startAgainMax until one answers.
	startAgainFirst = 100 * time.Millisecond
	startAgainMax   = 30 * time.Second
	// startsAtOnce is how many starts may follow unexpected ends at once, and startEvery how often there is another: containers that each end
	// the process once would otherwise have it started all the time, at some 0.2 s of CPU time each.
	startsAtOnce = 20
	startEvery   = 3 * time.Second
)

// starts spaces the starts of the process after unexpected ends. It is not safe for concurrent use.
type starts struct {
	backoff time.Duration // of the last end; 0 after a sample
	at      time.Time     // the next start is not earlier
	paid    time.Time     // until when the starts so far are paid for, at startEvery each
}

// failed records that a process ended unexpectedly, or could not be started.
func (s *starts) failed(now time.Time) {
	s.backoff = min(max(2*s.backoff, startAgainFirst), startAgainMax)
	s.at = now.Add(s.backoff)
	if s.paid.Before(now) {
		s.paid = now
	}
	s.paid = s.paid.Add(startEvery)
	if within := s.paid.Add(-startsAtOnce * startEvery); within.After(s.at) {
		s.at = within
	}
}

// succeeded records a sample.
func (s *starts) succeeded() { s.backoff = 0 }

// wait returns how long not to start a process.
func (s *starts) wait(now time.Time) time.Duration { return max(0, s.at.Sub(now)) }
