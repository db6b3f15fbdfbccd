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
	// reasonUnknown with code 255 is containerd's answer when the process ended while containerd was down, and in the
	// moment between the two there is nobody who knows the code.
	reasonUnknown   = "Unknown"
	exitCodeUnknown = 255
	// exitCodeNone is CRI-O's answer when conmon left no exit code.
	exitCodeNone = -1
)

// Inspect looks at one container. The status carries no sandbox, so that c must come from Describe.
func (r *Runtime) Inspect(ctx context.Context, c *container.Container) (container.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	answer, err := r.client.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.ID})
	if err != nil {
		return container.Snapshot{}, r.explain(err, "inspect container "+c.ID)
	}
	status := answer.GetStatus()
	if status == nil {
		return container.Snapshot{}, fmt.Errorf("inspect container %s at %s: the answer holds no status: %w",
			c.ID, r.endpoint, runtime.ErrNotFound)
	}
	return snapshot(c, status), nil
}

// snapshot turns a status into a snapshot of c. It takes any status, however malformed.
func snapshot(c *container.Container, s *runtimeapi.ContainerStatus) container.Snapshot {
	c = complete(c, imageOf(s.GetImage(), s.GetImageRef(), s.GetImageId()))
	if c.CreatedAt.IsZero() {
		if t := saneTime(s.GetCreatedAt()); !t.IsZero() {
			completed := *c
			completed.CreatedAt = t
			c = &completed
		}
	}
	look := container.Snapshot{
		Container:    c,
		State:        state(s.GetState()),
		RestartCount: restartCount(s.GetAnnotations(), max(c.Attempt, s.GetMetadata().GetAttempt())),
	}
	switch look.State {
	case container.StateRunning:
		look.Run.StartedAt = saneTime(s.GetStartedAt())
		look.OOM = s.GetReason() == reasonOOMKilled
	case container.StateExited:
		look.Run = endedRun(s)
	case container.StateUnknown:
		look.Run.StartedAt = saneTime(s.GetStartedAt())
	case container.StateCreated, container.StatePaused: // no run yet; CRI shows no pause
	}
	return look
}

// endedRun tells how a container ended. A container whose start failed has an end and no start. CRI gives the exit code a
// meaning only beside a finish time.
func endedRun(s *runtimeapi.ContainerStatus) container.Run {
	run := container.Run{
		StartedAt:  saneTime(s.GetStartedAt()),
		FinishedAt: saneTime(s.GetFinishedAt()),
		Reason:     intern(s.GetReason()),
		OOMKilled:  s.GetReason() == reasonOOMKilled,
	}
	code := s.GetExitCode()
	unknown := code == exitCodeNone || (code == exitCodeUnknown && s.GetReason() == reasonUnknown)
	if !run.FinishedAt.IsZero() && !unknown {
		run.ExitCode = uint32(code) // CRI's int32 carries Windows' unsigned codes bit by bit
		run.ExitKnown = true
	}
	return run
}

// restartCount is what the kubelet counted, which CRI's attempt agrees with where the kubelet made the container.
func restartCount(annotations map[string]string, attempt uint32) uint32 {
	n, err := strconv.ParseUint(annotations[annotationRestartCount], 10, 32)
	if err != nil {
		return attempt
	}
	return uint32(n)
}

// Times before 10^18 ns (September 2001) and from the year 2200 on are no times of a container: 0 and -6795364578871345152
// (Go's zero time through UnixNano) mean unset, small numbers are a clock that was never set or another unit.
const (
	earliest   = 1_000_000_000_000_000_000
	latestYear = 2200
)

var latest = time.Date(latestYear, time.January, 1, 0, 0, 0, 0, time.UTC).UnixNano()

// saneNanos gives ns, or 0 when it is no time of a container.
func saneNanos(ns int64) int64 {
	if ns < earliest || ns >= latest {
		return 0
	}
	return ns
}

// saneTime gives the time, or the zero time when it is none.
func saneTime(ns int64) time.Time {
	if ns = saneNanos(ns); ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// PlausibleTime gives t, or the zero time when t is no time of a container: the rule that CRI's times go by.
func PlausibleTime(t time.Time) time.Time {
	if t.Unix() < earliest/int64(time.Second) || t.Year() >= latestYear {
		return time.Time{}
	}
	return t
}
