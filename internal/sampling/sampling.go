// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package sampling decides which run is looked at when, and what of a sample is news: shortly after a run began, again a
// little later because libraries load lazily, then at long intervals.
//
// What it promises: telling it of a run never blocks and never waits for a sample; runs are looked at in the order in which
// they are due, first looks first, but for one in five while others wait; only what changed since it was told is told again, with the number of samples that showed
// it meanwhile; what the sink has no room for counts as not told. When it ends, what was seen and not told yet is told.
//
// What it refuses: it remembers a bounded number of runs and holds a bounded number of reports, and counts what goes beyond.
// It reads no process itself and knows no telemetry format.
package sampling

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/evidence"
)

// Options of a Scheduler. Zero fields mean their defaults, but for Resample and Refresh, where zero means never.
type Options struct {
	First    time.Duration // after a run began; 1 s
	Second   time.Duration // between the first look and the second; 30 s
	Resample time.Duration // between the looks that follow
	Refresh  time.Duration // after which everything is told again, changed or not
	Spread   time.Duration // over which the first looks at runs that were found going on are spread; 10 s
	Jitter   float64       // share of each wait that is left to chance; 0.1
	Runs     int           // remembered at once; 16384
	Workers  int           // looks at once; 2
	Reports  int           // that wait for the sink; 64
	Timeout  time.Duration // of asking a runtime for a process id; 10 s
	Drain    time.Duration // for the sink to take what is not told yet, when Run ends; 5 s
}

func (o *Options) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&o.First, time.Second)
	set(&o.Second, 30*time.Second)
	set(&o.Spread, 10*time.Second)
	set(&o.Timeout, 10*time.Second)
	set(&o.Drain, 5*time.Second)
	if o.Jitter <= 0 {
		o.Jitter = 0.1
	}
	for _, n := range []struct {
		to *int
		v  int
	}{{&o.Runs, 16_384}, {&o.Workers, 2}, {&o.Reports, 64}} {
		if *n.to <= 0 {
			*n.to = n.v
		}
	}
}

// Sampler takes samples: *procfs.Sampler.
type Sampler interface {
	Sample(ctx context.Context, target evidence.Target) (evidence.Sample, error)
}

// Sink takes reports. Deliver returns nil once the report is accepted, or dropped for good and counted, and an error only
// when ctx ended before that.
type Sink interface {
	Deliver(ctx context.Context, r *Report) error
}

// Telemetry counts. Its methods must not block and may be called from several goroutines.
type Telemetry interface {
	// Sampled tells of a look and its outcome, one of the Outcome constants. s is nil where there is none.
	Sampled(outcome string, s *evidence.Sample)
	// Missed tells of a run that is never looked at: one of the Missed constants.
	Missed(reason string)
}

// The outcomes of a look.
const (
	OutcomeTold      = "told"      // something was new
	OutcomeUnchanged = "unchanged" // nothing was
	OutcomeFailed    = "failed"    // nobody knows the process, or it could not be looked at
	OutcomeDropped   = "dropped"   // something was new and the sink had no room; the next look tells it
	OutcomeLost      = "lost"      // it was to be told when the observer stopped, and the sink did not take it in time
)

// Why a run is missed.
const (
	MissedEnded = "ended" // before its first look
	MissedFull  = "full"  // too many runs are remembered
)

// Run is a run that goes on.
type Run struct {
	Runtime      string // the configured name of the runtime
	Container    *container.Container
	Run          container.Run
	RestartCount uint32
	// Start is the start or restart that was told of it; nil: it was told by an earlier process of the observer.
	Start *container.Transition
}

// Report is what a look has to tell.
type Report struct {
	Run
	Sequence uint32 // of the look within the run, from 1
	Sample   evidence.Sample
	Hits     []uint64 // for each of Sample.Files: looks that showed it since it was told last
	// Whole: Sample holds all that was seen, as in the first look. It is then good for a better account of the start.
	Whole bool
}

// PID asks a runtime for the main process of a container.
type PID func(ctx context.Context, id string) (uint32, error)

// firstInRow is how many first looks come before a later one that is due: containers that start all the time must not keep the others
// from ever being looked at again.
const firstInRow = 4

type key struct{ runtime, id string }

// Scheduler remembers the runs of all runtimes and has them looked at.
type Scheduler struct {
	opts    Options
	sampler Sampler
	sink    Sink
	tel     Telemetry
	reports chan *Report
	wake    chan struct{}

	mu    sync.Mutex
	runs  map[key]*tracked
	first queue // looks that are the first of their run
	later queue
	pids  map[string]PID // by runtime

	inRow     int             // first looks taken since a later one
	elsewhere map[string]bool // runtimes that may be on another machine
}

// New makes a scheduler. It does nothing before Run.
func New(opts Options, sampler Sampler, sink Sink, tel Telemetry) *Scheduler {
	opts.defaults()
	return &Scheduler{
		opts: opts, sampler: sampler, sink: sink, tel: tel, reports: make(chan *Report, opts.Reports), wake: make(chan struct{}, 1),
		runs: map[key]*tracked{}, pids: map[string]PID{}, elsewhere: map[string]bool{},
	}
}

// Asks sets whom to ask for process ids that no start told.
func (s *Scheduler) Asks(runtime string, pid PID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pids[runtime] = pid
}

// Elsewhere says that a runtime may be on another machine, so that its process ids say nothing by themselves.
func (s *Scheduler) Elsewhere(runtime string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.elsewhere[runtime] = true
}

// Len is the number of runs that are remembered.
func (s *Scheduler) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.runs)
}

// Began tells of a run that goes on. A run that is known already is not begun again.
func (s *Scheduler) Began(r Run) {
	k := key{r.Runtime, r.Container.ID}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.runs[k]; known != nil {
		if known.run.Run.StartedAt.Equal(r.Run.StartedAt) {
			return
		}
		s.end(k, known) // a restart whose stop was folded
	} else if len(s.runs) >= s.opts.Runs {
		s.tel.Missed(MissedFull)
		return
	}
	t := &tracked{run: r, key: k, told: map[fileKey]*told{}}
	s.runs[k] = t
	due := r.Run.StartedAt.Add(s.opts.First)
	if due.Before(now) {
		due = now.Add(min(s.opts.First, s.opts.Spread))
		if now.Sub(r.Run.StartedAt) > s.opts.Second { // found going on, perhaps with many others
			due = now.Add(rand.N(s.opts.Spread)) //nolint:gosec // spreads load
		}
	} else {
		due = due.Add(rand.N(max(time.Duration(s.opts.Jitter*float64(s.opts.First)), 1))) //nolint:gosec // the same
	}
	s.first.add(t, due)
	s.stir()
}

// Ended tells that the run of a container is over.
func (s *Scheduler) Ended(runtime, id string) {
	k := key{runtime, id}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.runs[k]; t != nil {
		s.end(k, t)
	}
}

// end forgets a run. What it was seen to do since it was told last is told by the worker that has it, or the next.
func (s *Scheduler) end(k key, t *tracked) {
	delete(s.runs, k)
	t.ended = true
	if t.busy {
		return
	}
	s.first.remove(t)
	s.later.remove(t)
	if t.looks == 0 {
		s.tel.Missed(MissedEnded)
		return
	}
	if t.owed() {
		s.later.add(t, time.Now())
		s.stir()
	}
}

// stir has the dispatcher look at the queues again.
func (s *Scheduler) stir() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run has runs looked at until ctx ends. It then gives the sink Drain to take what was seen and is not told yet, and returns when
// all its goroutines have. It may be called once.
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
					s.look(ctx, t)
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
	s.conclude(sending)
	close(s.reports)
	sender.Wait()
}

// conclude hands on what is owed of all runs, until ctx ends. No worker may be there any more.
func (s *Scheduler) conclude(ctx context.Context) {
	for _, t := range s.owing() {
		select {
		case s.reports <- t.rest():
		case <-ctx.Done():
			s.tel.Sampled(OutcomeLost, nil)
		}
	}
}

// owing gives the runs that showed what was not told, those that are over first.
func (s *Scheduler) owing() []*tracked {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*tracked
	for _, t := range s.later.heap {
		if t.ended && t.owed() {
			out = append(out, t)
		}
	}
	for _, t := range s.runs {
		if t.owed() {
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

// next takes the run that is to be looked at now, or tells how long there is none.
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
		t := q.take()
		t.busy = true
		if s.inRow++; q == &s.later {
			s.inRow = 0
		}
		return t, 0
	}
	return nil, wait
}

// done puts a run back after a look.
func (s *Scheduler) done(t *tracked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.busy = false
	if t.ended {
		if t.owed() {
			s.later.add(t, time.Now())
			s.stir()
		}
		return
	}
	wait := s.opts.Second
	if t.looks > 1 {
		wait = s.opts.Resample
	}
	if wait <= 0 {
		return
	}
	s.later.add(t, time.Now().Add(s.jittered(wait)))
	s.stir()
}

func (s *Scheduler) jittered(d time.Duration) time.Duration {
	spread := time.Duration(s.opts.Jitter * float64(d))
	if spread <= 0 {
		return d
	}
	return d - spread + rand.N(2*spread) //nolint:gosec // spreads load
}

// send hands reports to the sink until there are no more. What ctx leaves no time for is lost, and counted.
func (s *Scheduler) send(ctx context.Context) {
	for r := range s.reports {
		if ctx.Err() != nil || s.sink.Deliver(ctx, r) != nil {
			s.tel.Sampled(OutcomeLost, nil)
		}
	}
}
