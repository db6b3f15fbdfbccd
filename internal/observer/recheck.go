// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"container/heap"
	"context"
	"time"
)

// recheckAt is when a container is to be looked at once more.
type recheckAt struct {
	at time.Time
	id string
}

// recheckQueue is a heap, soonest first.
type recheckQueue []recheckAt

func (q recheckQueue) Len() int           { return len(q) }
func (q recheckQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q recheckQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *recheckQueue) Push(x any)        { *q = append(*q, x.(recheckAt)) }
func (q *recheckQueue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// recheckAfter has a container looked at again after d. It is bounded by the outbox: past that, the next list will do, whatever it
// shows.
func (l *loop) recheckAfter(id string, d time.Duration) {
	if len(l.rechecks) >= l.opts.OutboxCapacity {
		if e := l.entries[id]; e != nil {
			e.dueAt = time.Now().Add(d)
		}
		return
	}
	at := time.Now().Add(d)
	if len(l.rechecks) == 0 || at.Before(l.rechecks[0].at) {
		l.recheck.Reset(d)
	}
	heap.Push(&l.rechecks, recheckAt{at, id})
}

func (l *loop) takeRechecks(ctx context.Context) {
	now := time.Now()
	var due []*seat
	for len(l.rechecks) > 0 && !l.rechecks[0].at.After(now) {
		id := heap.Pop(&l.rechecks).(recheckAt).id
		e := l.entries[id]
		if e == nil || e.excluded || e.foreign {
			continue
		}
		e.dirty, e.retryAt = true, time.Time{}
		if !e.busy {
			e.busy = true // once, however many rechecks are due
			due = append(due, e)
		}
	}
	l.look(ctx, due)
	if len(l.rechecks) > 0 {
		l.recheck.Reset(time.Until(l.rechecks[0].at))
	}
}
