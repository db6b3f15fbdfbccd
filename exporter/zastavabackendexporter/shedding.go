// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// shedding is how those who want room in a queue have those who hold its oldest records, and wait for another try, let go of
// them. What is on its way to the backend is never taken away: whether it arrived would not be known.
type shedding struct {
	most func() int64 // what may be asked for now; nil: anything

	mu      sync.Mutex
	wanted  int64 // units of the queue that are to go
	asking  int   // deliveries that wait for room
	holding []*held
	changed chan struct{} // closed when something went, or was delivered
	done    chan struct{} // closed by stop
	stopped bool
}

// held is what waits for another try.
type held struct {
	oldest time.Time
	units  int64
	let    chan struct{} // closed: it is to go
}

func newShedding() *shedding {
	return &shedding{changed: make(chan struct{}), done: make(chan struct{})}
}

var errStopping = errors.New("the exporter is stopping; what it did not take is to be sent again")

// waited tells why a wait is over.
type waited int

const (
	waitedEnough waited = iota
	waitedToGo          // the records are to go
	waitedToStop        // the exporter stops, or the delivery was called off
)

// hold waits for d, before records of so many units are tried again, or until they are to go.
func (s *shedding) hold(ctx context.Context, d time.Duration, oldest time.Time, units int64) waited {
	s.mu.Lock()
	switch {
	case s.stopped:
		s.mu.Unlock()
		return waitedToStop
	case s.take(units):
		s.mu.Unlock()
		return waitedToGo
	}
	h := &held{oldest: oldest, units: units, let: make(chan struct{})}
	s.holding = append(s.holding, h)
	s.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	why := waitedEnough
	select {
	case <-timer.C:
	case <-h.let:
	case <-ctx.Done():
		why = waitedToStop
	case <-s.done:
		why = waitedToStop
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.holding, h); i >= 0 {
		s.holding = slices.Delete(s.holding, i, i+1)
		return why
	}
	return waitedToGo // it was picked, whatever else happened
}

// goes tells whether records that are about to be tried are to go instead.
func (s *shedding) goes(units int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take(units)
}

func (s *shedding) take(units int64) bool {
	s.bound()
	if s.wanted <= 0 || units <= 0 {
		return false
	}
	s.wanted -= units
	return true
}

func (s *shedding) bound() {
	if s.most != nil {
		s.wanted = min(s.wanted, s.most())
	}
}

// want asks for room of so many units, and has the oldest of what waits go at once.
func (s *shedding) want(units int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = max(s.wanted, units)
	s.pick()
}

func (s *shedding) pick() {
	s.bound()
	for s.wanted > 0 && len(s.holding) > 0 {
		oldest := slices.MinFunc(s.holding, func(a, b *held) int { return a.oldest.Compare(b.oldest) })
		s.holding = slices.DeleteFunc(s.holding, func(h *held) bool { return h == oldest })
		s.wanted -= oldest.units
		close(oldest.let)
	}
}

// makeRoom asks for room and waits until some records went or were delivered; then freed is true.
func (s *shedding) makeRoom(ctx context.Context, units int64) (freed bool, err error) {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return false, errStopping
	}
	s.asking++
	changed := s.changed
	s.wanted = max(s.wanted, units)
	s.pick()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.asking--; s.asking == 0 {
			s.wanted = 0 // room may have come otherwise; who still wants it asks again
		}
	}()
	timer := time.NewTimer(time.Second) // room may have come by itself
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-s.done:
		return false, errStopping
	case <-changed:
		return true, nil
	case <-timer.C:
		return false, nil
	}
}

// finished wakes those who wait for room.
func (s *shedding) finished() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// stop ends all waits.
func (s *shedding) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.stopped = true
		close(s.done)
	}
}
