// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"context"
	"time"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// maxTold bounds the files that are remembered of one run.
const maxTold = 8192

// tracked is a run and what was told of it. Scheduler.mu guards busy, ended, looks and the place in a queue; the rest belongs
// to the worker that has it (busy), and to whoever holds the lock otherwise.
type tracked struct {
	run   Run
	key   key
	busy  bool
	ended bool
	looks uint32
	due   time.Time
	index int // in its queue, from 1; 0: in none

	told      map[fileKey]*told
	processes map[processKey]struct{} // of the last look
	main      evidence.Process        // of the last look that showed files
	lastAt    time.Time
	refreshed time.Time
}

type fileKey struct {
	path, device string
	inode        uint64
}

type processKey struct {
	pid     int
	started time.Time
}

// told is a file as it was told, and how many looks have shown it since.
type told struct {
	file evidence.File
	hits uint64
}

// owed: looks showed something since it was told.
func (t *tracked) owed() bool {
	for _, f := range t.told {
		if f.hits > 0 {
			return true
		}
	}
	return false
}

// look looks at a run, or tells what is still owed of one that ended.
func (s *Scheduler) look(ctx context.Context, t *tracked) {
	s.mu.Lock()
	ended := t.ended
	s.mu.Unlock()
	if ended {
		s.settle(t)
		return
	}
	outcome, sample := s.sample(ctx, t)
	if ctx.Err() == nil {
		s.tel.Sampled(outcome, sample)
	}
	s.done(t)
}

// settle tells what was seen of a run that is over and not told yet. It is tried once.
func (s *Scheduler) settle(t *tracked) {
	if !s.offer(t.rest()) {
		s.tel.Sampled(OutcomeDropped, nil)
	}
}

// rest is what was seen of a run and not told yet.
func (t *tracked) rest() *Report {
	r := &Report{Run: t.run, Sequence: t.looks, Sample: evidence.Sample{ContainerID: t.key.id, TakenAt: t.lastAt}}
	if t.main.Main {
		r.Sample.Processes = []evidence.Process{t.main}
	}
	for _, f := range t.told {
		if f.hits > 0 {
			r.Sample.Files, r.Hits = append(r.Sample.Files, f.file), append(r.Hits, f.hits)
		}
	}
	count := evidence.Count{Seen: len(r.Sample.Processes), Read: len(r.Sample.Processes)}
	r.Sample.Coverage = evidence.Coverage{Processes: count, Files: evidence.Count{Seen: len(r.Sample.Files)}}
	return r
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
	if len(sample.Files) == 0 && gone(&sample) {
		t.run.Run.PID = 0 // it may be another process's by now: ask again
	}
	now := time.Now()
	whole := len(t.told) == 0
	refresh := s.opts.Refresh > 0 && !t.refreshed.IsZero() && now.Sub(t.refreshed) >= s.opts.Refresh
	r, news := t.news(&sample, refresh)
	r.Run, r.Sequence, r.Whole = t.run, t.looks, whole && len(sample.Files) > 0
	if !news {
		t.commit(&sample, nil)
		return OutcomeUnchanged, &sample
	}
	if !s.offer(r) {
		t.commit(&sample, nil) // it stays news
		return OutcomeDropped, &sample
	}
	if t.refreshed.IsZero() || refresh {
		t.refreshed = now
	}
	t.commit(&sample, r)
	return OutcomeTold, &sample
}

func (s *Scheduler) count(t *tracked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.looks++
}

func (s *Scheduler) offer(r *Report) bool {
	select {
	case s.reports <- r:
		return true
	default:
		return false
	}
}

// pid gives the main process, asked of the runtime where no start told it; 0: nobody knows.
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

// gone: the main process was not there, or not the container's.
func gone(s *evidence.Sample) bool {
	return len(s.Processes) == 0 || s.Processes[0].Executable.Reason == evidence.ReasonProcessGone
}

// news gives what of a sample was not told yet, and whether there is anything.
func (t *tracked) news(s *evidence.Sample, all bool) (*Report, bool) {
	r := &Report{Sample: *s}
	r.Sample.Files = nil
	for i := range s.Files {
		f := &s.Files[i]
		known := t.told[keyOf(f)]
		hits := uint64(1)
		if known != nil {
			hits += known.hits
			if !all && !better(&known.file, f) {
				continue
			}
		}
		r.Sample.Files, r.Hits = append(r.Sample.Files, *f), append(r.Hits, hits)
	}
	if len(r.Sample.Files) > 0 || t.processes == nil {
		return r, true // all processes with it: files name those that use them
	}
	r.Sample.Processes = nil
	news := false
	for i := range s.Processes {
		p := &s.Processes[i]
		_, known := t.processes[processKey{p.PID, p.StartedAt}]
		news = news || !known
		if p.Main || !known {
			r.Sample.Processes = append(r.Sample.Processes, *p)
		}
	}
	return r, news
}

// commit remembers a sample: what of it was told (nil: nothing), and for the rest that it was seen once more.
func (t *tracked) commit(s *evidence.Sample, r *Report) {
	t.lastAt = s.TakenAt
	if r != nil {
		t.processes = make(map[processKey]struct{}, len(s.Processes))
		for i := range s.Processes {
			t.processes[processKey{s.Processes[i].PID, s.Processes[i].StartedAt}] = struct{}{}
		}
	}
	if len(s.Processes) > 0 && s.Processes[0].Main {
		t.main = s.Processes[0]
	}
	current := make(map[fileKey]struct{}, len(s.Files))
	for i := range s.Files {
		k := keyOf(&s.Files[i])
		current[k] = struct{}{}
		if known := t.told[k]; known != nil {
			known.hits++
		}
	}
	if r == nil {
		return
	}
	for i := range r.Sample.Files {
		f := r.Sample.Files[i]
		f.Uses = f.Uses[:min(len(f.Uses), 1):min(len(f.Uses), 1)] // enough to tell it once more
		if known := t.told[keyOf(&f)]; known != nil || len(t.told) < maxTold {
			t.told[keyOf(&f)] = &told{file: f}
		}
	}
	if len(t.told) >= maxTold {
		for k := range t.told {
			if _, here := current[k]; !here {
				delete(t.told, k)
			}
		}
	}
}

func keyOf(f *evidence.File) fileKey { return fileKey{f.Path, f.Device, f.Inode} }

// better tells whether a later look at a file knows something else than what was told. That something was known and is not any
// more, for want of budget or because the file is gone, is no news.
func better(was, now *evidence.File) bool {
	return was.Kind != now.Kind || (now.Deleted && !was.Deleted) || differs(was.SHA256, now.SHA256) || differs(was.Size, now.Size) ||
		differs(was.BuildID, now.BuildID) || differs(was.GoBuildID, now.GoBuildID) || differs(was.Package, now.Package) ||
		(was.Go.Status != now.Go.Status && now.Go.Status == evidence.StatusPresent)
}

func differs[T comparable](was, now evidence.Datum[T]) bool {
	return was != now && (now.Status != evidence.StatusUnknown || was.Status != evidence.StatusPresent)
}
