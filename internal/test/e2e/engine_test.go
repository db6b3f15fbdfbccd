// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"fmt"
	"io"
	"strconv"
	"testing"
	"time"

	api "github.com/moby/moby/api/types/container"
	moby "github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/engine"
)

// dockerDriver creates, starts, stops and removes the containers of a Docker Engine, and records what it did.
type dockerDriver struct {
	t          *testing.T
	docker     *engine.Docker
	containers []*engineContainer
}

// engineContainer is one container with the events that the backend must have of it.
type engineContainer struct {
	*dockerDriver
	id, name  string
	inventory bool              // it ran before the observer began
	kinds     []backendapi.Kind // of the expected events, in order
	runs      []engineRun
}

// engineRun is one run as the engine reports it.
type engineRun struct {
	started, finished time.Time
	code              uint32
	reason            string
	unknown           bool // the engine was down when it ended, so that its exit code is unknown
}

// create creates a container of the probe image.
func (e *dockerDriver) create(name string, change func(*api.Config, *api.HostConfig), args ...string) *engineContainer {
	e.t.Helper()
	c, h := &api.Config{Image: privateruntime.ProbeImage, Cmd: args}, &api.HostConfig{NetworkMode: "none"}
	if change != nil {
		change(c, h)
	}
	created, err := e.docker.Client().ContainerCreate(e.t.Context(), moby.ContainerCreateOptions{Config: c, HostConfig: h, Name: name})
	require.NoError(e.t, err)
	container := &engineContainer{dockerDriver: e, id: created.ID, name: name, kinds: []backendapi.Kind{backendapi.KindCreate}}
	e.containers = append(e.containers, container)
	return container
}

// run creates and starts a container.
func (e *dockerDriver) run(name string, change func(*api.Config, *api.HostConfig), args ...string) *engineContainer {
	e.t.Helper()
	return e.create(name, change, args...).start()
}

func (c *engineContainer) expect(kind backendapi.Kind) { c.kinds = append(c.kinds, kind) }

// state returns the state that the engine reports.
func (c *engineContainer) state() *api.State {
	c.t.Helper()
	answer, err := c.docker.Client().ContainerInspect(c.t.Context(), c.id, moby.ContainerInspectOptions{})
	require.NoError(c.t, err)
	return answer.Container.State
}

// recordStart records the run that the engine has just started.
func (c *engineContainer) recordStart() {
	c.t.Helper()
	kind := backendapi.KindStart
	if len(c.runs) > 0 {
		kind = backendapi.KindRestart
	}
	started, err := time.Parse(time.RFC3339Nano, c.state().StartedAt)
	require.NoError(c.t, err)
	c.expect(kind)
	c.runs = append(c.runs, engineRun{started: started})
}

// start starts the container.
func (c *engineContainer) start() *engineContainer {
	c.t.Helper()
	_, err := c.docker.Client().ContainerStart(c.t.Context(), c.id, moby.ContainerStartOptions{})
	require.NoError(c.t, err)
	c.recordStart()
	return c
}

// awaitEnd waits for the end of the run and records it.
func (c *engineContainer) awaitEnd() *engineContainer {
	c.t.Helper()
	var state *api.State
	require.Eventually(c.t, func() bool {
		state = c.state()
		return state.Status == "exited"
	}, patient, 20*time.Millisecond, "%s ends", c.name)
	c.recordEnd(uint32(state.ExitCode), state.OOMKilled, state.FinishedAt)
	return c
}

// recordEnd records how the current run ended.
func (c *engineContainer) recordEnd(code uint32, oom bool, at string) {
	c.t.Helper()
	finished, err := time.Parse(time.RFC3339Nano, at)
	require.NoError(c.t, err)
	run := &c.runs[len(c.runs)-1]
	run.finished, run.code, run.reason = finished, code, "Error"
	switch {
	case oom:
		run.reason = "OOMKilled"
	case code == 0:
		run.reason = "Completed"
	}
	c.expect(backendapi.KindStop)
}

// awaitEvent waits until the backend has an event of a kind about the container.
func (c *engineContainer) awaitEvent(s *stack, kind backendapi.Kind) *engineContainer {
	c.t.Helper()
	s.await(fmt.Sprintf("%s of %s", kind, c.name), func() bool { return find(s.events(), c.id, kind) != nil })
	return c
}

// signal has the engine send a signal to the container.
func (c *engineContainer) signal(name string) *engineContainer {
	c.t.Helper()
	_, err := c.docker.Client().ContainerKill(c.t.Context(), c.id, moby.ContainerKillOptions{Signal: name})
	require.NoError(c.t, err)
	return c
}

// restart has the engine restart the container. The exit code depends on whether the program has installed its signal handler by then,
// so that the expected one is taken from the engine's events.
func (c *engineContainer) restart() *engineContainer {
	c.t.Helper()
	before := time.Now()
	_, err := c.docker.Client().ContainerRestart(c.t.Context(), c.id, moby.ContainerRestartOptions{})
	require.NoError(c.t, err)
	c.recordEnd(c.exitCode(before), false, c.state().FinishedAt)
	c.recordStart()
	return c
}

// exitCode returns the exit code of the latest end since a time, from the engine's events.
func (c *engineContainer) exitCode(since time.Time) uint32 {
	c.t.Helper()
	stream := c.docker.Client().Events(c.t.Context(), moby.EventsListOptions{
		Since: since.Format(time.RFC3339Nano), Until: time.Now().Format(time.RFC3339Nano),
		Filters: make(moby.Filters).Add("container", c.id).Add("event", "die"),
	})
	code := ""
	for {
		select {
		case m := <-stream.Messages:
			code = m.Actor.Attributes["exitCode"]
		case err := <-stream.Err:
			require.ErrorIs(c.t, err, io.EOF)
			n, err := strconv.ParseUint(code, 10, 32)
			require.NoError(c.t, err, "the end of %s", c.name)
			return uint32(n)
		}
	}
}

func (c *engineContainer) pause() *engineContainer {
	c.t.Helper()
	_, err := c.docker.Client().ContainerPause(c.t.Context(), c.id, moby.ContainerPauseOptions{})
	require.NoError(c.t, err)
	c.expect(backendapi.KindPause)
	return c
}

func (c *engineContainer) unpause() *engineContainer {
	c.t.Helper()
	_, err := c.docker.Client().ContainerUnpause(c.t.Context(), c.id, moby.ContainerUnpauseOptions{})
	require.NoError(c.t, err)
	c.expect(backendapi.KindUnpause)
	return c
}

func (c *engineContainer) remove() {
	c.t.Helper()
	_, err := c.docker.Client().ContainerRemove(c.t.Context(), c.id, moby.ContainerRemoveOptions{})
	require.NoError(c.t, err)
	c.expect(backendapi.KindRemove)
}

// lives plays every way in which a Docker container can run and end. The returned container is still running. Every run lasts longer
// than the difference between the clocks of dockerd, which reports the start, and of containerd, which reports the end.
func (e *dockerDriver) lives(s *stack) (running *engineContainer) {
	e.t.Helper()
	limited := func(_ *api.Config, h *api.HostConfig) { h.Memory, h.MemorySwap = 32<<20, 32<<20 }
	e.run("completes", nil, "sleepms", "200").awaitEnd()
	e.run("fails", nil, "sleepms", "200", "3").awaitEnd().remove()
	e.run("out-of-memory", limited, "oom", "4").awaitEnd()
	e.run("killed", nil, "pause").signal("KILL").awaitEnd()
	e.run("stopped", nil, "sleep", "3600").signal("TERM").awaitEnd()
	e.run("paused", nil, "pause").awaitEvent(s, backendapi.KindStart).pause().awaitEvent(s, backendapi.KindPause).unpause().awaitEvent(s, backendapi.KindUnpause).
		signal("KILL").awaitEnd().remove()
	e.run("started-again", nil, "sleepms", "200", "4").awaitEnd().start().awaitEnd()
	e.create("never-started", nil, "pause").remove()
	failed := e.create("no-such-command", func(c *api.Config, _ *api.HostConfig) { c.Entrypoint = []string{"/no/such/command"} })
	_, err := e.docker.Client().ContainerStart(e.t.Context(), failed.id, moby.ContainerStartOptions{})
	require.Error(e.t, err)
	failed.expect(backendapi.KindStop)
	return e.run("restarted", nil, "sleep", "3600").restart()
}
