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

// TestRealEngines plays every way in which a container lives and ends on every engine, with and without its events, and compares
// what was told with what the engine itself says.
func TestRealEngines(t *testing.T) {
	sideBySide(t)
	lives := []struct {
		name string
		play func(*lab)
	}{
		{"exits", (*lab).exits},
		{"ends on request", (*lab).endsOnRequest},
		{"OOM", (*lab).oom},
		{"OOM, and removed at once", (*lab).oomAndGone},
		{"OOM of a child", (*lab).oomOfAChild},
		{"a start that fails", (*lab).startFails},
		{"a start that fails after a run", (*lab).startFailsAfterARun},
		{"labels that are called as the engine's own attributes", (*lab).hostileLabels},
		{"restart on failure", (*lab).restartOnFailure},
		{"restart always", (*lab).restartAlways},
		{"docker restart", (*lab).restartOnRequest},
		{"pause and rename", (*lab).pauseAndRename},
		{"flapping health", (*lab).flappingHealth},
		{"a container that removes itself", (*lab).removesItself},
		{"compose recreates", (*lab).composeRecreates},
		{"secrets", (*lab).secrets},
	}
	eachSetup(t, func(t *testing.T, k kind, stream bool) {
		l := watch(t, k, engine.Options{}, stream)
		t.Run("lives", func(t *testing.T) {
			for _, life := range lives {
				t.Run(life.name, func(t *testing.T) {
					t.Parallel() // each with containers of its own
					inner := *l
					inner.t = t
					life.play(&inner)
				})
			}
		})
		l.mu.Lock()
		defer l.mu.Unlock()
		assert.NotContains(t, l.records.String(), canary)
		assert.NotContains(t, l.logs.String(), canary)
		assert.Contains(t, l.records.String(), "zastava.local/probe", "there is something to find")
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
		if l.kind.name == "29" { // which has containerd's image store
			assert.NotEmpty(l.t, c.Image.ManifestDigest)
		}
	}
}

func (l *lab) endsOnRequest() {
	kill := func(signal string) func(string) error {
		return func(id string) error {
			_, err := l.docker.Client().ContainerKill(l.ctx(), id, client.ContainerKillOptions{Signal: signal})
			return err
		}
	}
	stop := func(id string) error {
		patience := 1
		_, err := l.docker.Client().ContainerStop(l.ctx(), id, client.ContainerStopOptions{Timeout: &patience})
		return err
	}
	for _, c := range []struct {
		name, program string
		end           func(string) error
		signal        string
	}{
		{"killed", "pause", kill("KILL"), "SIGKILL"},
		{"terminated", "pause", kill("TERM"), "SIGTERM"},
		{"stopped", "pause", stop, "SIGTERM"},
		{"stopped in vain, and killed", "stubborn", stop, "SIGKILL"},
	} {
		id := l.run("", nil, c.program)
		l.until("started", func() bool { return len(l.kinds(id)) == 2 })
		if c.program == "pause" {
			l.until("it minds SIGTERM", func() bool { return catches(l.truth(id).State.Pid, syscall.SIGTERM) })
		}
		require.NoError(l.t, c.end(id), c.name)
		last := l.ended(id)
		if l.stream && !l.kind.podman { // whose events do not tell the signal
			assert.Equal(l.t, c.signal, last.Run.StopSignal, c.name)
		}
	}
	id := l.run("", nil, "sleepms", "3000", "9") // longer than it takes to send the signal
	require.NoError(l.t, kill("CONT")(id))
	assert.Empty(l.t, l.ended(id).Run.StopSignal, "it ended by itself")
}

// catches tells whether a process has a handler for a signal. The kernel drops one without that is sent to a container's first
// process, and on a busy machine it may be sent before the program has begun.
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

// attempts at an OOM kill that the engine notices: a busy one does not see each (the shim has to read of it before it ends itself).
const attempts = 5

func (l *lab) oom() {
	for range attempts {
		id := l.run("", func(_ *api.Config, h *api.HostConfig) { h.Memory, h.MemorySwap = 32<<20, 32<<20 }, "oom")
		l.until("its end is told", func() bool { return len(l.stops(id)) > 0 })
		late := time.Now().Add(3 * time.Second)
		l.until("the engine's verdict is told, which may come after the end", func() bool {
			stops, verdict := l.stops(id), l.truth(id).State.OOMKilled
			return stops[len(stops)-1].Run.OOMKilled == verdict && (verdict || l.kind.podman || time.Now().After(late))
		})
		last := l.ended(id)
		assert.EqualValues(l.t, 137, last.Run.ExitCode)
		if l.kind.podman { // 4.3 does not tell
			return
		}
		if last.Run.OOMKilled {
			assert.Equal(l.t, "OOMKilled", last.Run.Reason)
			return
		}
	}
	l.t.Skip("the engine noticed none of its OOM kills")
}

// oomAndGone is removed by the engine as soon as it ends, so that nothing but events can tell why.
func (l *lab) oomAndGone() {
	if l.kind.podman || !l.stream {
		l.t.Skip("Podman's events do not tell an OOM kill, and a list comes too late")
	}
	id := l.run("oom-rm", func(_ *api.Config, h *api.HostConfig) { h.Memory, h.MemorySwap, h.AutoRemove = 32<<20, 32<<20, true }, "oom")
	l.until("removed", func() bool { kinds := l.kinds(id); return len(kinds) > 0 && kinds[len(kinds)-1] == "removed" })
	stops := l.stops(id)
	require.NotEmpty(l.t, stops)
	last := stops[len(stops)-1].Run
	assert.EqualValues(l.t, 137, last.ExitCode)
	l.until("the witness has it", func() bool { return l.witness.of(id, "destroy") > 0 })
	if l.witness.before(id, "oom", "destroy") { // a busy engine tells it later, or, when the shim is gone first, never
		assert.True(l.t, last.OOMKilled)
		assert.Equal(l.t, "OOMKilled", last.Reason)
	}
}

// oomOfAChild is no end of the container, and no reason of the end that it comes to later.
func (l *lab) oomOfAChild() {
	for signal, want := range map[string]container.Run{"KILL": {ExitCode: 137, Reason: "Error"}, "TERM": {ExitCode: 0, Reason: "Completed"}} {
		id := l.losesAChild()
		_, err := l.docker.Client().ContainerKill(l.ctx(), id, client.ContainerKillOptions{Signal: signal})
		require.NoError(l.t, err)
		if signal == "TERM" { // which the main process of a container ignores until it handles it
			l.until("it ends", func() bool {
				if !l.truth(id).State.Running {
					return true
				}
				time.Sleep(300 * time.Millisecond)
				_, _ = l.docker.Client().ContainerKill(l.ctx(), id, client.ContainerKillOptions{Signal: signal})
				return false
			})
		}
		if l.stream || signal == "TERM" { // else nobody tells a SIGKILL on request from the kernel's
			l.endedBy(id, false)
			time.Sleep(1500 * time.Millisecond) // it is looked at once more a second after its end
			last := l.endedBy(id, false).Run
			assert.Equal(l.t, want, container.Run{ExitCode: last.ExitCode, Reason: last.Reason, OOMKilled: last.OOMKilled}, signal)
		}
	}
}

// losesAChild runs a container of which the kernel's OOM killer has ended a process inside.
func (l *lab) losesAChild() string {
	for range attempts {
		id := l.run("", func(_ *api.Config, h *api.HostConfig) { h.Memory, h.MemorySwap = 32<<20, 32<<20 }, "forkoom", "1")
		l.until("started", func() bool { return len(l.kinds(id)) >= 2 })
		told := []string{"created", "started"}
		if !l.kind.podman { // which does not tell it
			late := time.Now().Add(5 * time.Second)
			l.until("it was so", func() bool { return l.witness.of(id, "oom") > 0 || time.Now().After(late) })
			if l.witness.of(id, "oom") == 0 {
				continue
			}
			if l.stream { // a list does not show it
				told = append(told, "oom")
			}
		}
		l.until("told", func() bool { return len(l.kinds(id)) == len(told) })
		assert.Equal(l.t, told, l.kinds(id))
		return id
	}
	l.t.Skip("the engine noticed none of its OOM kills")
	return ""
}

func (l *lab) startFails() {
	id := l.create("nostart", func(c *api.Config, _ *api.HostConfig) { c.Entrypoint = []string{"/nonexistent-" + canary} })
	_, err := l.docker.Client().ContainerStart(l.ctx(), id, client.ContainerStartOptions{})
	require.Error(l.t, err)
	if l.kind.podman { // leaves it created, without a code or an error
		l.until("created", func() bool { return len(l.kinds(id)) > 0 })
		return
	}
	l.until("its end is told", func() bool { return len(l.stops(id)) > 0 })
	assert.Equal(l.t, []string{"created", "stopped"}, l.kinds(id))
	assert.EqualValues(l.t, 127, l.stops(id)[0].Run.ExitCode)
	assert.Equal(l.t, "StartError", l.stops(id)[0].Run.Reason)
}

// startFailsAfterARun is a container that cannot be started again: the engine gives it the code of that start, and keeps the times
// of the run before.
func (l *lab) startFailsAfterARun() {
	place := filepath.Join(l.t.TempDir(), "mounted")
	require.NoError(l.t, os.Mkdir(place, 0o700))
	id := l.run("", func(_ *api.Config, h *api.HostConfig) {
		h.Mounts = []mount.Mount{{Type: mount.TypeBind, Source: place, Target: "/mounted"}}
	}, "exit", "0")
	assert.Zero(l.t, l.ended(id).Run.ExitCode)
	require.NoError(l.t, os.Remove(place))
	require.NoError(l.t, os.WriteFile(place, nil, 0o600)) // what is not a directory cannot be mounted on one
	_, err := l.docker.Client().ContainerStart(l.ctx(), id, client.ContainerStartOptions{})
	require.Error(l.t, err)
	if !l.kind.podman {
		assert.NotZero(l.t, l.truth(id).State.ExitCode, "there is something to be misled by")
	}
	_, err = l.docker.Client().ContainerRename(l.ctx(), id, client.ContainerRenameOptions{NewName: "looked-at-again-" + id[:8]})
	require.NoError(l.t, err)
	time.Sleep(time.Second) // a few lists, or the notice of the new name
	stops := l.stops(id)
	require.Len(l.t, stops, 1)
	assert.Zero(l.t, stops[0].Run.ExitCode, "that run ended well")
	assert.Zero(l.t, stops[0].Revision)
}

// hostileLabels is what a container tells of itself by labels that Docker mixes into its events after what it has to say itself.
func (l *lab) hostileLabels() {
	labels := map[string]string{
		"exitCode": "0", "containerExitCode": "0", "signal": "15", "name": canary, "image": canary, "execID": canary, "execDuration": "-1",
		"health_status": "healthy", "oldName": canary, "podId": canary,
	}
	lie := func(c *api.Config, _ *api.HostConfig) { c.Labels = labels }
	id := l.run("honest", lie, "sleepms", "500", "5")
	last := l.ended(id)
	assert.EqualValues(l.t, 5, last.Run.ExitCode)
	assert.Empty(l.t, last.Run.StopSignal)
	for _, stop := range l.stops(id) {
		assert.Zero(l.t, stop.Revision, "it was told right at once")
	}
	assert.Equal(l.t, "honest", last.Container.Name)
	assert.Equal(l.t, privateruntime.ProbeImage, last.Container.Image.Reference)

	id = l.run("", lie, "pause")
	l.until("started", func() bool { return len(l.kinds(id)) == 2 })
	_, err := l.docker.Client().ContainerKill(l.ctx(), id, client.ContainerKillOptions{Signal: "KILL"})
	require.NoError(l.t, err)
	assert.Empty(l.t, l.ended(id).Run.StopSignal, "which one it was, the engine does not tell")

	id = l.run("", func(c *api.Config, h *api.HostConfig) {
		lie(c, h)
		h.AutoRemove = true
	}, "sleepms", "500", "5")
	l.until("it is gone", func() bool { return slices.Contains(l.kinds(id), "removed") })
	for _, stop := range l.stops(id) {
		assert.True(l.t, !stop.Run.ExitKnown || stop.Run.ExitCode == 5, "%+v", stop.Run)
	}
}

func (l *lab) restartOnFailure() {
	id := l.run("crashing", func(_ *api.Config, h *api.HostConfig) {
		h.RestartPolicy = api.RestartPolicy{Name: "on-failure", MaximumRetryCount: 4}
	}, "sleepms", "50", "1")
	l.until("the engine gave up", func() bool {
		truth := l.truth(id)
		return string(truth.State.Status) == "exited" && truth.RestartCount == 4
	})
	l.ended(id)
	l.until("the last run is told", func() bool {
		truth := l.truth(id)
		stops := l.stops(id)
		return stops[len(stops)-1].Run.StartedAt.Format(time.RFC3339Nano) == truth.State.StartedAt
	})
	l.accounted(id)
	assert.Equal(l.t, 5, l.witness.of(id, "start"))
	if l.stream && (!l.kind.podman || len(l.stops(id)) >= 3) { // Podman's ends are looked for: of runs this short some are missed, and counted
		assert.Contains(l.t, l.kinds(id), "crash_loop")
	}
}

// restartAlways is a container that crashes for ever, until somebody stops it.
func (l *lab) restartAlways() {
	id := l.run("looping", func(_ *api.Config, h *api.HostConfig) { h.RestartPolicy = api.RestartPolicy{Name: "always"} }, "sleepms", "300", "6")
	l.until("a crash loop is told", func() bool { return slices.Contains(l.kinds(id), "crash_loop") })
	patience, before := 5, ""
	l.until("it is at rest", func() bool {
		// Podman, asked between two runs, says that it is stopped already, and goes on.
		_, err := l.docker.Client().ContainerStop(l.ctx(), id, client.ContainerStopOptions{Timeout: &patience})
		require.NoError(l.t, err)
		time.Sleep(500 * time.Millisecond)
		truth, stops := l.truth(id), l.stops(id)
		last := before
		before = truth.State.StartedAt
		return string(truth.State.Status) == "exited" && last == before && stops[len(stops)-1].Run.StartedAt.Format(time.RFC3339Nano) == before
	})
	loops := 0
	for _, k := range l.kinds(id) {
		if k == "crash_loop" {
			loops++
		}
	}
	assert.Equal(l.t, 1, loops, "it is told once")
	l.accounted(id)
}

func (l *lab) restartOnRequest() {
	id := l.run("restarted", nil, "pause")
	l.until("started", func() bool { return len(l.kinds(id)) == 2 })
	time.Sleep(1500 * time.Millisecond) // by lists alone, two starts must be told apart by their age in seconds
	_, err := l.docker.Client().ContainerRestart(l.ctx(), id, client.ContainerRestartOptions{})
	require.NoError(l.t, err)
	l.until("restarted", func() bool { return len(l.kinds(id)) == 4 })
	assert.Equal(l.t, []string{"created", "started", "stopped", "restarted"}, l.kinds(id))
	last := l.of(id)[len(l.of(id))-1]
	require.NotNil(l.t, last.Previous)
	if l.kind.podman && !last.Previous.ExitKnown {
		return // a busy one tells an end without its exit code, and it is up again before a look at that end
	}
	if l.stream {
		assert.True(l.t, last.Previous.ExitKnown)
		assert.False(l.t, last.Provenance.MissedUnknown)
	}
}

func (l *lab) pauseAndRename() {
	id := l.run("before", nil, "pause")
	l.until("started", func() bool { return len(l.kinds(id)) == 2 })
	_, err := l.docker.Client().ContainerRename(l.ctx(), id, client.ContainerRenameOptions{NewName: "after"})
	require.NoError(l.t, err)
	for _, what := range []string{"paused", "unpaused", "paused", "unpaused"} {
		l.until(what, func() bool {
			if what == "paused" {
				_, err = l.docker.Client().ContainerPause(l.ctx(), id, client.ContainerPauseOptions{})
			} else {
				_, err = l.docker.Client().ContainerUnpause(l.ctx(), id, client.ContainerUnpauseOptions{})
			}
			return err == nil
		})
		l.until(what, func() bool { kinds := l.kinds(id); return kinds[len(kinds)-1] == what })
	}
	// dockerd hears of each pause once more from containerd: where it was undone by then, dockerd takes it for another one, and tells
	// of that one and its end.
	turns := l.kinds(id)[2:]
	assert.GreaterOrEqual(l.t, len(turns), 4)
	l.until("no more is told than the engine says", func() bool {
		return len(turns) <= l.witness.of(id, "pause")+l.witness.of(id, "unpause")
	})
	for i, turn := range turns {
		assert.Equal(l.t, []string{"paused", "unpaused"}[i%2], turn)
	}
	assert.Equal(l.t, "after", l.of(id)[len(l.of(id))-1].Container.Name)
}

// checks is the time between two health checks, each of which costs the machine as much as a container's start.
const checks = 300 * time.Millisecond

// flappingHealth switches a health check and compares with the engine's own verdict at each turn.
func (l *lab) flappingHealth() {
	if l.kind.podman {
		l.t.Skip("Podman's health checks need systemd's timers")
	}
	dir := l.t.TempDir()
	id := l.run("flapping", func(c *api.Config, h *api.HostConfig) {
		c.Healthcheck = &api.HealthConfig{Test: []string{"CMD", "/probe", "flip", "/health/ok"}, Interval: checks, Timeout: 5 * time.Second, Retries: 1}
		h.Binds = []string{dir + ":/health:ro"}
	}, "pause")
	want := []string{}
	turn := func(verdict string) {
		l.t.Helper()
		want = append(want, verdict)
		l.until(verdict, func() bool { return l.health(id) == verdict })
		assert.Equal(l.t, want, l.healths(id))
	}
	ok := filepath.Join(dir, "ok")
	turn("unhealthy")
	for range 2 {
		require.NoError(l.t, os.WriteFile(ok, nil, 0o600))
		turn("healthy")
		require.NoError(l.t, os.Remove(ok))
		turn("unhealthy")
	}
	var ordinals []uint32
	for _, tr := range l.of(id) {
		if tr.Kind == container.KindHealthChanged {
			ordinals = append(ordinals, tr.Ordinal)
		}
	}
	assert.Equal(l.t, []uint32{0, 1, 2, 3, 4}, ordinals, "each has an id of its own")
	_, err := l.docker.Client().ContainerRemove(l.ctx(), id, client.ContainerRemoveOptions{Force: true}) // and its checks with it
	require.NoError(l.t, err)
}

func (l *lab) removesItself() {
	if !l.stream { // it must live longer than from one list to the next
		id := l.run("rm", func(_ *api.Config, h *api.HostConfig) { h.AutoRemove = true }, "pause")
		l.until("started", func() bool { return len(l.kinds(id)) == 2 })
		_, err := l.docker.Client().ContainerKill(l.ctx(), id, client.ContainerKillOptions{Signal: "TERM"})
		require.NoError(l.t, err)
		l.until("removed", func() bool { kinds := l.kinds(id); return len(kinds) > 0 && kinds[len(kinds)-1] == "removed" })
		assert.Equal(l.t, []string{"created", "started", "stopped", "removed"}, l.kinds(id))
		stop := l.stops(id)[0]
		if !stop.Run.ExitKnown { // seldom, a list falls between its end and its removal
			assert.Equal(l.t, container.PrecisionWindow, stop.Provenance.Precision)
		}
		return
	}
	id := l.run("rm", func(_ *api.Config, h *api.HostConfig) { h.AutoRemove = true }, "exit", "7")
	l.until("removed", func() bool { kinds := l.kinds(id); return len(kinds) > 0 && kinds[len(kinds)-1] == "removed" })
	assert.Equal(l.t, []string{"created", "started", "stopped", "removed"}, l.kinds(id))
	assert.EqualValues(l.t, 7, l.stops(id)[0].Run.ExitCode)
}

// composeRecreates does what docker compose up --force-recreate does.
func (l *lab) composeRecreates() {
	place := func(c *api.Config, _ *api.HostConfig) {
		c.Labels = map[string]string{
			"com.docker.compose.project": "shop", "com.docker.compose.service": "web", "com.docker.compose.container-number": "1", "com.docker.compose.oneoff": "False",
		}
	}
	first := l.run("shop-web-1", place, "pause")
	l.until("started", func() bool { return len(l.kinds(first)) == 2 })
	second := l.create("replacing_shop-web-1", place, "pause")
	patience := 10 // Podman's own default is none
	_, err := l.docker.Client().ContainerStop(l.ctx(), first, client.ContainerStopOptions{Timeout: &patience})
	require.NoError(l.t, err)
	_, err = l.docker.Client().ContainerRemove(l.ctx(), first, client.ContainerRemoveOptions{})
	require.NoError(l.t, err)
	_, err = l.docker.Client().ContainerRename(l.ctx(), second, client.ContainerRenameOptions{NewName: "shop-web-1"})
	require.NoError(l.t, err)
	l.start(second)
	l.until("restarted", func() bool { kinds := l.kinds(second); return len(kinds) > 0 && kinds[len(kinds)-1] == "restarted" })
	assert.Equal(l.t, []string{"created", "restarted"}, l.kinds(second))
	last := l.of(second)[len(l.of(second))-1]
	assert.Equal(l.t, "shop-web-1", last.Container.Name)
	require.NotNil(l.t, last.Previous)
	assert.Equal(l.t, first, last.Previous.ContainerID)
	if l.stream && (!l.kind.podman || last.Previous.ExitKnown) { // Podman's events may not tell it, and it is removed at once
		assert.True(l.t, last.Previous.ExitKnown)
		assert.Zero(l.t, last.Previous.ExitCode)
	}
}

func (l *lab) secrets() {
	id := l.run("secret", func(c *api.Config, _ *api.HostConfig) {
		c.Env = []string{"PASSWORD=" + canary}
		c.Labels = map[string]string{"app": "web", "token": canary, "signal": canary, "exitCode": canary}
		if !l.kind.podman {
			c.Healthcheck = &api.HealthConfig{Test: []string{"CMD", "/probe", "flip", "/" + canary}, Interval: checks, Timeout: 5 * time.Second, Retries: 1}
		}
	}, "log", "100000", "10", "100", canary)
	if !l.stream {
		l.until("started", func() bool { return len(l.kinds(id)) == 2 }) // else no list may have shown it
	}
	exec, err := l.docker.Client().ExecCreate(l.ctx(), id, client.ExecCreateOptions{Cmd: []string{"/probe", "exit", "0", canary}})
	require.NoError(l.t, err)
	_, err = l.docker.Client().ExecStart(l.ctx(), exec.ID, client.ExecStartOptions{Detach: true})
	require.NoError(l.t, err)
	if !l.kind.podman {
		l.until("unhealthy", func() bool { return l.health(id) == "unhealthy" })
	}
	_, err = l.docker.Client().ContainerRemove(l.ctx(), id, client.ContainerRemoveOptions{Force: true})
	require.NoError(l.t, err)
	l.until("removed", func() bool { kinds := l.kinds(id); return len(kinds) > 0 && kinds[len(kinds)-1] == "removed" })
	assert.Equal(l.t, "web", l.of(id)[0].Container.Labels["app"])
}

// healths gives the verdicts that were told of a container, in order.
func (l *lab) healths(id string) []string {
	out := []string{}
	for _, tr := range l.of(id) {
		if tr.Kind == container.KindHealthChanged {
			out = append(out, tr.Health)
		}
	}
	return out
}
