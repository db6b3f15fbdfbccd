// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// eviction connects those who need room in a queue with the deliveries that hold its oldest records and wait for their next
// attempt. Records that are on their way to the backend are never evicted: whether they arrived would not be known.
type eviction struct {
	limit func() int64 // the most that may be requested now; nil if unlimited

	mu        sync.Mutex
	requested int64 // units of the queue that are to be evicted
	requests  int   // calls of makeRoom that wait
	waiting   []*waiter
	freed     chan struct{} // closed when records were evicted or delivered
	done      chan struct{} // closed by stop
	stopped   bool
}

// waiter is a delivery that waits for its next attempt.
type waiter struct {
	oldest  time.Time
	size    int64
	evicted chan struct{} // closed when it is to be evicted
}

func newEviction() *eviction {
	return &eviction{freed: make(chan struct{}), done: make(chan struct{})}
}

var errStopping = errors.New("the exporter is stopping: send again what it did not accept")

// waitResult says why a wait is over.
type waitResult int

const (
	waitElapsed waitResult = iota
	waitEvicted            // the records are to be evicted
	waitStopped            // the lane stops, or the context of the delivery ended
)

// wait waits for d before the next attempt to deliver records of the given size, or until they are to be evicted.
func (e *eviction) wait(ctx context.Context, d time.Duration, oldest time.Time, size int64) waitResult {
	e.mu.Lock()
	switch {
	case e.stopped:
		e.mu.Unlock()
		return waitStopped
	case e.claim(size):
		e.mu.Unlock()
		return waitEvicted
	}
	w := &waiter{oldest: oldest, size: size, evicted: make(chan struct{})}
	e.waiting = append(e.waiting, w)
	e.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	result := waitElapsed
	select {
	case <-timer.C:
	case <-w.evicted:
	case <-ctx.Done():
		result = waitStopped
	case <-e.done:
		result = waitStopped
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if i := slices.Index(e.waiting, w); i >= 0 {
		e.waiting = slices.Delete(e.waiting, i, i+1)
		return result
	}
	return waitEvicted // it was chosen, whatever else happened meanwhile
}

// shouldEvict reports whether records that are about to be pushed are to be evicted instead.
func (e *eviction) shouldEvict(size int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.claim(size)
}

// claim reports whether records of the given size are to be evicted, and subtracts them from the request. e.mu is held.
func (e *eviction) claim(size int64) bool {
	e.applyLimit()
	if e.requested <= 0 || size <= 0 {
		return false
	}
	e.requested -= size
	return true
}

func (e *eviction) applyLimit() {
	if e.limit != nil {
		e.requested = min(e.requested, e.limit())
	}
}

// request asks for room of the given size and evicts the oldest waiting records at once.
func (e *eviction) request(size int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requested = max(e.requested, size)
	e.evictWaiting()
}

// evictWaiting evicts waiting records, oldest first, until the request is met. e.mu is held.
func (e *eviction) evictWaiting() {
	e.applyLimit()
	for e.requested > 0 && len(e.waiting) > 0 {
		oldest := slices.MinFunc(e.waiting, func(a, b *waiter) int { return a.oldest.Compare(b.oldest) })
		e.waiting = slices.DeleteFunc(e.waiting, func(w *waiter) bool { return w == oldest })
		e.requested -= oldest.size
		close(oldest.evicted)
	}
}

// makeRoom requests room and waits until records were evicted or delivered. It returns false after a second: there may be room
// that the lane does not know of.
func (e *eviction) makeRoom(ctx context.Context, size int64) (freed bool, err error) {
	e.mu.Lock()
	if e.stopped {
		e.mu.Unlock()
		return false, errStopping
	}
	e.requests++
	changed := e.freed
	e.requested = max(e.requested, size)
	e.evictWaiting()
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.requests--; e.requests == 0 {
			e.requested = 0 // there may be room by now; whoever still needs it requests again
		}
	}()
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-e.done:
		return false, errStopping
	case <-changed:
		return true, nil
	case <-timer.C:
		return false, nil
	}
}

// released wakes those who wait for room.
func (e *eviction) released() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.freed)
	e.freed = make(chan struct{})
}

// stop ends all waits.
func (e *eviction) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.stopped {
		e.stopped = true
		close(e.done)
	}
}
