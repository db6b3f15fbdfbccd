// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// End is how a run ends.
type End struct {
	ExitCode int32
	Reason   string // Completed, Error, OOMKilled, StartError
}

// Record is what a driver did with one container and what the runtime reported about it last. Tests compare an observer's output
// with it.
type Record struct {
	Identity
	Status

	Expect End // from the script, zero where it does not expect an end

	// StartError is the runtime's answer to a start that it refused.
	StartError string
	// RemovingAt and RemovedAt are the driver's clock before the first attempt to remove the container and after the removal. While
	// RemovedAt is zero the container exists.
	RemovingAt, RemovedAt time.Time

	reportedAt time.Time // the driver's clock when the runtime last reported a status
}

// Identity is what never changes about a container.
type Identity struct {
	ID                     string
	Name                   string
	Attempt                uint32
	Image                  string
	SandboxID              string
	Pod, Namespace, PodUID string
	LogFile                string // of its output, in CRI's format; removed with the pod
}

// Status is the runtime's last status. The times are UTC to the nanosecond, and zero where the runtime reports none. containerd reads
// its clock for StartedAt once the start has returned, and has FinishedAt from the shim, at the exit: FinishedAt of a process that
// exits at once can be some milliseconds before its StartedAt.
type Status struct {
	State                            cri.ContainerState
	CreatedAt, StartedAt, FinishedAt time.Time
	ExitCode                         int32
	Reason                           string
}

// Started reports whether the container ever ran.
func (s Status) Started() bool { return !s.StartedAt.IsZero() }

// Ended returns how the run ended; ok is false while it runs.
func (s Status) Ended() (end End, ok bool) {
	return End{ExitCode: s.ExitCode, Reason: s.Reason}, s.State == cri.ContainerState_CONTAINER_EXITED
}

func statusOf(s *cri.ContainerStatus) Status {
	return Status{
		State:     s.GetState(),
		CreatedAt: fromNanos(s.GetCreatedAt()), StartedAt: fromNanos(s.GetStartedAt()), FinishedAt: fromNanos(s.GetFinishedAt()),
		ExitCode: s.GetExitCode(), Reason: s.GetReason(),
	}
}

// fromNanos returns the zero time for CRI's 0, which means unknown, and for times before the epoch: containerd renders an unset
// time.Time so.
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

// Record returns a copy of one container's record; false when the driver does not know the container.
func (d *Driver) Record(id string) (Record, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.byID[id]; r != nil {
		return *r, true
	}
	return Record{}, false
}

// Records returns copies of all records, in the order of creation. They grow with every container ever created; Forget bounds them.
func (d *Driver) Records() []Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Record, 0, len(d.records))
	for _, r := range d.records {
		all = append(all, *r)
	}
	return all
}

// Forget drops the records of removed containers, for a driver that runs for long and with which no test compares.
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
