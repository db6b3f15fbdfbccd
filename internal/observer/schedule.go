// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"container/heap"
	"time"
)

// schedule decides which inspections run in which order. The containers of one identity share a lane, in which inspections run one
// after the other, so that the attempts of one container are reported in order. Lanes run side by side, limit of them at once.
//
// What holds between two calls:
//   - no lane is empty; its first entry is ready or running, and only that one is;
//   - running <= limit, and len(ready) + running == len(lanes).
type schedule struct {
	limit   int
	lanes   map[string][]*entry // by identity
	ready   []*entry            // wait for one of limit, in order
	running int
}

func newSchedule(limit int) schedule { return schedule{limit: limit, lanes: map[string][]*entry{}} }

// add puts an inspection at the end of a lane.
func (s *schedule) add(lane string, e *entry) {
	s.lanes[lane] = append(s.lanes[lane], e)
	if len(s.lanes[lane]) == 1 {
		s.ready = append(s.ready, e)
	}
}

// next returns the inspection that may run now, which then counts as running; nil if there is none.
func (s *schedule) next() *entry {
	if s.running >= s.limit || len(s.ready) == 0 {
		return nil
	}
	e := s.ready[0]
	s.ready = s.ready[1:]
	s.running++
	return e
}

// done ends the running inspection of a lane, whose next one becomes ready.
func (s *schedule) done(lane string) {
	s.running--
	rest := s.lanes[lane][1:]
	if len(rest) == 0 {
		delete(s.lanes, lane)
		return
	}
	s.lanes[lane] = rest
	s.ready = append(s.ready, rest[0])
}

// rechecks holds the times at which containers are inspected once more, at most capacity of them. Its timer fires at the earliest.
type rechecks struct {
	queue    recheckQueue
	capacity int
	timer    *time.Timer
}

func newRechecks(capacity int) rechecks {
	return rechecks{capacity: capacity, timer: time.NewTimer(time.Hour)}
}

// add has a container inspected again after d. It reports false when there is no room.
func (r *rechecks) add(id string, now time.Time, d time.Duration) bool {
	if len(r.queue) >= r.capacity {
		return false
	}
	at := now.Add(d)
	if len(r.queue) == 0 || at.Before(r.queue[0].at) {
		r.timer.Reset(d)
	}
	heap.Push(&r.queue, recheckAt{at, id})
	return true
}

// next removes the earliest recheck that is due at now and returns its container's id. Once none is due, the timer is set for the
// earliest that remains.
func (r *rechecks) next(now time.Time) (id string, ok bool) {
	if len(r.queue) == 0 {
		return "", false
	}
	if first := r.queue[0].at; first.After(now) {
		r.timer.Reset(time.Until(first))
		return "", false
	}
	return heap.Pop(&r.queue).(recheckAt).id, true
}

type recheckAt struct {
	at time.Time
	id string
}

// recheckQueue is a heap, earliest first.
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
