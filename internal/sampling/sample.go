// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"context"
	"time"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// sampleRun samples a run, or reports what is unreported of one that ended.
func (s *Scheduler) sampleRun(ctx context.Context, t *tracked) {
	s.mu.Lock()
	ended := t.ended
	s.mu.Unlock()
	if ended {
		s.reportRest(t)
		return
	}
	outcome, sample := s.sample(ctx, t)
	if ctx.Err() == nil {
		s.tel.Sampled(outcome, sample)
	}
	s.done(t)
}

// reportRest reports what is unreported of a run that ended. It is tried once.
func (s *Scheduler) reportRest(t *tracked) {
	if !s.offer(t.unreported()) {
		s.tel.Sampled(OutcomeDropped, nil)
	}
}

func (s *Scheduler) sample(ctx context.Context, t *tracked) (string, *evidence.Sample) {
	pid := s.pid(ctx, t)
	if pid == 0 {
		s.count(t)
		return OutcomeFailed, nil
	}
	s.mu.Lock()
	elsewhere := s.elsewhere[t.key.runtime]
	s.mu.Unlock()
	sample, err := s.sampler.Sample(ctx, evidence.Target{
		ContainerID: t.key.id, PID: int(pid), StartedAt: t.run.Run.StartedAt, CreatedAt: t.run.Container.CreatedAt, Elsewhere: elsewhere,
	})
	s.count(t)
	if err != nil {
		return OutcomeFailed, nil
	}
	if elsewhere && gone(&sample) {
		sample.Processes = nil // the runtime named a process that is not the container's: its pid is not to be reported as that
	}
	if len(sample.Files) == 0 && gone(&sample) {
		t.run.Run.PID = 0 // the pid may be another process's by now: request it again
	}
	now := time.Now()
	first := len(t.reported) == 0
	refresh := s.opts.Refresh > 0 && !t.refreshed.IsZero() && now.Sub(t.refreshed) >= s.opts.Refresh
	r, news := t.news(&sample, refresh)
	r.Run, r.Sequence, r.Complete = t.run, t.samples, first && len(sample.Files) > 0
	if !news {
		t.commit(&sample, nil)
		return OutcomeUnchanged, &sample
	}
	if !s.offer(r) {
		t.commit(&sample, nil) // it stays unreported
		return OutcomeDropped, &sample
	}
	if t.refreshed.IsZero() || refresh {
		t.refreshed = now
	}
	t.commit(&sample, r)
	return OutcomeReported, &sample
}

func (s *Scheduler) count(t *tracked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.samples++
}

func (s *Scheduler) offer(r *Report) bool {
	select {
	case s.reports <- r:
		return true
	default:
		return false
	}
}

// pid returns the main process, from the runtime if no start reported it; 0 if it is unknown.
func (s *Scheduler) pid(ctx context.Context, t *tracked) uint32 {
	if t.run.Run.PID != 0 {
		return t.run.Run.PID
	}
	s.mu.Lock()
	ask := s.pids[t.key.runtime]
	s.mu.Unlock()
	if ask == nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	pid, err := ask(ctx, t.key.id)
	if err != nil {
		return 0
	}
	t.run.Run.PID = pid
	return pid
}

// gone reports whether the main process did not exist, or was not the container's.
func gone(s *evidence.Sample) bool {
	return len(s.Processes) == 0 || s.Processes[0].Executable.Reason == evidence.ReasonProcessGone
}
