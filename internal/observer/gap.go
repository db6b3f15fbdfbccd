// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// While a runtime's event stream is up, it covers all that happens between two lists. An interruption of it, however short, is
// reported as a gap, because a container can come and go within some 50 ms. The gap reaches until a list that began after the stream
// was up again. Without a stream, nothing covers the time between two lists; a gap is reported when lists failed for longer than
// that.

const (
	// undelivered is how long before the end of a stream its runtime may have had notices that it did not deliver any more.
	undelivered = time.Second
	// subscribing is how long after a subscription its server may begin to deliver: none says when it does.
	subscribing = 500 * time.Millisecond
	// lateAfter is how old a notice may be when the loop handles it. The container that an older one is about may be gone without a
	// trace, so that nothing can show what it was.
	lateAfter = time.Second
	// missedPeriods is how many lists may fail in a row before something may have been missed.
	missedPeriods = 3
)

// gaps is what may have been missed and is not reported yet.
//
// What holds: an interruption is open while open.from is set, and from only moves back until the interruption is closed. coalesced
// counts containers of no gap yet. unreported is one gap that spans all those which the outbox refused.
type gaps struct {
	open       interruption
	coalesced  coalesced
	unreported *container.Gap // nil if none was refused
}

// interruption is a time since which coverage is missing. from is zero while there is none.
type interruption struct {
	from  time.Time
	cause string
}

// coalesced counts containers of which nothing but their number can be reported.
type coalesced struct {
	n     int
	from  time.Time
	cause string
}

// interrupt notes that something may have been missed since from, until a list closes the interruption. A zero from is no moment.
func (g *gaps) interrupt(from time.Time, cause string) {
	switch {
	case from.IsZero():
	case g.open.from.IsZero():
		g.open = interruption{from, cause}
	case from.Before(g.open.from):
		g.open.from = from
	}
}

func (g *gaps) interrupted() bool { return !g.open.from.IsZero() }

// close ends the interruption and returns it.
func (g *gaps) close() interruption {
	closed := g.open
	g.open = interruption{}
	return closed
}

// listFailed notes that lists fail, too: that explains more than a lost stream does.
func (g *gaps) listFailed() {
	if g.open.cause == container.CauseStreamLost {
		g.open.cause = container.CauseListFailed
	}
}

// seenUntil returns the last moment until which nothing was missed, of which a checkpoint may say that it was seen.
func (g *gaps) seenUntil(lastList time.Time) time.Time {
	if from := g.open.from; !from.IsZero() && from.Before(lastList) {
		return from
	}
	return lastList
}

// coalesce counts one container. That the outbox was full explains all that are counted.
func (g *gaps) coalesce(from time.Time, cause string) {
	c := &g.coalesced
	c.n++
	if c.from.IsZero() || from.Before(c.from) {
		c.from = from
	}
	if c.cause != container.CauseOutboxFull {
		c.cause = cause
	}
}

// takeCoalesced returns the count and begins a new one.
func (g *gaps) takeCoalesced() coalesced {
	c := g.coalesced
	g.coalesced = coalesced{}
	return c
}

// refused keeps a gap for which the outbox had no room, merged with those before it.
func (g *gaps) refused(gap *container.Gap) {
	u := g.unreported
	if u == nil {
		g.unreported = gap
		return
	}
	u.From = earlier(u.From, gap.From)
	if gap.To.After(u.To) {
		u.To = gap.To
	}
	u.Coalesced += gap.Coalesced
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// late reports whether a notice is handled so late that what it is about may be gone. An exit is not, because it carries the time of
// the process's end, which the runtime itself may report late; a snapshot or a replay may be old.
func late(n *runtime.Notice, now time.Time) bool {
	return n.Kind != runtime.NoticeExited && n.Snapshot == nil && !n.Replayed && !n.At.IsZero() && !n.At.After(now.Add(-lateAfter))
}

// reportGap reports that something may have been missed. A gap that the outbox refuses is reported later, in one with others.
func (l *loop) reportGap(cause string, from, to time.Time, coalesced int) {
	l.tel.Gap(cause)
	from = earlier(from, to)
	g := container.Gap{Engine: l.info.Engine, Runtime: l.opts.Name, Version: l.info.Version, Owner: l.info.Owner, From: from, To: to, Cause: cause, Coalesced: uint64(max(coalesced, 0))}
	if l.outbox.offer(outboxItem{gap: &g}) {
		return
	}
	l.log.Warn("something may have been missed", "runtime", l.opts.Name, "cause", cause, "from", from, "to", to)
	l.gaps.refused(&g)
}

// coalesce counts a container of which nothing can be reported.
func (l *loop) coalesce(from time.Time, cause string) {
	l.tel.Coalesced(1)
	l.gaps.coalesce(from, cause)
}

// flushGaps reports what was refused and what was counted, once the outbox has room again.
func (l *loop) flushGaps() {
	if l.gaps.unreported != nil && l.outbox.offer(outboxItem{gap: l.gaps.unreported}) {
		l.gaps.unreported = nil
	}
	if c := l.gaps.takeCoalesced(); c.n > 0 {
		l.reportGap(c.cause, c.from, time.Now(), c.n)
	}
}
