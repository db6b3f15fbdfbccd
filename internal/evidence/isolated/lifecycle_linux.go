// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"context"
	"fmt"
	"time"

	"github.com/zastava-otel/zastava/internal/evidence/procfs"
)

const storeTimeout = 5 * time.Second

// acquire returns the process, started if none runs, and keeps it from ending as idle.
func (s *Sampler) acquire(ctx context.Context) (*peer, error) {
	s.starting.Lock()
	defer s.starting.Unlock()
	if p, err := s.running(); p != nil || err != nil {
		return p, err
	}
	p, err := s.connect(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		s.starts.failed(time.Now())
		return nil, err
	case s.closed:
		p.close("the sampler is closed")
		return nil, procfs.ErrClosed
	}
	s.past.Processes++
	s.peer = p
	if !p.seccomp && !s.warned {
		s.warned = true
		s.options.Log.Warn("the sampler process cannot restrict its system calls, and samples nevertheless; allow it seccomp(2)", "systemd", "SystemCallFilter=seccomp capset")
	}
	s.use()
	return p, nil
}

// running returns the process that runs; nil if none does and one may be started.
func (s *Sampler) running() (*peer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, procfs.ErrClosed
	}
	if s.peer != nil && s.peer.alive() {
		s.use()
		return s.peer, nil
	}
	if s.peer != nil {
		s.past.Ended++ // between two samples
	}
	s.forget()
	if wait := s.starts.wait(time.Now()); wait > 0 {
		return nil, fmt.Errorf("the sampler process ended unexpectedly and starts again in %v", wait.Round(time.Millisecond))
	}
	return nil, nil
}

func (s *Sampler) connect(ctx context.Context) (*peer, error) {
	if s.options.Socket != "" {
		return dial(ctx, s.options.Socket, s.options.Config)
	}
	return start(ctx, s.options.Config, s.files)
}

func (s *Sampler) use() {
	s.users++
	s.idle.Stop()
}

func (s *Sampler) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 && !s.closed {
		s.idle.Reset(s.options.IdleTimeout)
	}
}

// endIdle ends the process that had no work for a while.
func (s *Sampler) endIdle() {
	s.mu.Lock()
	p := s.peer
	if s.users > 0 || s.closed || p == nil {
		s.mu.Unlock()
		return
	}
	s.forget()
	s.mu.Unlock()
	p.end()
}

// forget adds what the process did to the totals. The caller holds the lock.
func (s *Sampler) forget() {
	if s.peer != nil {
		s.past.add(s.peer.stats())
		s.past.Stuck, s.past.Suspended, s.past.CacheSize = 0, 0, 0 // of the process that ended
		s.peer = nil
	}
}

// lost forgets a process that ended unexpectedly. postponed says that another is not started at once.
func (s *Sampler) lost(p *peer, postponed bool) {
	s.mu.Lock()
	present := s.peer == p && !s.closed
	if present {
		s.forget()
		s.past.Ended++
		if postponed {
			s.starts.failed(time.Now())
		}
	}
	s.mu.Unlock()
	if present {
		s.files.clear() // what it has left may be what ends the next
		s.options.Log.Warn("the sampler process ended unexpectedly; it is started again", "cause", p.cause())
	}
}

// ended records that the process ended while it sampled a container.
func (s *Sampler) ended(p *peer, id string) {
	s.lost(p, true)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	suspended := s.breaker.ended(id, time.Now())
	s.mu.Unlock()
	s.options.Log.Warn("sampling of a container is suspended: the sampler process ended while sampling it",
		"container", shortID(id), "ends", suspended.Ends, "until", suspended.Until.UTC().Format(time.RFC3339))
	s.save()
}

// sampled records a sample that succeeded.
func (s *Sampler) sampled(id string) {
	s.mu.Lock()
	s.starts.succeeded()
	changed := s.breaker.sampled(id)
	s.mu.Unlock()
	if changed {
		s.save()
	}
}

// save stores the suspensions as they are now.
func (s *Sampler) save() {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	store, text := s.store, s.breaker.store()
	s.mu.Unlock()
	if store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if err := store.Save(ctx, text); err != nil {
		s.options.Log.Warn("cannot store the containers whose sampling is suspended", "error", err)
	}
}
