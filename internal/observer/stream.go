// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// streamRetry is how long a runtime without a stream is left alone.
const streamRetry = 10 * time.Minute

// streamState is the state of the event stream, as the loop knows it.
type streamState struct {
	up            bool
	since         time.Time     // when it came up last
	completeSince time.Time     // since when every notice reached the loop; never before since
	resubscribe   chan struct{} // has room for one: the runtime answers again, so do not wait longer before subscribing
}

// retry ends the wait before the next subscription.
func (s *streamState) retry() {
	select {
	case s.resubscribe <- struct{}{}:
	default:
	}
}

// coversSince reports whether a list that began at a moment came after the stream delivered, so that list and stream together cover all.
func (s *streamState) coversSince(began time.Time) bool {
	return s.up && !began.Before(s.since.Add(subscribing))
}

// forgetRetry takes back what ended no wait.
func (s *streamState) forgetRetry() {
	select {
	case <-s.resubscribe:
	default:
	}
}

// streamChange says that the stream came up or ended.
type streamChange struct {
	up          bool
	unavailable bool      // the runtime has no stream
	behind      time.Time // the time of the last notice of a stream that was read late; zero if it was not
}

// subscribe begins to watch the stream of a runtime that has one.
func (l *loop) subscribe(ctx context.Context) {
	w, ok := l.rt.(runtime.Watcher)
	if !ok {
		return
	}
	l.lists.timer.Reset(l.opts.Timeout) // the first list follows the subscription, but takes place even if that hangs
	l.results.Go(func() { l.watch(ctx, w) })
}

// watch keeps the subscription up. It reads the stream into the mailbox, reports when the stream comes up and ends, and does nothing
// else.
func (l *loop) watch(ctx context.Context, w runtime.Watcher) {
	wait := retry.NewBackOff(l.opts.Backoff)
	for ctx.Err() == nil {
		up := false
		l.stream.forgetRetry() // it was about the subscription before
		began := time.Now()
		var behind time.Time // the time of the last notice, if that was read late; only Watch's own calls use it
		err := w.Watch(ctx, func() {
			up = true
			l.results.streams <- streamChange{up: true}
		}, func(n runtime.Notice) {
			if behind = n.At; n.Replayed || time.Since(n.At) < lateAfter {
				behind = time.Time{}
			}
			l.mailbox.post(n)
		})
		if ctx.Err() != nil {
			return
		}
		unavailable := errors.Is(err, runtime.ErrNoStream)
		l.results.streams <- streamChange{unavailable: unavailable, behind: behind}
		delay := wait.NextBackOff()
		if unavailable {
			delay = streamRetry
			l.log.Info("the runtime has no event stream; its list is polled", "runtime", l.opts.Name, "retry_in", delay)
		} else {
			if up && time.Since(began) > delay { // it lived longer than the wait for it: no storm of subscriptions
				wait.Reset()
				delay = wait.NextBackOff()
			}
			l.log.Warn("the event stream ended; polling until it is back", "runtime", l.opts.Name, "retry_in", delay, "error", err)
		}
		if !l.awaitResubscription(ctx, delay, wait) {
			return
		}
		l.tel.Reconnected()
	}
}

// awaitResubscription waits until the next subscription may be tried: after the delay, or as soon as a list succeeds after an outage. It
// returns false when ctx ends.
func (l *loop) awaitResubscription(ctx context.Context, delay time.Duration, wait *backoff.ExponentialBackOff) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.stream.resubscribe:
		wait.Reset()
	case <-ctx.Done():
		return false
	}
	return true
}

// handleStream notes that the stream came up or ended. Either way, only a list shows what was missed.
func (l *loop) handleStream(ctx context.Context, s streamChange) {
	now := time.Now()
	if l.stream.up && !s.up {
		l.contact.last = now
		l.gaps.interrupt(endOfCoverage(s, now), container.CauseStreamLost)
	}
	if s.unavailable {
		l.pollOnly(now)
	}
	if s.up {
		l.stream.since, l.stream.completeSince = now, now
		l.lists.expedite() // no server says when a subscription begins to deliver: one more list soon shows what came before that
	}
	l.stream.up = s.up
	l.streaming.Store(s.up)
	l.startList(ctx)
}

// endOfCoverage returns the moment until which a stream that ended had delivered everything. If it was read late, that is the time of
// its last notice.
func endOfCoverage(s streamChange, now time.Time) time.Time {
	end := now.Add(-undelivered)
	if s.behind.IsZero() {
		return end
	}
	return earlier(end, s.behind)
}

// pollOnly notes that the runtime has no stream after all: from here on its lists are all the coverage there is, and what they can
// miss is no gap.
func (l *loop) pollOnly(now time.Time) {
	if !l.gaps.interrupted() {
		return
	}
	open := l.gaps.close()
	if now.Sub(open.from) > missedPeriods*l.opts.PollInterval {
		l.reportGap(open.cause, open.from, now, 0)
	}
}

// handleNotices applies all notices that wait in the mailbox.
func (l *loop) handleNotices(ctx context.Context) {
	notices, overflowed := l.mailbox.empty()
	if overflowed {
		now := time.Now()
		l.stream.completeSince = now
		l.log.Warn("the mailbox was full and notices were dropped; listing", "runtime", l.opts.Name)
		l.reportGap(container.CauseMailboxOverflow, l.lists.last, now, 0)
		l.startList(ctx)
	}
	l.checkLateness(ctx, notices)
	for i := range notices {
		l.handleNotice(ctx, &notices[i])
	}
}

// checkLateness notes notices that are handled too late. They open an interruption, which the next list closes, and that comes soon.
func (l *loop) checkLateness(ctx context.Context, notices []runtime.Notice) {
	now := time.Now()
	for i := range notices {
		n := &notices[i]
		if !late(n, now) {
			continue
		}
		if !l.gaps.interrupted() {
			l.log.Warn("notices are handled late; containers that they are about may be gone without a trace",
				"runtime", l.opts.Name, "late_by", now.Sub(n.At).Round(time.Millisecond))
			l.lists.expedite()
			if !l.lists.running {
				l.scheduleList(ctx)
			}
		}
		l.gaps.interrupt(n.At, container.CauseMailboxOverflow)
	}
}
