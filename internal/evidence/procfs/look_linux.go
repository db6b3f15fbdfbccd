// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// look is the taking of one sample. All of it happens on one worker's thread: whatever may hang, open, read, even close, hangs there.
// What was found is published as it is found, so that the sample has it when the thread is given up.
type look struct {
	ctx      context.Context
	sampler  *Sampler
	target   evidence.Target
	deadline time.Time

	// Of the thread alone.
	member    membership
	mainAt    time.Time     // when the main process started
	cpu       time.Duration // of the thread, when it was accounted for last
	accounted time.Duration // when that was, since the look began
	left      int64         // bytes that may be read
	*scratch
	tooLate bool // the limit of time has passed or is about to

	done chan struct{} // closed when the worker is done with it
	tid  atomic.Int64
	step atomic.Int64 // when the present step began, ns since the look did; 0 = between steps
	from time.Time    // when the look began, with a monotonic clock

	mu        sync.Mutex
	sealed    bool // given up: nothing more is published
	sample    evidence.Sample
	files     []*fileDraft
	index     map[fileKey]*fileDraft
	dropped   int            // files beyond the limit
	opening   *evidence.File // a descriptor's, while nothing is known of it but its name
	processes evidence.Count
}

func newLook(ctx context.Context, s *Sampler, target evidence.Target) *look {
	now := time.Now()
	return &look{
		ctx: ctx, sampler: s, target: target, from: now, deadline: now.Add(s.config.Limits.Time), left: s.config.Limits.Bytes,
		sample: evidence.Sample{ContainerID: target.ContainerID, TakenAt: now.UTC()},
		index:  make(map[fileKey]*fileDraft, 16), files: make([]*fileDraft, 0, 16), done: make(chan struct{}),
	}
}

// run takes the sample, on the thread of a worker.
func (l *look) run(tid int, s *scratch) {
	defer l.threadEnds()
	l.scratch = s
	l.tid.Store(int64(tid))
	l.cpu = threadCPU()
	l.wait(l.sampler.pace.spend(0)) // what samples before it used

	l.processesOfTheContainer()
	if l.sampler.config.PackageOwners && !l.over() {
		l.packages()
	}
	l.account()
}

func (l *look) threadEnds() {
	l.mu.Lock()
	sealed := l.sealed
	l.sealed = true
	l.mu.Unlock()
	if sealed {
		l.sampler.cameBack(l.target.ContainerID)
	}
}

func threadCPU() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// unaccounted is for how long at most the thread runs before its CPU time is asked for, which costs as much as a small step.
const unaccounted = 500 * time.Microsecond

// do is one step: what may hang, and what costs CPU time. After it the thread waits until there is CPU time for another.
func (l *look) do(step func()) {
	l.step.Store(max(int64(time.Since(l.from)), 1))
	step()
	l.step.Store(0)
	if time.Since(l.from)-l.accounted > unaccounted {
		l.wait(l.account())
	}
}

// account takes the thread's CPU time off what all samples may use, and gives how long to wait before using more.
func (l *look) account() (wait time.Duration) {
	cpu := threadCPU()
	wait = l.sampler.pace.spend(cpu - l.cpu)
	l.cpu = cpu
	l.accounted = time.Since(l.from)
	return wait
}

// wait waits for CPU time.
func (l *look) wait(wait time.Duration) {
	if wait <= 0 {
		return
	}
	if time.Until(l.deadline) < wait {
		l.tooLate = true // waiting would only take the time from others
		return
	}
	begin := time.Now()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.ctx.Done():
	}
	l.sampler.pace.addWaited(time.Since(begin))
}

// over says whether to stop here.
func (l *look) over() bool {
	if l.tooLate || l.ctx.Err() != nil || time.Now().After(l.deadline) {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sealed
}

// hangs says whether a step takes longer than the limit without running.
func (l *look) hangs(limit time.Duration) bool {
	began := l.step.Load()
	return began != 0 && time.Since(l.from)-time.Duration(began) > limit && !threadRuns(int(l.tid.Load()))
}

// abandon gives the thread up, unless it has just ended.
func (l *look) abandon() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sealed {
		return false
	}
	l.sealed = true
	l.sampler.gaveUp(l.target.ContainerID)
	return true
}

// publish changes the sample, unless the look was given up.
func (l *look) publish(change func(*evidence.Sample)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.sealed {
		change(&l.sample)
	}
}

// finish makes the sample of what was published. After it the look is over, whether its thread is or not.
func (l *look) finish() evidence.Sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := evidence.ReasonBudget // of time, for what was not come to
	if !l.ended() {
		rest = evidence.ReasonTimeout
	}
	sample := l.sample
	sample.Coverage.Processes = l.processes
	if l.opening != nil && !l.ended() {
		l.files = append(l.files, &fileDraft{File: *l.opening})
	}
	count := evidence.Count{Seen: len(l.files) + l.dropped}
	skip(&count, evidence.ReasonBudget, l.dropped)
	slices.SortFunc(l.files, func(a, b *fileDraft) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Device, b.Device), cmp.Compare(a.Inode, b.Inode))
	})
	sample.Files = make([]evidence.File, len(l.files))
	for i, d := range l.files {
		f := &sample.Files[i]
		*f = d.File
		if f.SHA256.Status == evidence.StatusNone {
			c := unreadable(rest)
			f.Size, f.SHA256, f.BuildID, f.GoBuildID, f.Go = evidence.Unknown[int64](rest), c.sha256, c.BuildID, c.GoBuildID, c.Go
		}
		if f.Package.Status == evidence.StatusNone && l.sampler.config.PackageOwners {
			f.Package = evidence.Unknown[string](rest)
		}
		if f.SHA256.Status == evidence.StatusPresent {
			count.Read++
		} else {
			skip(&count, f.SHA256.Reason, 1)
		}
	}
	sample.Coverage.Files = count
	if len(sample.Processes) == 0 {
		sample.Processes = []evidence.Process{unknownProcess(l.target.PID, true, rest)}
		sample.Coverage.Processes = evidence.Count{Seen: 1, Skipped: map[evidence.Reason]int{rest: 1}}
	}
	return sample
}

// ended says whether the thread came to its end by itself: it seals the look too, but leaves no step.
func (l *look) ended() bool { return l.step.Load() == 0 }

func skip(c *evidence.Count, reason evidence.Reason, n int) {
	if n == 0 {
		return
	}
	if c.Skipped == nil {
		c.Skipped = map[evidence.Reason]int{}
	}
	c.Skipped[reason] += n
}

// unknownProcess is a process of which only the number is known.
func unknownProcess(pid int, main bool, reason evidence.Reason) evidence.Process {
	return evidence.Process{
		PID: pid, Main: main, Executable: evidence.Unknown[string](reason), Arguments: evidence.Unknown[[]string](reason),
		Mappings: evidence.Unknown[int](reason), OpenFiles: evidence.Unknown[int](reason),
	}
}
