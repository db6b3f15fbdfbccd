// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package docker_test

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/engine"
)

// TestRealBurst has more events than the engine's memory of 256 holds. A life is of six at least.
func TestRealBurst(t *testing.T) {
	sideBySide(t)
	lives := 48
	if long() {
		lives = 300
	}
	for _, k := range kinds() {
		if k.name != "installed" && !long() {
			continue
		}
		t.Run(k.name, func(t *testing.T) { burst(t, k, lives) })
	}
}

func burst(t *testing.T, k kind, lives int) {
	t.Helper()
	const atOnce = 6
	l := watch(t, k, engine.Options{}, true)
	type life struct {
		id   string
		code uint32
	}
	all := make([]life, lives)
	var wg sync.WaitGroup
	for w := range atOnce {
		wg.Go(func() {
			for i := w; i < lives; i += atOnce {
				code := i % 100
				made, err := l.docker.Client().ContainerCreate(t.Context(), client.ContainerCreateOptions{
					Config:     &api.Config{Image: privateruntime.ProbeImage, Cmd: []string{"exit", strconv.Itoa(code)}},
					HostConfig: &api.HostConfig{NetworkMode: "host", AutoRemove: true, Resources: api.Resources{CgroupParent: l.docker.CgroupParent()}},
					Name:       fmt.Sprintf("burst-%03d", i),
				})
				if err == nil {
					_, err = l.docker.Client().ContainerStart(t.Context(), made.ID, client.ContainerStartOptions{})
				}
				if err != nil {
					t.Error(err)
					return
				}
				all[i] = life{made.ID, uint32(code)}
			}
		})
	}
	wg.Wait()
	for _, one := range all {
		require.NotEmpty(t, one.id)
		l.until("removed", func() bool { kinds := l.kinds(one.id); return len(kinds) > 0 && kinds[len(kinds)-1] == "removed" })
		if !assert.Equal(t, []string{"created", "started", "stopped", "removed"}, l.kinds(one.id)) {
			for _, tr := range l.of(one.id) {
				t.Log(tr.Kind, tr.Container.Name, tr.Container.CreatedAt, tr.Provenance, tr.Run)
			}
			t.FailNow()
		}
		require.Equal(t, one.code, l.stops(one.id)[0].Run.ExitCode)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	assert.Empty(t, l.gaps)
}

// TestRealDaemonThatIsKilled ends the daemon with SIGKILL. dockerd does not find its containers' processes again; Podman has no
// daemon that they could lose.
func TestRealDaemonThatIsKilled(t *testing.T) {
	sideBySide(t)
	for _, k := range kinds() {
		if k.name != "installed" && !long() {
			continue
		}
		t.Run(k.name, func(t *testing.T) { killed(t, k) })
	}
}

func killed(t *testing.T, k kind) {
	t.Helper()
	l := watch(t, k, engine.Options{}, true)
	lost := l.run("lost", nil, "pause")
	always := l.run("always", func(_ *api.Config, h *api.HostConfig) { h.RestartPolicy = api.RestartPolicy{Name: "always"} }, "pause")
	l.until("both started", func() bool { return len(l.kinds(lost)) == 2 && len(l.kinds(always)) == 2 })
	require.NoError(t, l.docker.Kill())
	l.until("the observer noticed", func() bool { return !l.obs.Stats().Streaming })
	require.NoError(t, l.docker.Restart(t.Context()))
	l.until("the stream is back", func() bool { return l.obs.Stats().Streaming })
	if !k.podman {
		l.until("restarted", func() bool { kinds := l.kinds(always); return kinds[len(kinds)-1] == "restarted" })
		assert.Equal(t, []string{"created", "started", "stopped", "restarted"}, l.kinds(always))
		l.ended(lost)
		assert.Equal(t, []string{"created", "started", "stopped"}, l.kinds(lost))
	}
	l.saysThatItCouldNotSee()
	after := l.run("after", nil, "exit", "5")
	assert.EqualValues(t, 5, l.ended(after).Run.ExitCode)
	if k.podman {
		assert.Equal(t, []string{"created", "started"}, l.kinds(lost), "it lives on")
		assert.Equal(t, []string{"created", "started"}, l.kinds(always))
	}
}

// TestRealDaemonThatIsAway has the daemon gone, in its good grace and with its containers alive (live-restore), for longer than
// the observer's longest wait. One of them ends meanwhile.
func TestRealDaemonThatIsAway(t *testing.T) {
	sideBySide(t)
	away := 3 * time.Second
	if long() {
		away = 2 * time.Minute
	}
	for _, k := range kinds() {
		if k.name != "installed" && !long() {
			continue
		}
		for _, stream := range []bool{true, false} {
			if stream || long() {
				t.Run(fmt.Sprintf("%s stream=%v", k.name, stream), func(t *testing.T) { gone(t, k, stream, away) })
			}
		}
	}
}

func gone(t *testing.T, k kind, stream bool, away time.Duration) {
	t.Helper()
	l := watch(t, k, engine.Options{LiveRestore: true}, stream)
	stays := l.run("stays", nil, "pause")
	ends := l.run("ends", nil, "pause")
	l.until("both started", func() bool { return len(l.kinds(stays)) == 2 && len(l.kinds(ends)) == 2 })
	pid := l.truth(ends).State.Pid
	require.Positive(t, pid)
	require.NoError(t, l.docker.Stop(t.Context()))
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	time.Sleep(away)
	require.NoError(t, l.docker.Restart(t.Context()))
	l.until("the end is told", func() bool { return len(l.stops(ends)) > 0 })
	end := l.stops(ends)[0]
	truth := l.truth(ends)
	t.Logf("the engine says %d at %s; told %+v %+v", truth.State.ExitCode, truth.State.FinishedAt, end.Run, end.Provenance)
	assert.Equal(t, uint32(truth.State.ExitCode), end.Run.ExitCode)
	assert.Equal(t, []string{"created", "started", "stopped"}, l.kinds(ends))
	l.saysThatItCouldNotSee()
	after := l.run("after", nil, "exit", "5")
	assert.EqualValues(t, 5, l.ended(after).Run.ExitCode)
	assert.Equal(t, []string{"created", "started"}, l.kinds(stays), "it was not restarted")
}

func (l *lab) saysThatItCouldNotSee() {
	l.t.Helper()
	l.until("it says that it could not see", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return slices.ContainsFunc(l.gaps, func(g container.Gap) bool {
			return g.Cause == container.CauseStreamLost || g.Cause == container.CauseListFailed
		})
	})
}
