// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"fmt"
	"strconv"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

const (
	reasonOOMKilled = "OOMKilled"
	// containerd reports reasonUnknown with code 255 if the process exited while containerd was down, so that the real exit
	// code is unknown.
	reasonUnknown   = "Unknown"
	exitCodeUnknown = 255
	// exitCodeNone is what CRI-O reports if conmon recorded no exit code.
	exitCodeNone = -1
)

// Inspect returns the status of one container. A CRI status does not contain the sandbox, so c must come from Describe.
func (r *Runtime) Inspect(ctx context.Context, c *container.Container) (container.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	response, err := r.client.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.ID})
	if err != nil {
		return container.Snapshot{}, r.explain(err, "inspect container "+c.ID)
	}
	status := response.GetStatus()
	if status == nil {
		return container.Snapshot{}, fmt.Errorf("inspect container %s at %s: the response contains no status: %w",
			c.ID, r.endpoint, runtime.ErrNotFound)
	}
	return snapshot(c, status), nil
}

// snapshot converts a status into a snapshot of c. It accepts any status, even a malformed one.
func snapshot(c *container.Container, s *runtimeapi.ContainerStatus) container.Snapshot {
	c = withImage(c, imageOf(s.GetImage(), s.GetImageRef(), s.GetImageId()))
	if c.CreatedAt.IsZero() {
		if t := plausibleTime(s.GetCreatedAt()); !t.IsZero() {
			completed := *c
			completed.CreatedAt = t
			c = &completed
		}
	}
	snap := container.Snapshot{
		Container:    c,
		State:        state(s.GetState()),
		RestartCount: restartCount(s.GetAnnotations(), max(c.Attempt, s.GetMetadata().GetAttempt())),
	}
	switch snap.State {
	case container.StateRunning:
		snap.Run.StartedAt = plausibleTime(s.GetStartedAt())
		snap.OOM = s.GetReason() == reasonOOMKilled
	case container.StateExited:
		snap.Run = endedRun(s)
	case container.StateUnknown:
		snap.Run.StartedAt = plausibleTime(s.GetStartedAt())
	case container.StateCreated, container.StatePaused: // no run yet; CRI shows no pause
	}
	return snap
}

// endedRun returns the run of an exited container. If its start failed, it has a finish time and no start time. In CRI the exit
// code is valid only together with a finish time.
func endedRun(s *runtimeapi.ContainerStatus) container.Run {
	run := container.Run{
		StartedAt:  plausibleTime(s.GetStartedAt()),
		FinishedAt: plausibleTime(s.GetFinishedAt()),
		Reason:     runtime.Intern(s.GetReason()),
		OOMKilled:  s.GetReason() == reasonOOMKilled,
	}
	code := s.GetExitCode()
	unknown := code == exitCodeNone || (code == exitCodeUnknown && s.GetReason() == reasonUnknown)
	if !run.FinishedAt.IsZero() && !unknown {
		run.ExitCode = uint32(code) // CRI's int32 contains the bits of an unsigned Windows code
		run.ExitKnown = true
	}
	return run
}

// restartCount returns the kubelet's restart count, or the attempt if the container has no such annotation. Both are equal for
// a container that the kubelet created.
func restartCount(annotations map[string]string, attempt uint32) uint32 {
	n, err := strconv.ParseUint(annotations[annotationRestartCount], 10, 32)
	if err != nil {
		return attempt
	}
	return uint32(n)
}

// Times before 10^18 ns (September 2001) and from the year 2200 on are not plausible for a container. 0 and
// -6795364578871345152 (UnixNano of Go's zero time) mean unset; small numbers come from an unset clock or are in another unit.
const (
	earliest   = 1_000_000_000_000_000_000
	latestYear = 2200
)

var latest = time.Date(latestYear, time.January, 1, 0, 0, 0, 0, time.UTC).UnixNano()

// plausibleNanos returns ns, or 0 if it is not plausible.
func plausibleNanos(ns int64) int64 {
	if ns < earliest || ns >= latest {
		return 0
	}
	return ns
}

// plausibleTime returns the time, or the zero time if it is not plausible.
func plausibleTime(ns int64) time.Time {
	if ns = plausibleNanos(ns); ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// PlausibleTime returns t, or the zero time if t is not plausible by the same limits as CRI's times.
func PlausibleTime(t time.Time) time.Time {
	if t.Unix() < earliest/int64(time.Second) || t.Year() >= latestYear {
		return time.Time{}
	}
	return t
}
