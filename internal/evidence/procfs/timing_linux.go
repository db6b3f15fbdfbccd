// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// unaccounted is how long at most the thread runs before its CPU time is read, which costs as much as a small step.
const unaccounted = 500 * time.Microsecond

// timing divides an inspection into steps: it keeps the CPU time of the thread under its share, and lets the sampler see which step hangs.
type timing struct {
	ctx      context.Context
	pace     *pace
	began    time.Time // with a monotonic clock
	deadline time.Time

	tid  atomic.Int64
	step atomic.Int64 // when the present step began, in ns since the inspection began; 0 between steps

	// Only the thread uses these.
	cpu       time.Duration // of the thread, when it was read last
	accounted time.Duration // when it was read last, since the inspection began
	tooLate   bool          // the deadline would pass before there is CPU time
}

// start begins to account for the CPU time of the present thread, and waits for what earlier samples used too much.
func (t *timing) start(tid int) {
	t.tid.Store(int64(tid))
	t.cpu = threadCPU()
	t.wait(t.pace.spend(0))
}

func threadCPU() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// do runs one step: whatever may hang, or costs CPU time. After it the thread waits until there is CPU time for another.
func (t *timing) do(step func()) {
	t.step.Store(max(int64(time.Since(t.began)), 1))
	step()
	t.step.Store(0)
	if time.Since(t.began)-t.accounted > unaccounted {
		t.wait(t.account())
	}
}

// account subtracts the thread's CPU time from what all samples may use, and returns how long to wait before using more.
func (t *timing) account() (wait time.Duration) {
	cpu := threadCPU()
	wait = t.pace.spend(cpu - t.cpu)
	t.cpu = cpu
	t.accounted = time.Since(t.began)
	return wait
}

// wait waits for CPU time.
func (t *timing) wait(wait time.Duration) {
	if wait <= 0 {
		return
	}
	if time.Until(t.deadline) < wait {
		t.tooLate = true // waiting would only keep other samples waiting
		return
	}
	begin := time.Now()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
	}
	t.pace.addWaited(time.Since(begin))
}

// expired reports whether there is no time left, or the context has ended.
func (t *timing) expired() bool {
	return t.tooLate || t.ctx.Err() != nil || time.Now().After(t.deadline)
}

// hangs reports whether a step takes longer than the limit without running.
func (t *timing) hangs(limit time.Duration) bool {
	began := t.step.Load()
	return began != 0 && time.Since(t.began)-time.Duration(began) > limit && !threadRuns(int(t.tid.Load()))
}

// betweenSteps reports whether no step runs. A thread that ended by itself left no step; one that was abandoned is in one.
func (t *timing) betweenSteps() bool { return t.step.Load() == 0 }
