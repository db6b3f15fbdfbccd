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
	// startAgainFirst is how long after an unexpected end no process is started; it doubles up to startAgainMax until one answers.
	startAgainFirst = 100 * time.Millisecond
	startAgainMax   = 30 * time.Second
	storeTimeout    = 5 * time.Second
)

// Sampler takes samples through a process of its own. Its methods may be called by several goroutines at once.
type Sampler struct {
	options Options
	store   Store // nil if suspensions do not outlive the collector
	slots   *semaphore.Weighted
	files   *fileMemory

	mu        sync.Mutex
	breaker   breaker
	peer      *peer // nil if no process runs
	closed    bool
	idle      *time.Timer
	users     int
	retryAt   time.Time
	retryWait time.Duration
	past      Stats // of the processes that have ended
	warned    bool  // that a process has no seccomp filter
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store = store
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	text, err := store.Load(ctx)
	if err == nil && text != nil {
		err = s.breaker.load(text, time.Now())
	}
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
	p, err := s.acquire(ctx)
	if err != nil {
		return emptySample(target), err
	}
	defer s.release()
	answer, err := p.ask(ctx, target, s.options.Config.Limits.Time+s.options.Config.Limits.Step+grace)
	switch {
	case errors.Is(err, errEnded):
		s.ended(p, target.ContainerID)
		return suspendedSample(target), nil
	case err != nil:
		return emptySample(target), err
	case answer.Error != "":
		return emptySample(target), fmt.Errorf("sampler process: %.200q", answer.Error)
	}
	s.sampled(target.ContainerID)
	return answer.Sample, nil
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

// acquire returns the process, started if none runs, and keeps it from ending as idle.
func (s *Sampler) acquire(ctx context.Context) (*peer, error) {
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
	if wait := time.Until(s.retryAt); wait > 0 {
		return nil, fmt.Errorf("the sampler process ended unexpectedly and starts again in %v", wait.Round(time.Millisecond))
	}
	p, err := s.connect(ctx)
	if err != nil {
		s.postpone()
		return nil, err
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

// postpone delays the next start. The caller holds the lock.
func (s *Sampler) postpone() {
	s.retryWait = min(max(2*s.retryWait, startAgainFirst), startAgainMax)
	s.retryAt = time.Now().Add(s.retryWait)
}

// ended records that the process ended while it sampled a container.
func (s *Sampler) ended(p *peer, id string) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.breaker.ended(id, time.Now())
	first := s.peer == p
	if first {
		s.forget()
		s.past.Ended++
		s.postpone()
	}
	suspended := s.breaker.suspended[id]
	text := s.breaker.store()
	s.mu.Unlock()
	if first {
		s.options.Log.Warn("the sampler process ended unexpectedly; it is started again", "cause", p.cause())
	}
	s.options.Log.Warn("sampling of a container is suspended: the sampler process ended while sampling it",
		"container", shortID(id), "ends", suspended.Ends, "until", suspended.Until.UTC().Format(time.RFC3339))
	s.save(text)
}

func (s *Sampler) sampled(id string) {
	s.mu.Lock()
	s.retryWait, s.retryAt = 0, time.Time{}
	changed := s.breaker.sampled(id)
	text := []byte(nil)
	if changed {
		text = s.breaker.store()
	}
	s.mu.Unlock()
	if changed {
		s.save(text)
	}
}

func (s *Sampler) save(text []byte) {
	s.mu.Lock()
	store := s.store
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

// add adds the counts of one process. Gauges are replaced.
func (s *Stats) add(one procfs.Stats) {
	s.Samples += one.Samples
	s.FilesHashed += one.FilesHashed
	s.BytesRead += one.BytesRead
	s.CacheHits += one.CacheHits
	s.CPU += one.CPU
	s.Waited += one.Waited
	s.CacheSize, s.Stuck, s.Suspended = one.CacheSize, one.Stuck, one.Suspended
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
