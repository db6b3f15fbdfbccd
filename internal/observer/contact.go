// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/zastava-otel/zastava/internal/container"
)

// contact is whether the runtime answers.
type contact struct {
	last        time.Time // when a list or the stream last showed that it does
	unreachable bool      // the newest list failed
	backoff     *backoff.ExponentialBackOff
	saved       time.Time // the last of these moments that the checkpoint was given
}

func (l *loop) handleListError(r listed) {
	l.contact.unreachable = true
	l.gaps.listFailed()
	if l.stream.up {
		l.contact.last = time.Now()
	}
	l.lists.fail()
	l.reportHealth(fmt.Errorf("list the containers of runtime %q: %w", l.opts.Name, r.err))
	l.lists.timer.Reset(l.contact.backoff.NextBackOff())
}

// restoreContact notes a good list. After an outage, the runtime is asked for its version again, because it may have been upgraded,
// and a gap is reported when the outage was long enough to miss something.
func (l *loop) restoreContact(ctx context.Context, r listed) {
	l.reportHealth(nil)
	away := r.began.Sub(l.contact.last)
	long := !l.contact.last.IsZero() && away > missedPeriods*l.opts.PollInterval && !l.gaps.interrupted()
	l.closeInterruption(r.began)
	if l.lists.first && long {
		l.reportGap(container.CauseObserverDown, l.contact.last, r.began, 0)
	}
	if !l.contact.unreachable {
		return
	}
	l.contact.unreachable = false
	l.contact.backoff.Reset()
	l.stream.retry()
	if l.lists.first {
		l.log.Info("the runtime answers now", "runtime", l.opts.Name)
		return
	}
	l.tel.Reconnected()
	l.log.Info("the runtime answers again", "runtime", l.opts.Name, "after", away.Round(time.Millisecond))
	l.results.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, l.opts.Timeout)
		defer cancel()
		if info, err := l.rt.Info(ctx); err == nil {
			l.results.infos <- info
		}
	})
	if long {
		l.reportGap(container.CauseListFailed, l.contact.last, r.began, 0)
	}
}

// closeInterruption reports an interruption as a gap, if the list that began at a moment closes it.
func (l *loop) closeInterruption(began time.Time) {
	if !l.gaps.interrupted() || !l.stream.coversSince(began) {
		return
	}
	from := l.gaps.open.from
	if began.Before(from) && !from.After(time.Now()) { // in the future: the clock was set back
		l.lists.expedite() // the list ran already when the interruption began, and the next one shows what followed
		return
	}
	open := l.gaps.close()
	l.reportGap(open.cause, open.from, began, 0)
}

// saveContact has the checkpoint note once a ResyncInterval that the runtime was seen, although nothing changed.
func (l *loop) saveContact() {
	at := l.gaps.seenUntil(l.lists.last)
	if l.checkpoint != nil && at.Sub(l.contact.saved) >= l.opts.ResyncInterval && l.outbox.offer(outboxItem{seen: at}) {
		l.contact.saved = at
	}
}

// saveContactAtExit has the checkpoint note when the runtime was last seen, so that an orderly restart is no longer than it was. If
// an observation of a container waits to be reported, that is the moment of the one before it.
func (l *loop) saveContactAtExit() {
	seen := l.gaps.seenUntil(l.lists.last)
	for _, e := range l.entries {
		if !e.behind.IsZero() {
			seen = earlier(seen, e.behind)
		}
	}
	if l.checkpoint != nil && seen.After(l.contact.saved) {
		l.outbox.offer(outboxItem{seen: seen})
	}
}
