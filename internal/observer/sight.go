// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// Where a runtime has an event stream, everything between two lists is seen while the stream stands. Where it was
// interrupted, however shortly, a container can have come and gone in between: it takes one some 50 ms. So every interruption
// is told as a gap, which reaches until a list that began after the stream stood again. Where there is no stream, what lives
// between two lists is never seen; a gap is told when lists failed for longer than that.

const (
	// unsent is how long before the end of a stream its runtime may have had notices that it did not hand over any more.
	unsent = time.Second
	// standing is how long after a subscription its server may begin to deliver: none says when it does.
	standing = 500 * time.Millisecond
	// tardy is how old a notice may be when it is taken. The container that an older one tells of may be gone without a trace,
	// so that nobody can say what it was.
	tardy = time.Second
)

// interruption is a time in which what happened between two lists was not seen. from is zero while there is none.
type interruption struct {
	from  time.Time
	cause string
}

// interrupted notes that something may have been missed since a moment, until a list tells that all is well again.
func (l *loop) interrupted(from time.Time, cause string) {
	if from.IsZero() {
		return
	}
	if l.missing.from.IsZero() {
		l.missing = interruption{from, cause}
	} else if from.Before(l.missing.from) {
		l.missing.from = from
	}
}

// streamEnded notes the end of a stream. Of one that was read late, all since its last notice is missing.
func (l *loop) streamEnded(s streamState) {
	from := time.Now().Add(-unsent)
	if !s.behind.IsZero() && s.behind.Before(from) {
		from = s.behind
	}
	l.interrupted(from, container.CauseStreamLost)
}

// streamless is news that the runtime has no stream after all: from here on its lists are all there is.
func (l *loop) streamless() {
	if l.missing.from.IsZero() {
		return
	}
	if time.Since(l.missing.from) > unseenPeriods*l.opts.PollInterval {
		l.gap(l.missing.cause, l.missing.from, time.Now(), 0)
	}
	l.missing = interruption{}
}

// whole takes a good list: where the stream had stood when it began, an interruption is over and told.
func (l *loop) whole(r listed) {
	if l.missing.from.IsZero() || !l.streaming || r.began.Before(l.streamUp.Add(standing)) {
		return
	}
	if r.began.Before(l.missing.from) && !l.missing.from.After(time.Now()) { // in the future: the clock was set back
		l.soon = max(l.soon, 1) // it was under way already, and the next one shows what followed
		return
	}
	l.gap(l.missing.cause, l.missing.from, r.began, 0)
	l.missing = interruption{}
}

// punctual notes notices that were taken too late. They are told as a gap with the next list, which comes soon.
func (l *loop) punctual(ctx context.Context, notices []runtime.Notice) {
	before := time.Now().Add(-tardy)
	for i := range notices {
		n := &notices[i]
		// An exit carries the time of the process's end, which the runtime itself may tell late; a snapshot may be a replay.
		if n.Kind == runtime.NoticeExited || n.Snapshot != nil || n.Replayed || n.At.IsZero() || n.At.After(before) {
			continue
		}
		if l.missing.from.IsZero() {
			l.log.Warn("notices are taken late; what they tell of may be gone without a trace", "runtime", l.opts.Name, "late_by", time.Since(n.At).Round(time.Millisecond))
			l.soon = max(l.soon, 1)
			if !l.listing {
				l.schedule(ctx, l.period())
			}
		}
		l.interrupted(n.At, container.CauseMailboxOverflow)
	}
}

// brief tells that what notices told of was gone so soon that a container may have been taken for a sandbox, because nothing
// was found when it was looked for. Sandboxes that the runtime has shown have no notices, and others are seldom so brief.
func (e *seat) brief() bool {
	h := e.heard
	return h != nil && !h.created.IsZero() && h.deleted.Sub(h.created) < 2*tardy
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// seenUntil is the last moment until which nothing was missed: what a checkpoint may say was seen.
func (l *loop) seenUntil() time.Time {
	if from := l.missing.from; !from.IsZero() && from.Before(l.lastList) {
		return from
	}
	return l.lastList
}

// gap tells that something may have been missed. Where the outbox has no room it is told later, in one with others.
func (l *loop) gap(cause string, from, to time.Time, folded int) {
	l.tel.Gap(cause)
	from = earlier(from, to)
	g := container.Gap{Engine: l.info.Engine, Runtime: l.opts.Name, Version: l.info.Version, From: from, To: to, Cause: cause, Coalesced: uint64(max(folded, 0))}
	if l.outbox.offer(entry{gap: &g}) {
		return
	}
	l.log.Warn("something may have been missed", "runtime", l.opts.Name, "cause", cause, "from", from, "to", to)
	if l.untold == nil {
		l.untold = &g
		return
	}
	if from.Before(l.untold.From) {
		l.untold.From = from
	}
	if to.After(l.untold.To) {
		l.untold.To = to
	}
	l.untold.Coalesced += g.Coalesced
}

// fold counts a container of which nothing can be told.
func (l *loop) fold(from time.Time, cause string) {
	l.folded++
	l.tel.Folded(1)
	if l.foldedFrom.IsZero() || from.Before(l.foldedFrom) {
		l.foldedFrom = from
	}
	if l.foldedFor != container.CauseOutboxFull {
		l.foldedFor = cause
	}
}

// unfold tells what was folded, and what was refused, once things go on.
func (l *loop) unfold() {
	if l.untold != nil && l.outbox.offer(entry{gap: l.untold}) {
		l.untold = nil
	}
	if l.folded == 0 {
		return
	}
	n, from, cause := l.folded, l.foldedFrom, l.foldedFor
	l.folded, l.foldedFrom, l.foldedFor = 0, time.Time{}, ""
	l.gap(cause, from, time.Now(), n)
}
