// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package admission bounds the requests of one kind that are handled at the same time, so that one tenant cannot starve another. It
// promises that a tenant never has more than its share of the places, that places which become free go to the waiting tenants in turn,
// and that a request waits for a bounded time among a bounded number. It knows nothing of HTTP.
package admission

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

var (
	// ErrTenant means that the tenant has as many requests in work or waiting as it may have.
	ErrTenant = errors.New("the tenant has too many requests at once")
	// ErrBusy means that the places are taken, by other tenants too.
	ErrBusy = errors.New("there are too many requests at once")
)

// Limits of a Queue.
type Limits struct {
	Places    int           // requests at the same time, at least 1
	PerTenant int           // of the places, for one tenant; at least 1
	Waiting   int           // requests of one tenant that wait; 0 = none waits
	Wait      time.Duration // how long a request waits
}

// maxWaiting bounds the requests of all tenants that wait, in multiples of those of one: clients may choose the names of tenants.
const maxWaiting = 8

// Queue admits requests. It is safe for concurrent use.
type Queue struct {
	limits Limits

	mu      sync.Mutex
	free    int
	waiting int
	tenants map[string]*tenant // with a request in work or waiting
	turn    []*tenant          // with waiting requests, the next in turn first
}

type tenant struct {
	name    string
	running int
	waiting []chan struct{} // closed when admitted
}

// New returns an empty queue.
func New(limits Limits) *Queue {
	return &Queue{limits: limits, free: limits.Places, tenants: map[string]*tenant{}}
}

// Enter waits for a place. The caller calls leave once after its request. Errors: ErrTenant, ErrBusy, or the error of ctx.
func (q *Queue) Enter(ctx context.Context, name string) (leave func(), err error) {
	t, admitted, err := q.enqueue(name)
	if err != nil {
		return nil, err
	}
	leave = func() { q.leave(t) }
	if admitted == nil {
		return leave, nil
	}
	timer := time.NewTimer(q.limits.Wait)
	defer timer.Stop()
	select {
	case <-admitted:
		return leave, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
	}
	return q.giveUp(t, admitted, err)
}

// enqueue takes a place if one is free for the tenant (admitted is nil), or begins to wait.
func (q *Queue) enqueue(name string) (t *tenant, admitted chan struct{}, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t = q.tenants[name]
	if t == nil {
		t = &tenant{name: name}
	}
	switch {
	case q.free > 0 && t.running < q.limits.PerTenant && len(t.waiting) == 0:
		q.free--
		t.running++
	case len(t.waiting) >= q.limits.Waiting && (q.limits.Waiting > 0 || t.running >= q.limits.PerTenant):
		return nil, nil, ErrTenant
	case q.waiting >= maxWaiting*q.limits.Waiting:
		return nil, nil, ErrBusy
	default:
		admitted = make(chan struct{})
		t.waiting = append(t.waiting, admitted)
		q.waiting++
		if len(t.waiting) == 1 {
			q.turn = append(q.turn, t)
		}
	}
	q.tenants[name] = t
	return t, admitted, nil
}

// giveUp ends the wait for a place, unless it was admitted meanwhile. Without another cause the error says who has the places.
func (q *Queue) giveUp(t *tenant, admitted chan struct{}, cause error) (leave func(), err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := slices.Index(t.waiting, admitted)
	if at < 0 {
		return func() { q.leave(t) }, nil
	}
	t.waiting = slices.Delete(t.waiting, at, at+1)
	q.waiting--
	if len(t.waiting) == 0 {
		q.turn = slices.DeleteFunc(q.turn, func(o *tenant) bool { return o == t })
	}
	if cause == nil {
		if cause = ErrBusy; t.running >= q.limits.PerTenant {
			cause = ErrTenant
		}
	}
	q.forget(t)
	return nil, cause
}

// leave frees a place and admits the next request of the next tenant in turn that has not its share.
func (q *Queue) leave(t *tenant) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free++
	t.running--
	for i, next := range q.turn {
		if next.running >= q.limits.PerTenant {
			continue
		}
		q.free--
		next.running++
		q.waiting--
		close(next.waiting[0])
		next.waiting = slices.Delete(next.waiting, 0, 1)
		q.turn = slices.Delete(q.turn, i, i+1)
		if len(next.waiting) > 0 {
			q.turn = append(q.turn, next)
		}
		break
	}
	q.forget(t)
}

// forget drops a tenant without requests. The caller holds q.mu.
func (q *Queue) forget(t *tenant) {
	if t.running == 0 && len(t.waiting) == 0 {
		delete(q.tenants, t.name)
	}
}
