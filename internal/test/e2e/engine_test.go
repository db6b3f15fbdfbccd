// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	api "github.com/moby/moby/api/types/container"
	moby "github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/engine"
)

// dockerDriver does things to the containers of a Docker Engine and remembers them.
type dockerDriver struct {
	t          *testing.T
	docker     *engine.Docker
	containers []*engineContainer
}

// engineContainer is one container, and what the backend must hold of it.
type engineContainer struct {
	*dockerDriver
	id, name  string
	inventory bool              // it ran before the observer began
	kinds     []backendapi.Kind // in the order of what happened
	runs      []engineRun
}

// engineRun is one run by the engine's own word.
type engineRun struct {
	started, finished time.Time
	code              uint32
	reason            string
	unknown           bool // nobody was there to see how it ended
}

// create makes a container of the probe image.
func (e *dockerDriver) create(name string, change func(*api.Config, *api.HostConfig), args ...string) *engineContainer {
	e.t.Helper()
	c, h := &api.Config{Image: privateruntime.ProbeImage, Cmd: args}, &api.HostConfig{NetworkMode: "none"}
	if change != nil {
		change(c, h)
	}
	made, err := e.docker.Client().ContainerCreate(e.t.Context(), moby.ContainerCreateOptions{Config: c, HostConfig: h, Name: name})
	require.NoError(e.t, err)
	container := &engineContainer{dockerDriver: e, id: made.ID, name: name, kinds: []backendapi.Kind{backendapi.KindCreate}}
	e.containers = append(e.containers, container)
	return container
}

// run makes and starts a container.
func (e *dockerDriver) run(name string, change func(*api.Config, *api.HostConfig), args ...string) *engineContainer {
	e.t.Helper()
	return e.create(name, change, args...).start()
}

func (c *engineContainer) happened(kinds ...backendapi.Kind) { c.kinds = append(c.kinds, kinds...) }

// state asks the engine.
func (c *engineContainer) state() *api.State {
	c.t.Helper()
	answer, err := c.docker.Client().ContainerInspect(c.t.Context(), c.id, moby.ContainerInspectOptions{})
	require.NoError(c.t, err)
	return answer.Container.State
}

func (c *engineContainer) began() {
	c.t.Helper()
	kind := backendapi.KindStart
	if len(c.runs) > 0 {
		kind = backendapi.KindRestart
	}
	started, err := time.Parse(time.RFC3339Nano, c.state().StartedAt)
	require.NoError(c.t, err)
	c.happened(kind)
	c.runs = append(c.runs, engineRun{started: started})
}

// start starts it.
func (c *engineContainer) start() *engineContainer {
	c.t.Helper()
	_, err := c.docker.Client().ContainerStart(c.t.Context(), c.id, moby.ContainerStartOptions{})
	require.NoError(c.t, err)
	c.began()
	return c
}

// ended waits for the end of the run.
func (c *engineContainer) ended() *engineContainer {
	c.t.Helper()
	var state *api.State
	require.Eventually(c.t, func() bool {
		state = c.state()
		return state.Status == "exited"
	}, patient, 20*time.Millisecond, "%s ends", c.name)
	c.over(uint32(state.ExitCode), state.OOMKilled, state.FinishedAt)
	return c
}

func (c *engineContainer) over(code uint32, oom bool, at string) {
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
	c.happened(backendapi.KindStop)
}

// told waits until the backend holds an event of it.
func (c *engineContainer) told(s *stack, kind backendapi.Kind) *engineContainer {
	c.t.Helper()
	s.await(fmt.Sprintf("%s of %s", kind, c.name), func() bool { return find(s.events(), c.id, kind) != nil })
	return c
}

// signal sends a signal to it by the engine.
func (c *engineContainer) signal(name string) *engineContainer {
	c.t.Helper()
	_, err := c.docker.Client().ContainerKill(c.t.Context(), c.id, moby.ContainerKillOptions{Signal: name})
	require.NoError(c.t, err)
	return c
}

// restart has the engine restart it. A program that is asked to end before it listens for that ends otherwise than it would, so
// how it ended is the engine's word, too.
func (c *engineContainer) restart() *engineContainer {
	c.t.Helper()
	before := time.Now()
	_, err := c.docker.Client().ContainerRestart(c.t.Context(), c.id, moby.ContainerRestartOptions{})
	require.NoError(c.t, err)
	c.over(c.exitCode(before), false, c.state().FinishedAt)
	c.began()
	return c
}

// exitCode is that of the newest end since a moment, by the engine's events.
func (c *engineContainer) exitCode(since time.Time) uint32 {
	c.t.Helper()
	told := c.docker.Client().Events(c.t.Context(), moby.EventsListOptions{
		Since: since.Format(time.RFC3339Nano), Until: time.Now().Format(time.RFC3339Nano),
		Filters: make(moby.Filters).Add("container", c.id).Add("event", "die"),
	})
	code := ""
	for {
		select {
		case m := <-told.Messages:
			code = m.Actor.Attributes["exitCode"]
		case err := <-told.Err:
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
	c.happened(backendapi.KindPause)
	return c
}

func (c *engineContainer) unpause() *engineContainer {
	c.t.Helper()
	_, err := c.docker.Client().ContainerUnpause(c.t.Context(), c.id, moby.ContainerUnpauseOptions{})
	require.NoError(c.t, err)
	c.happened(backendapi.KindUnpause)
	return c
}

func (c *engineContainer) remove() {
	c.t.Helper()
	_, err := c.docker.Client().ContainerRemove(c.t.Context(), c.id, moby.ContainerRemoveOptions{})
	require.NoError(c.t, err)
	c.happened(backendapi.KindRemove)
}

// differences compares what the backend holds with what was done. Empty: they are equal.
func (e *dockerDriver) differences(events []backendapi.Event) []string {
	var diffs []string
	latest := map[string]backendapi.Event{} // by id
	for _, ev := range events {
		was, known := latest[ev.EventID]
		if known && was.Revision == ev.Revision {
			diffs = append(diffs, fmt.Sprintf("revision %d of %s (%s) is there twice", ev.Revision, ev.EventID, ev.Kind))
		}
		if !known || ev.Revision > was.Revision {
			latest[ev.EventID] = ev
		}
	}
	byContainer := map[string][]backendapi.Event{}
	for _, ev := range latest {
		switch ev.Kind {
		case backendapi.KindObserverGap, backendapi.KindCrashLoop, backendapi.KindCrashLoopEnd, backendapi.KindOOM:
			continue
		default:
		}
		if scheme, id, _ := strings.Cut(ev.Workload.ContainerID, "://"); scheme == "docker" {
			byContainer[id] = append(byContainer[id], ev)
		}
	}
	for _, c := range e.containers {
		diffs = append(diffs, c.differences(byContainer[c.id])...)
		delete(byContainer, c.id)
	}
	for id, events := range byContainer {
		diffs = append(diffs, fmt.Sprintf("container %s was never made, and has %d events", id, len(events)))
	}
	return diffs
}

func (c *engineContainer) differences(events []backendapi.Event) []string {
	var diffs []string
	differ := func(format string, args ...any) {
		diffs = append(diffs, fmt.Sprintf("%s (%.12s): ", c.name, c.id)+fmt.Sprintf(format, args...))
	}
	slices.SortFunc(events, func(a, b backendapi.Event) int { return a.When.Compare(b.When) })
	var kinds []backendapi.Kind
	for _, ev := range events {
		kinds = append(kinds, ev.Kind)
	}
	want := c.kinds
	if c.inventory && len(kinds) > 0 && kinds[0] != backendapi.KindCreate { // else the engine replayed the creation
		want = want[1:]
	}
	if !slices.Equal(kinds, want) {
		differ("%v, and it was %v", kinds, want)
		return diffs
	}
	run := -1
	for _, ev := range events {
		if ev.Workload.Container != c.name {
			differ("%s: is called %s", ev.Kind, ev.Workload.Container)
		}
		switch ev.Kind {
		case backendapi.KindStart, backendapi.KindRestart:
			if run++; !ev.When.Equal(c.runs[run].started) {
				differ("%s: at %v, the engine says %v", ev.Kind, ev.When, c.runs[run].started)
			}
		case backendapi.KindStop:
			if run >= 0 {
				diffs = append(diffs, c.endDiffers(c.runs[run], ev)...)
			}
		default:
		}
	}
	return diffs
}

// endDiffers compares the end of a run. An event of the engine tells it some milliseconds after the time of the inspect.
func (c *engineContainer) endDiffers(run engineRun, stop backendapi.Event) []string {
	var diffs []string
	differ := func(format string, args ...any) {
		diffs = append(diffs, fmt.Sprintf("%s (%.12s): ", c.name, c.id)+fmt.Sprintf(format, args...))
	}
	switch {
	case run.unknown:
	case stop.Run == nil || stop.Run.ExitCode == nil:
		differ("no exit code, the engine says %d", run.code)
	case *stop.Run.ExitCode != run.code:
		differ("exit code %d, the engine says %d", *stop.Run.ExitCode, run.code)
	case stop.Run.Reason != run.reason || stop.Run.OOMKilled != (run.reason == "OOMKilled"):
		differ("reason %q, OOM-killed %v, and it was %s", stop.Run.Reason, stop.Run.OOMKilled, run.reason)
	}
	if off := stop.When.Sub(run.finished).Abs(); off > 2*time.Second && !run.unknown {
		differ("ended at %v, the engine says %v", stop.When, run.finished)
	}
	return diffs
}

// agree waits until the backend holds exactly what was done, and stays so for a moment.
func (e *dockerDriver) agree(s *stack) {
	e.t.Helper()
	var diffs []string
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if diffs = e.differences(s.events()); len(diffs) > 0 {
			continue
		}
		time.Sleep(2500 * time.Millisecond) // a second look later, nothing was added
		if diffs = e.differences(s.events()); len(diffs) == 0 {
			return
		}
	}
	e.t.Fatalf("the backend and the engine disagree:\n%s", strings.Join(diffs, "\n"))
}

// lives plays every way in which a container of Docker can live and end. What it returns runs still. No run is shorter than
// what lies between the clocks of dockerd, which says when it started, and of containerd, which says when it ended.
func (e *dockerDriver) lives(s *stack) (left *engineContainer) {
	e.t.Helper()
	limited := func(_ *api.Config, h *api.HostConfig) { h.Memory, h.MemorySwap = 32<<20, 32<<20 }
	e.run("completes", nil, "sleepms", "200").ended()
	e.run("fails", nil, "sleepms", "200", "3").ended().remove()
	e.run("out-of-memory", limited, "oom", "4").ended()
	e.run("killed", nil, "pause").signal("KILL").ended()
	e.run("stopped", nil, "sleep", "3600").signal("TERM").ended()
	e.run("paused", nil, "pause").told(s, backendapi.KindStart).pause().told(s, backendapi.KindPause).unpause().told(s, backendapi.KindUnpause).
		signal("KILL").ended().remove()
	e.run("started-again", nil, "sleepms", "200", "4").ended().start().ended()
	e.create("never-started", nil, "pause").remove()
	nowhere := e.create("no-such-command", func(c *api.Config, _ *api.HostConfig) { c.Entrypoint = []string{"/no/such/command"} })
	_, err := e.docker.Client().ContainerStart(e.t.Context(), nowhere.id, moby.ContainerStartOptions{})
	require.Error(e.t, err)
	nowhere.happened(backendapi.KindStop)
	return e.run("restarted", nil, "sleep", "3600").restart()
}
