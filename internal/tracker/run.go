// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"time"

	"github.com/zastava-otel/zastava/internal/container"
)

// clockSlack is how much earlier than its start a run may end. containerd reads its clock for the start after the start
// returned, and takes the end from the shim, so a process that exits at once ends some milliseconds before it started.
const clockSlack = 5 * time.Second

// endsAfterStart clears an end that is before the start by more than clockSlack: the clock was set back meanwhile.
func endsAfterStart(run container.Run) container.Run {
	if later(run.StartedAt, run.FinishedAt.Add(clockSlack)) {
		run.FinishedAt = time.Time{}
	}
	return run
}

// merge fills the fields that a newer report of a run lacks from the older one.
func merge(was, now container.Run) container.Run {
	now.StartedAt = latest(now.StartedAt, was.StartedAt)
	if now.FinishedAt.IsZero() {
		now.FinishedAt = was.FinishedAt
	}
	if now.Reason == "" {
		now.Reason = was.Reason
	}
	if now.StopSignal == "" {
		now.StopSignal = was.StopSignal
	}
	now.PID = keep(now.PID, was.PID)
	return now
}

// previousOf describes a run for the restart that follows it; nil if no run is known.
func previousOf(id string, run container.Run) *container.PreviousRun {
	if run.StartedAt.IsZero() && run.FinishedAt.IsZero() {
		return nil
	}
	return &container.PreviousRun{ContainerID: id, FinishedAt: run.FinishedAt, ExitCode: run.ExitCode, ExitKnown: run.ExitKnown, Reason: run.Reason}
}

// later reports whether a is known and after b; every known time is after an unknown one.
func later(a, b time.Time) bool { return !a.IsZero() && a.After(b) }

func latest(times ...time.Time) time.Time {
	var last time.Time
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}

func keep(now, was uint32) uint32 {
	if now != 0 {
		return now
	}
	return was
}
