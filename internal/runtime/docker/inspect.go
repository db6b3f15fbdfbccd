// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/signal"
)

// The reasons of an exit, in CRI's terms. Docker has only the error text, which may contain what users wrote.
const (
	reasonCompleted  = "Completed"
	reasonError      = "Error"
	reasonOOMKilled  = "OOMKilled"
	reasonStartError = "StartError"
)

// Inspect returns the status of one container.
func (r *Runtime) Inspect(ctx context.Context, c *container.Container) (container.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	in, err := r.inspect(ctx, c.ID)
	if err != nil {
		return container.Snapshot{}, err
	}
	from := r.memory.currentPeer()
	s := snapshot(c, in, from)
	s.Container = r.withImage(ctx, s.Container)
	r.memory.update(c.ID, func(k *remembered) {
		if in.Config != nil {
			k.noteHidden(in.Config.Labels, "")
			k.imageSignal = signal.Number(from.platform.OS, from.platform.Arch, in.Config.StopSignal)
		}
		k.complete(&s, from.platform)
		k.neverRan = s.State == container.StateCreated && in.State != nil && state(string(in.State.Status)) == container.StateExited
	})
	return s, nil
}

// PID returns the process id of a container's main process.
func (r *Runtime) PID(ctx context.Context, id string) (uint32, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	in, err := r.inspect(ctx, id)
	if err != nil || in.State == nil {
		return 0, err
	}
	return u32(in.State.Pid), nil
}

func (r *Runtime) inspect(ctx context.Context, id string) (*api.InspectResponse, error) {
	if !validID(id) {
		return nil, fmt.Errorf("inspect a container at %s: its id is not valid: %w", r.endpoint, runtime.ErrNotFound)
	}
	response, err := r.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return nil, r.explain(err, "inspect container "+id)
	}
	return &response.Container, nil
}

// snapshot converts the response to an inspection into a snapshot of c. It accepts any response, even a malformed one.
func snapshot(c *container.Container, in *api.InspectResponse, from peer) container.Snapshot {
	s := container.Snapshot{Container: withInspected(c, in, from), RestartCount: u32(in.RestartCount)}
	if c.Attempt > 0 {
		s.RestartCount = max(s.RestartCount, c.Attempt)
	}
	st := in.State
	if st == nil {
		return s
	}
	if st.Status == api.StateRestarting && s.RestartCount > 0 {
		s.RestartCount-- // it already counts the pending restart
	}
	s.State = state(string(st.Status))
	run := container.Run{StartedAt: parseTime(st.StartedAt), FinishedAt: parseTime(st.FinishedAt)}
	if s.State == container.StateExited && run.StartedAt.IsZero() {
		s.State = container.StateCreated // "removing" and "dead" do not mean that there was a run
	}
	switch s.State {
	case container.StateRunning, container.StatePaused:
		run.PID = u32(st.Pid)
		s.Run, s.OOM = run, st.OOMKilled
		if !run.FinishedAt.Before(run.StartedAt) {
			s.Run.FinishedAt = time.Time{} // otherwise it is the end of the previous run
		}
		s.Health = health(st)
	case container.StateExited:
		s.Run = endedRun(run, st)
		if st.Error != "" { // a later start failed: the exit code may be of that start, but the times are of the run
			s.Run.ExitCode, s.Run.ExitKnown, s.Run.Reason, s.Run.OOMKilled = 0, false, "", false
		}
	case container.StateCreated:
		if !startFailed(st) {
			return s
		}
		s.State = container.StateExited
		s.Run = container.Run{FinishedAt: run.FinishedAt, ExitCode: u32(st.ExitCode), ExitKnown: true, Reason: reasonStartError}
	case container.StateUnknown:
		s.Run.StartedAt = run.StartedAt
	}
	return s
}

// startFailed reports whether the start of a container failed. Docker reports such a container as created, as it does one that
// was never started. Only the presence of an error is used, because its text may quote a command line. Podman sets neither an
// error nor an exit code.
func startFailed(st *api.State) bool { return st.Error != "" || st.ExitCode != 0 }

// killedByKernel is the exit code of a process that the kernel's OOM killer terminated: 128 + SIGKILL.
const killedByKernel = 137

// endedRun completes the run of an exited container. The engine's OOMKilled means that any process in the container was
// OOM-killed at any time of the run. Only together with the exit code can it be what ended the run.
func endedRun(run container.Run, st *api.State) container.Run {
	run.ExitCode, run.ExitKnown = u32(st.ExitCode), true
	run.OOMKilled = st.OOMKilled && run.ExitCode == killedByKernel
	switch {
	case run.OOMKilled:
		run.Reason = reasonOOMKilled
	case run.ExitCode == 0:
		run.Reason = reasonCompleted
	default:
		run.Reason = reasonError
	}
	return run
}

// health returns the result of the health check: starting, healthy, unhealthy, or "" if there is no check.
func health(st *api.State) string {
	if st.Health == nil {
		return ""
	}
	return knownHealth(string(st.Health.Status))
}

// knownHealth returns s if it is a known result of a health check, else "".
func knownHealth(s string) string {
	switch s {
	case "starting", "healthy", "unhealthy":
		return s
	default:
		return ""
	}
}

// withInspected returns c with the details that only an inspection has, and with its current name: c itself if nothing
// changed, else a copy.
func withInspected(c *container.Container, in *api.InspectResponse, from peer) *container.Container {
	now := *c
	now.Image = inspectedImage(c.Image, in)
	if at := parseTime(in.Created); !at.IsZero() {
		now.CreatedAt = at
	}
	if name := strings.TrimPrefix(in.Name, "/"); name != "" && c.Pod.UID == "" {
		now.Name = runtime.Intern(name)
	}
	if platform := platformName(in.Platform); platform != "" {
		now.Platform.OS = platform // one engine on Windows can run containers of both systems
	}
	if now.Platform.OS == "windows" && in.HostConfig != nil {
		now.Platform.Isolation = isolation(string(in.HostConfig.Isolation), from.isolation)
	}
	if now.CreatedAt.Equal(c.CreatedAt) && now.Name == c.Name && now.Platform == c.Platform && sameImage(&now.Image, &c.Image) {
		return c
	}
	return &now
}

// inspectedImage returns i with what the response to an inspection contains of the image.
func inspectedImage(i container.Image, in *api.InspectResponse) container.Image {
	if id := runtime.Digest(in.Image); id != "" {
		i.ID = id
	}
	if in.Config != nil && in.Config.Image != "" && runtime.Digest(in.Config.Image) == "" {
		i.Reference = runtime.Intern(in.Config.Image)
	}
	if d := in.ImageManifestDescriptor; d != nil {
		if manifest := runtime.Digest(string(d.Digest)); manifest != "" {
			i.ManifestDigest = manifest
		}
	}
	return i
}

// sameImage reports whether two images are equal, except for the repository digests, which an inspection does not contain.
func sameImage(a, b *container.Image) bool {
	return a.ID == b.ID && a.Reference == b.Reference && a.ManifestDigest == b.ManifestDigest
}

// isolation returns the isolation mode that a Windows container requested, or the engine's default if it requested none.
func isolation(requested string, otherwise container.Isolation) container.Isolation {
	switch strings.ToLower(requested) {
	case string(container.IsolationProcess):
		return container.IsolationProcess
	case string(container.IsolationHyperV):
		return container.IsolationHyperV
	default: // "" and default
		return otherwise
	}
}

// u32 converts a number to 32 bits unsigned. Windows reports an exit code such as 3221225786 as that or as -1073741510.
func u32(n int) uint32 {
	if n < math.MinInt32 || int64(n) > math.MaxUint32 {
		return 0
	}
	return uint32(n)
}

// complete adds to a snapshot what only events report, and records what a list does not show.
func (k *remembered) complete(s *container.Snapshot, on container.Platform) {
	k.startFailed = s.State == container.StateExited && s.Run.StartedAt.IsZero()
	started := s.Run.StartedAt
	switch s.State {
	case container.StateRunning, container.StatePaused:
		s.OOM = s.OOM || (!started.IsZero() && k.oom.After(started))
	case container.StateExited:
		s.Run.StopSignal = k.stopSignal(on, s.Run.FinishedAt, s.Run.ExitCode, started)
		if s.Run.OOMKilled && s.Run.StopSignal == "SIGKILL" { // the OOM kill was of another process, earlier in the run
			s.Run.OOMKilled, s.Run.Reason = false, reasonError
		}
	default:
	}
}
