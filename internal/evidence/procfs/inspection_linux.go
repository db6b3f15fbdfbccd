// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"context"
	"time"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// inspection takes one sample. All of it runs on the thread of one worker: whatever may hang, open, read and even close, hangs there.
type inspection struct {
	sampler *Sampler
	target  evidence.Target
	done    chan struct{} // closed when the worker is done with it
	timing
	findings

	// Only the thread uses these.
	*scratch
	member    membership
	mainAt    time.Time // when the main process started
	bytesLeft int64     // how many bytes of files may still be read
}

func newInspection(ctx context.Context, s *Sampler, target evidence.Target) *inspection {
	now, limits := time.Now(), s.config.Limits
	return &inspection{
		sampler: s, target: target, done: make(chan struct{}), bytesLeft: limits.Bytes,
		timing:   timing{ctx: ctx, pace: s.pace, began: now, deadline: now.Add(limits.Time)},
		findings: newFindings(target.ContainerID, now, limits),
	}
}

// run takes the sample, on the thread of a worker.
func (in *inspection) run(tid int, s *scratch) {
	defer in.threadEnds()
	in.scratch = s
	in.start(tid)
	in.readProcesses()
	if in.sampler.config.PackageOwners && !in.over() {
		in.findOwners()
	}
	in.account()
}

func (in *inspection) threadEnds() {
	if abandoned := !in.seal(func() {}); abandoned {
		in.sampler.hung.returned(in.target.ContainerID)
	}
}

// abandon gives up the thread. It reports false if the thread has just ended.
func (in *inspection) abandon() bool {
	return in.seal(func() { in.sampler.hung.abandoned(in.target.ContainerID) })
}

// over reports whether to stop here.
func (in *inspection) over() bool { return in.expired() || in.isSealed() }

// finish returns the sample of what was published. After it the inspection is over, even if its thread is not.
func (in *inspection) finish() evidence.Sample {
	hanging := !in.betweenSteps()
	rest := evidence.ReasonBudget // of time, for what was not reached
	if hanging {
		rest = evidence.ReasonTimeout
	}
	return in.findings.finish(in.target.PID, rest, in.sampler.config.PackageOwners, hanging)
}
