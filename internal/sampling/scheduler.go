// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// firstInRow is how many first samples come before a later one that is due: containers that start all the time must not prevent all later
// samples of the others.
const firstInRow = 4

type key struct{ runtime, id string }

// Scheduler remembers the runs of all runtimes and has them sampled.
type Scheduler struct {
	opts    Options
	sampler Sampler
	sink    Sink
	tel     Telemetry
	reports chan *Report
	wake    chan struct{}

	mu    sync.Mutex
	runs  map[key]*tracked
	first queue // of first samples
	later queue
	inRow int // first samples since a later one

	pids      map[string]PID  // by runtime
	elsewhere map[string]bool // runtimes that may be on another machine
}

// New returns a scheduler. It does nothing before Run.
func New(opts Options, sampler Sampler, sink Sink, tel Telemetry) *Scheduler {
	opts.defaults()
	return &Scheduler{
		opts: opts, sampler: sampler, sink: sink, tel: tel, reports: make(chan *Report, opts.Reports), wake: make(chan struct{}, 1),
		runs: map[key]*tracked{}, pids: map[string]PID{}, elsewhere: map[string]bool{},
	}
}

// SetPID sets how to request process ids that no start reported.
func (s *Scheduler) SetPID(runtime string, pid PID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pids[runtime] = pid
}

// Elsewhere declares that a runtime may be on another machine, so that its process ids alone identify no process here.
func (s *Scheduler) Elsewhere(runtime string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.elsewhere[runtime] = true
}

// Len returns the number of runs that are remembered.
func (s *Scheduler) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.runs)
}

// Began adds a run that has not ended. A known run is not added again.
func (s *Scheduler) Began(r Run) {
	k := key{r.Runtime, r.Container.ID}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.runs[k]; known != nil {
		if known.run.Run.StartedAt.Equal(r.Run.StartedAt) {
			return
		}
		s.end(k, known) // a restart whose stop was coalesced
	} else if len(s.runs) >= s.opts.Runs {
		s.tel.Missed(MissedFull)
		return
	}
	t := &tracked{run: r, key: k, reported: map[fileKey]*reportedFile{}}
	s.runs[k] = t
	due := r.Run.StartedAt.Add(s.opts.First)
	if due.Before(now) {
		due = now.Add(min(s.opts.First, s.opts.Spread))
		if now.Sub(r.Run.StartedAt) > s.opts.Second { // it began long ago, perhaps like many others
			due = now.Add(rand.N(s.opts.Spread)) //nolint:gosec // spreads load
		}
	} else {
		due = due.Add(rand.N(max(time.Duration(s.opts.Jitter*float64(s.opts.First)), 1))) //nolint:gosec // the same
	}
	s.first.push(t, due)
	s.wakeDispatcher()
}

// Ended removes the run of a container.
func (s *Scheduler) Ended(runtime, id string) {
	k := key{runtime, id}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.runs[k]; t != nil {
		s.end(k, t)
	}
}

// end removes a run. What is unreported is reported by the worker that has it, or the next.
func (s *Scheduler) end(k key, t *tracked) {
	delete(s.runs, k)
	t.ended = true
	if t.busy {
		return
	}
	s.first.remove(t)
	s.later.remove(t)
	if t.samples == 0 {
		s.tel.Missed(MissedEnded)
		return
	}
	if t.pending() {
		s.later.push(t, time.Now())
		s.wakeDispatcher()
	}
}

// wakeDispatcher has the dispatcher check the queues again.
func (s *Scheduler) wakeDispatcher() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run samples runs until ctx ends. Then the sink has Drain to accept what is unreported. Run returns when all its goroutines have ended. It
// may be called once.
func (s *Scheduler) Run(ctx context.Context) {
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var sender, workers sync.WaitGroup
	sender.Go(func() { s.send(sending) })
	work := make(chan *tracked)
	for range s.opts.Workers {
		workers.Go(func() {
			for {
				select {
				case t := <-work:
					s.sampleRun(ctx, t)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	s.dispatch(ctx, work)
	workers.Wait()
	timer := time.AfterFunc(s.opts.Drain, stop)
	defer timer.Stop()
	s.drain(sending)
	close(s.reports)
	sender.Wait()
}

// drain passes on what is unreported of all runs, until ctx ends. All workers must have ended.
func (s *Scheduler) drain(ctx context.Context) {
	for _, t := range s.pendingRuns() {
		select {
		case s.reports <- t.unreported():
		case <-ctx.Done():
			s.tel.Sampled(OutcomeLost, nil)
		}
	}
}

// pendingRuns returns the runs with something unreported, those that ended first.
func (s *Scheduler) pendingRuns() []*tracked {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*tracked
	for _, t := range s.later.heap {
		if t.ended && t.pending() {
			out = append(out, t)
		}
	}
	for _, t := range s.runs {
		if t.pending() {
			out = append(out, t)
		}
	}
	return out
}

func (s *Scheduler) dispatch(ctx context.Context, work chan<- *tracked) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		t, wait := s.next()
		if t != nil {
			select {
			case work <- t:
				continue
			case <-ctx.Done():
				s.done(t)
				return
			}
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-s.wake:
		case <-ctx.Done():
			return
		}
	}
}

// next takes a run that is due from its queue, or returns how long none will be.
func (s *Scheduler) next() (*tracked, time.Duration) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := time.Hour
	order := [...]*queue{&s.first, &s.later}
	if s.inRow >= firstInRow {
		order = [...]*queue{&s.later, &s.first}
	}
	for _, q := range order {
		if len(q.heap) == 0 {
			continue
		}
		if d := q.heap[0].due.Sub(now); d > 0 {
			wait = min(wait, d)
			continue
		}
		t := q.pop()
		t.busy = true
		if s.inRow++; q == &s.later {
			s.inRow = 0
		}
		return t, 0
	}
	return nil, wait
}

// done puts a run back after a sample.
func (s *Scheduler) done(t *tracked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.busy = false
	if t.ended {
		if t.pending() {
			s.later.push(t, time.Now())
			s.wakeDispatcher()
		}
		return
	}
	wait := s.opts.Second
	if t.samples > 1 {
		wait = s.opts.Resample
	}
	if wait <= 0 {
		return
	}
	s.later.push(t, time.Now().Add(s.jittered(wait)))
	s.wakeDispatcher()
}

func (s *Scheduler) jittered(d time.Duration) time.Duration {
	spread := time.Duration(s.opts.Jitter * float64(d))
	if spread <= 0 {
		return d
	}
	return d - spread + rand.N(2*spread) //nolint:gosec // spreads load
}

// send passes reports to the sink until the channel is closed. What is not accepted before ctx ends is lost, and counted.
func (s *Scheduler) send(ctx context.Context) {
	for r := range s.reports {
		if ctx.Err() != nil || s.sink.Deliver(ctx, r) != nil {
			s.tel.Sampled(OutcomeLost, nil)
		}
	}
}
