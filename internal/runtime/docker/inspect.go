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

// The reasons of an end, in the words that CRI has for them: Docker has none of its own that is free of what users wrote.
const (
	reasonCompleted  = "Completed"
	reasonError      = "Error"
	reasonOOMKilled  = "OOMKilled"
	reasonStartError = "StartError"
)

// Inspect looks at one container.
func (r *Runtime) Inspect(ctx context.Context, c *container.Container) (container.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	in, err := r.inspect(ctx, c.ID)
	if err != nil {
		return container.Snapshot{}, err
	}
	who := r.memory.whoAnswers()
	s := snapshot(c, in, who)
	s.Container = r.withImage(ctx, s.Container)
	r.memory.do(c.ID, func(k *remembered) {
		if in.Config != nil {
			k.hide(in.Config.Labels, "")
			k.stopBy = signal.Number(who.host.OS, who.host.Arch, in.Config.StopSignal)
		}
		k.complete(&s, who.host)
		k.unrun = s.State == container.StateCreated && in.State != nil && state(string(in.State.Status)) == container.StateExited
	})
	return s, nil
}

// PID gives the main process of a container.
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
		return nil, fmt.Errorf("inspect a container at %s: its id is none: %w", r.endpoint, runtime.ErrNotFound)
	}
	answer, err := r.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return nil, r.explain(err, "inspect container "+id)
	}
	return &answer.Container, nil
}

// snapshot turns an answer into a snapshot of c. It takes any answer, however malformed.
func snapshot(c *container.Container, in *api.InspectResponse, who peer) container.Snapshot {
	s := container.Snapshot{Container: completed(c, in, who), RestartCount: u32(in.RestartCount)}
	if c.Attempt > 0 {
		s.RestartCount = max(s.RestartCount, c.Attempt)
	}
	st := in.State
	if st == nil {
		return s
	}
	if st.Status == api.StateRestarting && s.RestartCount > 0 {
		s.RestartCount-- // it counts the restart that is to come
	}
	s.State = state(string(st.Status))
	run := container.Run{StartedAt: moment(st.StartedAt), FinishedAt: moment(st.FinishedAt)}
	if s.State == container.StateExited && run.StartedAt.IsZero() {
		s.State = container.StateCreated // "removing" and "dead" tell nothing of a run
	}
	switch s.State {
	case container.StateRunning, container.StatePaused:
		run.PID = u32(st.Pid)
		s.Run, s.OOM = run, st.OOMKilled
		if !run.FinishedAt.Before(run.StartedAt) {
			s.Run.FinishedAt = time.Time{} // else it is the end of the run before
		}
		s.Health = health(st)
	case container.StateExited:
		s.Run = ended(run, st)
		if st.Error != "" { // a later start failed, and the code may be that one's; the times are the run's
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

// startFailed tells a container whose start failed from one that was only created: Docker calls both created. What its
// error says may quote a command line, so only that there is one is looked at. Podman leaves neither an error nor a code.
func startFailed(st *api.State) bool { return st.Error != "" || st.ExitCode != 0 }

// killedByKernel is the exit code of a process that the kernel's OOM killer ended: 128 and SIGKILL.
const killedByKernel = 137

// ended completes a run that is over. What the engine calls OOMKilled is that some process in the container was killed so at some
// time of the run: only with its exit code it may be what ended the run.
func ended(run container.Run, st *api.State) container.Run {
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

// health gives the verdict of the health check: starting, healthy, unhealthy, or "" where there is no check.
func health(st *api.State) string {
	if st.Health == nil {
		return ""
	}
	return verdict(string(st.Health.Status))
}

func verdict(s string) string {
	switch s {
	case "starting", "healthy", "unhealthy":
		return s
	default:
		return ""
	}
}

// completed gives c with what only an inspect tells, and with the name it has now: c itself when that is nothing new.
func completed(c *container.Container, in *api.InspectResponse, who peer) *container.Container {
	now := *c
	if at := moment(in.Created); !at.IsZero() {
		now.CreatedAt = at
	}
	if name := strings.TrimPrefix(in.Name, "/"); name != "" && c.Pod.UID == "" {
		now.Name = intern(name)
	}
	if id := digest(in.Image); id != "" {
		now.Image.ID = id
	}
	if in.Config != nil && in.Config.Image != "" && digest(in.Config.Image) == "" {
		now.Image.Reference = intern(in.Config.Image)
	}
	if d := in.ImageManifestDescriptor; d != nil {
		if manifest := digest(string(d.Digest)); manifest != "" {
			now.Image.ManifestDigest = manifest
		}
	}
	if platform := word(in.Platform); platform != "" {
		now.Platform.OS = platform // one engine on Windows can have containers of both
	}
	if now.Platform.OS == "windows" && in.HostConfig != nil {
		now.Isolation = isolation(string(in.HostConfig.Isolation), who.isolation)
	}
	if now.CreatedAt.Equal(c.CreatedAt) && now.Name == c.Name && now.Platform.OS == c.Platform.OS && now.Isolation == c.Isolation && now.Image.ID == c.Image.ID &&
		now.Image.Reference == c.Image.Reference && now.Image.ManifestDigest == c.Image.ManifestDigest {
		return c
	}
	return &now
}

// isolation reads how a container of Windows is kept apart: what it asked for, or what its engine does for those that asked
// for nothing.
func isolation(asked string, otherwise container.Isolation) container.Isolation {
	switch strings.ToLower(asked) {
	case string(container.IsolationProcess):
		return container.IsolationProcess
	case string(container.IsolationHyperV):
		return container.IsolationHyperV
	default: // "" and default
		return otherwise
	}
}

// u32 takes an exit code for what it is, 32 bits without a sign: Windows tells 3221225786 as that or as -1073741510.
func u32(n int) uint32 {
	if n < math.MinInt32 || int64(n) > math.MaxUint32 {
		return 0
	}
	return uint32(n)
}

// complete adds what only events told, and remembers what the list does not show.
func (k *remembered) complete(s *container.Snapshot, on container.Platform) {
	k.failed = s.State == container.StateExited && s.Run.StartedAt.IsZero()
	started := s.Run.StartedAt
	switch s.State {
	case container.StateRunning, container.StatePaused:
		s.OOM = s.OOM || (!started.IsZero() && k.oom.After(started))
	case container.StateExited:
		s.Run.StopSignal = k.stopSignal(on, s.Run.FinishedAt, s.Run.ExitCode, started)
		if s.Run.OOMKilled && s.Run.StopSignal == "SIGKILL" { // that was a process inside, some time before
			s.Run.OOMKilled, s.Run.Reason = false, reasonError
		}
	default:
	}
}
