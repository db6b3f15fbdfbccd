// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package docker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/engine"
)

// TestRealEnginesReportContainerLives runs containers through every kind of life on every engine, with and without its events, and
// compares the reports with the engine's own status.
func TestRealEnginesReportContainerLives(t *testing.T) {
	parallel(t)
	lives := []struct {
		name string
		run  func(*lab)
	}{
		{"exits", (*lab).exits},
		{"ends on request", (*lab).endsOnRequest},
		{"OOM", (*lab).oom},
		{"OOM, and removed at once", (*lab).oomAndGone},
		{"OOM of a child", (*lab).oomOfAChild},
		{"a start that fails", (*lab).startFails},
		{"a start that fails after a run", (*lab).startFailsAfterARun},
		{"labels with the names of the engine's attributes", (*lab).hostileLabels},
		{"restart on failure", (*lab).restartOnFailure},
		{"restart always", (*lab).restartAlways},
		{"docker restart", (*lab).restartOnRequest},
		{"pause and rename", (*lab).pauseAndRename},
		{"flapping health", (*lab).flappingHealth},
		{"autoremove", (*lab).removesItself},
		{"compose recreates", (*lab).composeRecreates},
		{"secrets", (*lab).secrets},
	}
	eachSetup(t, func(t *testing.T, k kind, stream bool) {
		l := watch(t, k, engine.Options{}, stream)
		t.Run("lives", func(t *testing.T) {
			for _, life := range lives {
				t.Run(life.name, func(t *testing.T) {
					t.Parallel() // each with its own containers
					inner := *l
					inner.t = t
					life.run(&inner)
				})
			}
		})
		l.mu.Lock()
		defer l.mu.Unlock()
		assert.NotContains(t, l.records.String(), canary)
		assert.NotContains(t, l.logs.String(), canary)
		assert.Contains(t, l.records.String(), "zastava.local/probe", "records contain other details")
	})
}

func (l *lab) exits() {
	for name, want := range map[string]struct {
		args []string
		code uint32
	}{
		"completed": {[]string{"exit", "0"}, 0}, "failed": {[]string{"exit", "3"}, 3},
		"segv": {[]string{"segv"}, 139}, "panic": {[]string{"panic"}, 2},
	} {
		id := l.run(name, nil, want.args...)
		assert.Equal(l.t, want.code, l.ended(id).Run.ExitCode, name)
		assert.Equal(l.t, []string{"created", "started", "stopped"}, l.kinds(id), name)
		c := l.ended(id).Container
		assert.Equal(l.t, privateruntime.ProbeImage, c.Image.Reference)
		assert.NotEmpty(l.t, c.Image.ID)
		assert.Equal(l.t, "linux", c.Platform.OS)
		if l.kind.name == "29" { // it uses containerd's image store
			assert.NotEmpty(l.t, c.Image.ManifestDigest)
		}
	}
}

func (l *lab) endsOnRequest() {
	kill := func(signal string) func(string) { return func(id string) { l.kill(id, signal) } }
	stop := func(id string) { l.stop(id, 1) }
	for _, c := range []struct {
		name, program string
		end           func(string)
		signal        string
	}{
		{"killed", "pause", kill("KILL"), "SIGKILL"},
		{"terminated", "pause", kill("TERM"), "SIGTERM"},
		{"stopped", "pause", stop, "SIGTERM"},
		{"killed after it ignored a stop", "stubborn", stop, "SIGKILL"},
	} {
		id := l.run("", nil, c.program)
		l.untilStarted(id)
		if c.program == "pause" {
			l.until("it handles SIGTERM", func() bool { return catches(l.inspect(id).State.Pid, syscall.SIGTERM) })
		}
		c.end(id)
		last := l.ended(id)
		if l.stream && !l.kind.podman { // Podman's events do not contain the signal
			assert.Equal(l.t, c.signal, last.Run.StopSignal, c.name)
		}
	}
	id := l.run("", nil, "sleepms", "3000", "9") // longer than it takes to send the signal
	l.kill(id, "CONT")
	assert.Empty(l.t, l.ended(id).Run.StopSignal, "it ended by itself")
}

// catches reports whether a process has a handler for a signal. Without a handler the kernel ignores the signal for the first
// process of a container, and on a busy machine the signal may be sent before the program has installed one.
func catches(pid int, signal syscall.Signal) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(status), "\nSigCgt:\t")
	mask, _, _ := strings.Cut(rest, "\n")
	caught, err := strconv.ParseUint(mask, 16, 64)
	return err == nil && caught&(1<<(signal-1)) != 0
}

func (l *lab) startFails() {
	id := l.create("nostart", func(c *api.Config, _ *api.HostConfig) { c.Entrypoint = []string{"/nonexistent-" + canary} })
	_, err := l.docker.Client().ContainerStart(l.ctx(), id, client.ContainerStartOptions{})
	require.Error(l.t, err)
	if l.kind.podman { // Podman leaves it created, without an exit code or an error
		l.until("created", func() bool { return len(l.kinds(id)) > 0 })
		return
	}
	l.untilStopped(id)
	assert.Equal(l.t, []string{"created", "stopped"}, l.kinds(id))
	assert.EqualValues(l.t, 127, l.stops(id)[0].Run.ExitCode)
	assert.Equal(l.t, "StartError", l.stops(id)[0].Run.Reason)
}

// startFailsAfterARun: the container cannot be started again. The engine then reports the exit code of the failed start with the
// times of the earlier run.
func (l *lab) startFailsAfterARun() {
	source := filepath.Join(l.t.TempDir(), "mounted")
	require.NoError(l.t, os.Mkdir(source, 0o700))
	id := l.run("", func(_ *api.Config, h *api.HostConfig) {
		h.Mounts = []mount.Mount{{Type: mount.TypeBind, Source: source, Target: "/mounted"}}
	}, "exit", "0")
	assert.Zero(l.t, l.ended(id).Run.ExitCode)
	require.NoError(l.t, os.Remove(source))
	require.NoError(l.t, os.WriteFile(source, nil, 0o600)) // a file cannot be mounted on a directory
	_, err := l.docker.Client().ContainerStart(l.ctx(), id, client.ContainerStartOptions{})
	require.Error(l.t, err)
	if !l.kind.podman {
		assert.NotZero(l.t, l.inspect(id).State.ExitCode, "the exit code of the failed start")
	}
	l.rename(id, "inspected-again-"+id[:8])
	time.Sleep(time.Second) // a few lists, or the notice of the new name
	stops := l.stops(id)
	require.Len(l.t, stops, 1)
	assert.Zero(l.t, stops[0].Run.ExitCode, "the run succeeded")
	assert.Zero(l.t, stops[0].Revision)
}

func (l *lab) removesItself() {
	if !l.stream { // it must exist longer than the list period
		id := l.run("rm", autoRemove, "pause")
		l.untilStarted(id)
		l.kill(id, "TERM")
		l.untilLast(id, "removed")
		assert.Equal(l.t, []string{"created", "started", "stopped", "removed"}, l.kinds(id))
		stop := l.stops(id)[0]
		if !stop.Run.ExitKnown { // usually no list falls between its exit and its removal
			assert.Equal(l.t, container.PrecisionWindow, stop.Provenance.Precision)
		}
		return
	}
	id := l.run("rm", autoRemove, "exit", "7")
	l.untilLast(id, "removed")
	assert.Equal(l.t, []string{"created", "started", "stopped", "removed"}, l.kinds(id))
	assert.EqualValues(l.t, 7, l.stops(id)[0].Run.ExitCode)
}

func (l *lab) secrets() {
	id := l.run("secret", func(c *api.Config, _ *api.HostConfig) {
		c.Env = []string{"PASSWORD=" + canary}
		c.Labels = map[string]string{"app": "web", "token": canary, "signal": canary, "exitCode": canary}
		if !l.kind.podman {
			c.Healthcheck = &api.HealthConfig{Test: []string{"CMD", "/probe", "flip", "/" + canary}, Interval: healthInterval, Timeout: 5 * time.Second, Retries: 1}
		}
	}, "log", "100000", "10", "100", canary)
	if !l.stream {
		l.untilStarted(id) // otherwise it may be removed before any list shows it
	}
	exec, err := l.docker.Client().ExecCreate(l.ctx(), id, client.ExecCreateOptions{Cmd: []string{"/probe", "exit", "0", canary}})
	require.NoError(l.t, err)
	_, err = l.docker.Client().ExecStart(l.ctx(), exec.ID, client.ExecStartOptions{Detach: true})
	require.NoError(l.t, err)
	if !l.kind.podman {
		l.until("unhealthy", func() bool { return l.health(id) == "unhealthy" })
	}
	l.remove(id)
	l.untilLast(id, "removed")
	assert.Equal(l.t, "web", l.transitions(id)[0].Container.Labels["app"])
}

// hostileLabels: Docker overwrites its own attributes in events with labels of the same names.
func (l *lab) hostileLabels() {
	labels := map[string]string{
		"exitCode": "0", "containerExitCode": "0", "signal": "15", "name": canary, "image": canary, "execID": canary, "execDuration": "-1",
		"health_status": "healthy", "oldName": canary, "podId": canary,
	}
	setLabels := func(c *api.Config, _ *api.HostConfig) { c.Labels = labels }
	id := l.run("honest", setLabels, "sleepms", "500", "5")
	last := l.ended(id)
	assert.EqualValues(l.t, 5, last.Run.ExitCode)
	assert.Empty(l.t, last.Run.StopSignal)
	for _, stop := range l.stops(id) {
		assert.Zero(l.t, stop.Revision, "the first report was correct")
	}
	assert.Equal(l.t, "honest", last.Container.Name)
	assert.Equal(l.t, privateruntime.ProbeImage, last.Container.Image.Reference)

	id = l.run("", setLabels, "pause")
	l.untilStarted(id)
	l.kill(id, "KILL")
	assert.Empty(l.t, l.ended(id).Run.StopSignal, "the engine does not report the signal")

	id = l.run("", func(c *api.Config, h *api.HostConfig) {
		setLabels(c, h)
		autoRemove(c, h)
	}, "sleepms", "500", "5")
	l.until("removed", func() bool { return slices.Contains(l.kinds(id), "removed") })
	for _, stop := range l.stops(id) {
		assert.True(l.t, !stop.Run.ExitKnown || stop.Run.ExitCode == 5, "%+v", stop.Run)
	}
}
