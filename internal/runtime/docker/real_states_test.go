// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package docker_test

import (
	"os"
	"path/filepath"
	"time"

	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
)

func (l *lab) pauseAndRename() {
	id := l.run("before", nil, "pause")
	l.untilStarted(id)
	l.rename(id, "after")
	for _, what := range []string{"paused", "unpaused", "paused", "unpaused"} {
		l.until(what, func() bool {
			var err error
			if what == "paused" {
				_, err = l.docker.Client().ContainerPause(l.ctx(), id, client.ContainerPauseOptions{})
			} else {
				_, err = l.docker.Client().ContainerUnpause(l.ctx(), id, client.ContainerUnpauseOptions{})
			}
			return err == nil
		})
		l.untilLast(id, what)
	}
	// dockerd also receives each pause from containerd. If it was already undone by then, dockerd reports it as another pause and
	// its end.
	turns := l.kinds(id)[2:]
	assert.GreaterOrEqual(l.t, len(turns), 4)
	l.until("the engine reported at least as many", func() bool {
		return len(turns) <= l.witness.count(id, "pause")+l.witness.count(id, "unpause")
	})
	for i, turn := range turns {
		assert.Equal(l.t, []string{"paused", "unpaused"}[i%2], turn)
	}
	assert.Equal(l.t, "after", l.last(id).Container.Name)
}

// healthInterval is the time between two health checks. Each check costs as much as a container's start.
const healthInterval = 300 * time.Millisecond

// flappingHealth switches the result of a health check and compares every report with it.
func (l *lab) flappingHealth() {
	if l.kind.podman {
		l.t.Skip("Podman's health checks need systemd's timers")
	}
	dir := l.t.TempDir()
	id := l.run("flapping", func(c *api.Config, h *api.HostConfig) {
		c.Healthcheck = &api.HealthConfig{Test: []string{"CMD", "/probe", "flip", "/health/ok"}, Interval: healthInterval, Timeout: 5 * time.Second, Retries: 1}
		h.Binds = []string{dir + ":/health:ro"}
	}, "pause")
	want := []string{}
	expect := func(health string) {
		l.t.Helper()
		want = append(want, health)
		l.until(health, func() bool { return l.health(id) == health })
		assert.Equal(l.t, want, l.healths(id))
	}
	ok := filepath.Join(dir, "ok")
	expect("unhealthy")
	for range 2 {
		require.NoError(l.t, os.WriteFile(ok, nil, 0o600))
		expect("healthy")
		require.NoError(l.t, os.Remove(ok))
		expect("unhealthy")
	}
	var ordinals []uint32
	for _, tr := range l.transitions(id) {
		if tr.Kind == container.KindHealthChanged {
			ordinals = append(ordinals, tr.Ordinal)
		}
	}
	assert.Equal(l.t, []uint32{0, 1, 2, 3, 4}, ordinals, "each report has its own id")
	l.remove(id) // ends its health checks
}
