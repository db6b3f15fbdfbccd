// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// End is how a run is expected to end.
type End struct {
	ExitCode int32
	Reason   string // Completed, Error, OOMKilled, StartError
}

// Record is what the driver did with one container and what the runtime last
// said about it. Tests compare an observer's output with it.
type Record struct {
	ID                     string
	Name                   string
	Attempt                uint32
	Image                  string
	SandboxID              string
	Pod, Namespace, PodUID string
	LogFile                string // what it writes, in the CRI's log format; gone with its pod
	Expect                 End    // from the script; zero where the script does not say

	// The runtime's own words, from the last status. The times are UTC to the
	// nanosecond, and zero where the runtime has none. containerd takes
	// StartedAt from its clock once the start has returned, and FinishedAt from
	// the shim at the exit: a process that exits at once can have a FinishedAt
	// some milliseconds before its StartedAt.
	State                            cri.ContainerState
	CreatedAt, StartedAt, FinishedAt time.Time
	ExitCode                         int32
	Reason                           string

	// StartError is the runtime's answer to a start that it refused.
	StartError string
	// RemovingAt and RemovedAt are the driver's clock before (the first try of)
	// and after the removal. While RemovedAt is zero the container exists.
	RemovingAt, RemovedAt time.Time

	saidAt time.Time // the driver's clock when the runtime last spoke of it
}

// Started reports whether the container ever ran.
func (r Record) Started() bool { return !r.StartedAt.IsZero() }

// Ended is how the runtime says the run ended; ok is false while it did not.
func (r Record) Ended() (end End, ok bool) {
	return End{ExitCode: r.ExitCode, Reason: r.Reason}, r.State == cri.ContainerState_CONTAINER_EXITED
}

func (r *Record) take(s *cri.ContainerStatus) {
	r.State = s.GetState()
	r.CreatedAt, r.StartedAt, r.FinishedAt = fromNanos(s.GetCreatedAt()), fromNanos(s.GetStartedAt()), fromNanos(s.GetFinishedAt())
	r.ExitCode, r.Reason = s.GetExitCode(), s.GetReason()
	r.saidAt = time.Now()
}

// fromNanos is the zero time for the CRI's zero, which means unknown, and for
// times before the epoch (containerd's rendering of an unset time.Time).
func fromNanos(ns int64) time.Time {
	if ns <= 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

func (d *Driver) add(r *Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records = append(d.records, r)
	d.byID[r.ID] = r
}

func (d *Driver) update(id string, change func(*Record)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.byID[id]; r != nil {
		change(r)
	}
}

// Record is a copy of one container's record.
func (d *Driver) Record(id string) (Record, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.byID[id]; r != nil {
		return *r, true
	}
	return Record{}, false
}

// Records are copies of all records, in the order of creation. The record
// grows with every container ever created; Forget bounds it.
func (d *Driver) Records() []Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Record, 0, len(d.records))
	for _, r := range d.records {
		all = append(all, *r)
	}
	return all
}

// Forget drops the records of removed containers, for a driver that runs for
// long and is never compared with.
func (d *Driver) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := d.records[:0]
	for _, r := range d.records {
		if r.RemovedAt.IsZero() {
			kept = append(kept, r)
		} else {
			delete(d.byID, r.ID)
		}
	}
	clear(d.records[len(kept):])
	d.records = kept
}
