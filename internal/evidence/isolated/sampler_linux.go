// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/evidence/procfs"
)

const (
	// concurrent is how many samples are under way at once: what procfs.Sampler takes at once.
	concurrent = 2
	idleAfter  = time.Minute
	// grace is how long after its own time limit a sample may answer before its process is killed.
	grace = 10 * time.Second
)

// Sampler takes samples through a process of its own. Its methods may be called by several goroutines at once.
type Sampler struct {
	options Options
	store   Store // nil if suspensions do not outlive the collector
	slots   *semaphore.Weighted
	files   *fileMemory
	starts  starts

	starting sync.Mutex // held while a process is started, which takes up to welcomeTimeout
	saving   sync.Mutex // held while suspensions are stored, so that the newest are stored last

	mu      sync.Mutex // never held during I/O
	breaker breaker
	peer    *peer // nil if no process runs
	closed  bool
	idle    *time.Timer
	users   int
	past    Stats // of the processes that have ended
	warned  bool  // that a process has no seccomp filter
}

// NewSampler checks the configuration and the proc file system. No process is started yet.
func NewSampler(options Options) (*Sampler, error) {
	if err := options.Config.Check(); err != nil {
		return nil, err
	}
	if options.IdleTimeout <= 0 {
		options.IdleTimeout = idleAfter
	}
	if options.Log == nil {
		options.Log = silent{}
	}
	s := &Sampler{options: options, slots: semaphore.NewWeighted(concurrent), files: newFileMemory()}
	s.idle = time.AfterFunc(time.Hour, s.endIdle)
	s.idle.Stop()
	return s, nil
}

// Remember loads the suspended containers from a store, and keeps them there from now on. It is called before the first sample, if at all.
func (s *Sampler) Remember(ctx context.Context, store Store) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	text, err := store.Load(ctx)
	s.mu.Lock()
	s.store = store
	if err == nil && text != nil {
		err = s.breaker.load(text, time.Now())
	}
	s.mu.Unlock()
	if err != nil {
		s.options.Log.Warn("cannot load the containers whose sampling is suspended; they are sampled again", "error", err)
	}
}

// Sample samples one container. What cannot be read is UNKNOWN in the sample and no error. An error is procfs.ErrClosed, the context's,
// or says why the process cannot be started.
func (s *Sampler) Sample(ctx context.Context, target evidence.Target) (evidence.Sample, error) {
	weight := int64(1)
	allowed, alone := s.allows(target.ContainerID)
	if !allowed {
		return suspendedSample(target), nil
	}
	if alone {
		weight = concurrent
	}
	if err := s.slots.Acquire(ctx, weight); err != nil {
		return emptySample(target), context.Cause(ctx)
	}
	defer s.slots.Release(weight)
	if allowed, _ := s.allows(target.ContainerID); !allowed {
		return suspendedSample(target), nil
	}
	answer, err := s.ask(ctx, target)
	switch {
	case errors.Is(err, errEnded):
		return suspendedSample(target), nil
	case err != nil:
		return emptySample(target), err
	case answer.Error != "":
		return emptySample(target), fmt.Errorf("sampler process: %.200q", answer.Error)
	}
	s.sampled(target.ContainerID)
	return answer.Sample, nil
}

// ask has a process take a sample. One that ended while it was idle is replaced: the container has nothing to do with it.
func (s *Sampler) ask(ctx context.Context, target evidence.Target) (reply, error) {
	for range 2 {
		p, err := s.acquire(ctx)
		if err != nil {
			return reply{}, err
		}
		answer, err := p.ask(ctx, target, s.options.Config.Limits.Time+s.options.Config.Limits.Step+grace)
		switch {
		case errors.Is(err, errNotAsked):
			s.lost(p, false)
		case errors.Is(err, errEnded):
			s.ended(p, target.ContainerID)
		}
		s.release()
		if !errors.Is(err, errNotAsked) {
			return answer, err
		}
	}
	return reply{}, errNotAsked
}

// Stats returns what was done so far.
func (s *Sampler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.past
	if s.peer != nil {
		stats.add(s.peer.stats())
	}
	stats.Suspended += s.breaker.count(time.Now())
	return stats
}

// Close ends the process and waits for it. Samples under way fail with procfs.ErrClosed. Closing again does nothing.
func (s *Sampler) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	p := s.peer
	s.idle.Stop()
	s.mu.Unlock()
	if p != nil {
		p.end()
	}
	return s.files.Close()
}

func (s *Sampler) allows(id string) (allowed, alone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.breaker.allows(id, time.Now())
}

func emptySample(target evidence.Target) evidence.Sample {
	return evidence.Sample{ContainerID: target.ContainerID, TakenAt: time.Now().UTC()}
}

// suspendedSample is the sample of a container that is not sampled now.
func suspendedSample(target evidence.Target) evidence.Sample {
	sample := emptySample(target)
	sample.Processes = []evidence.Process{procfs.UnknownProcess(target.PID, evidence.ReasonBudget)}
	sample.Coverage.Processes = evidence.Count{Seen: 1, Skipped: map[evidence.Reason]int{evidence.ReasonBudget: 1}}
	return sample
}

// shortID bounds what a runtime supplied.
func shortID(id string) string {
	const most = 64
	return id[:min(len(id), most)]
}

type silent struct{}

func (silent) Info(string, ...any) {}
func (silent) Warn(string, ...any) {}
