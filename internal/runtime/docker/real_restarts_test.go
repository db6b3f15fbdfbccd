// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package docker_test

import (
	"slices"
	"time"

	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (l *lab) restartOnFailure() {
	id := l.run("crashing", func(_ *api.Config, h *api.HostConfig) {
		h.RestartPolicy = api.RestartPolicy{Name: "on-failure", MaximumRetryCount: 4}
	}, "sleepms", "50", "1")
	l.until("the engine gave up", func() bool {
		status := l.inspect(id)
		return string(status.State.Status) == "exited" && status.RestartCount == 4
	})
	l.ended(id)
	l.until("the last run is reported", func() bool {
		return l.lastStop(id).Run.StartedAt.Format(time.RFC3339Nano) == l.inspect(id).State.StartedAt
	})
	l.accounted(id)
	assert.Equal(l.t, 5, l.witness.count(id, "start"))
	if l.stream && (!l.kind.podman || len(l.stops(id)) >= 3) { // Podman's exits are found by inspection, which misses some runs that are this short, and counts them
		assert.Contains(l.t, l.kinds(id), "crash_loop")
	}
}

// restartAlways: the container crashes repeatedly until it is stopped.
func (l *lab) restartAlways() {
	id := l.run("looping", func(_ *api.Config, h *api.HostConfig) { h.RestartPolicy = api.RestartPolicy{Name: "always"} }, "sleepms", "300", "6")
	l.until("a crash loop is reported", func() bool { return slices.Contains(l.kinds(id), "crash_loop") })
	before := ""
	l.until("it stays stopped", func() bool {
		l.stop(id, 5) // between two runs, Podman answers that it is already stopped, and restarts it
		time.Sleep(500 * time.Millisecond)
		state := l.inspect(id).State
		last := before
		before = state.StartedAt
		return string(state.Status) == "exited" && last == before && l.lastStop(id).Run.StartedAt.Format(time.RFC3339Nano) == before
	})
	loops := 0
	for _, k := range l.kinds(id) {
		if k == "crash_loop" {
			loops++
		}
	}
	assert.Equal(l.t, 1, loops, "it is reported once")
	l.accounted(id)
}

func (l *lab) restartOnRequest() {
	id := l.run("restarted", nil, "pause")
	l.untilStarted(id)
	time.Sleep(1500 * time.Millisecond) // lists distinguish two starts only by their age in seconds
	_, err := l.docker.Client().ContainerRestart(l.ctx(), id, client.ContainerRestartOptions{})
	require.NoError(l.t, err)
	l.until("restarted", func() bool { return len(l.kinds(id)) == 4 })
	assert.Equal(l.t, []string{"created", "started", "stopped", "restarted"}, l.kinds(id))
	last := l.last(id)
	require.NotNil(l.t, last.Previous)
	if l.kind.podman && !last.Previous.ExitKnown {
		return // a busy Podman reports an exit without its code, and the container runs again before the inspection
	}
	if l.stream {
		assert.True(l.t, last.Previous.ExitKnown)
		assert.False(l.t, last.Provenance.MissedUnknown)
	}
}

// composeRecreates does what docker compose up --force-recreate does.
func (l *lab) composeRecreates() {
	composeLabels := func(c *api.Config, _ *api.HostConfig) {
		c.Labels = map[string]string{
			"com.docker.compose.project": "shop", "com.docker.compose.service": "web", "com.docker.compose.container-number": "1", "com.docker.compose.oneoff": "False",
		}
	}
	first := l.run("shop-web-1", composeLabels, "pause")
	l.untilStarted(first)
	second := l.create("replacing_shop-web-1", composeLabels, "pause")
	l.stop(first, 10) // Podman's default is to wait without limit
	l.remove(first)
	l.rename(second, "shop-web-1")
	l.start(second)
	l.untilLast(second, "restarted")
	assert.Equal(l.t, []string{"created", "restarted"}, l.kinds(second))
	last := l.last(second)
	assert.Equal(l.t, "shop-web-1", last.Container.Name)
	require.NotNil(l.t, last.Previous)
	assert.Equal(l.t, first, last.Previous.ContainerID)
	if l.stream && (!l.kind.podman || last.Previous.ExitKnown) { // Podman's events may not contain it, and the container is removed at once
		assert.True(l.t, last.Previous.ExitKnown)
		assert.Zero(l.t, last.Previous.ExitCode)
	}
}
