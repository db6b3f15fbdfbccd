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

// TestRealBurstLosesNoContainer causes more events than the 256 that the engine keeps. A life has at least six.
func TestRealBurstLosesNoContainer(t *testing.T) {
	parallel(t)
	lives := 48
	if long() {
		lives = 300
	}
	eachEngine(t, func(t *testing.T, k kind) { burst(t, k, lives) })
}

func burst(t *testing.T, k kind, lives int) {
	t.Helper()
	const workers = 6
	l := watch(t, k, engine.Options{}, true)
	type ended struct {
		id   string
		code uint32
	}
	all := make([]ended, lives)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < lives; i += workers {
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
				all[i] = ended{made.ID, uint32(code)}
			}
		})
	}
	wg.Wait()
	for _, life := range all {
		require.NotEmpty(t, life.id)
		l.untilLast(life.id, "removed")
		if !assert.Equal(t, []string{"created", "started", "stopped", "removed"}, l.kinds(life.id)) {
			for _, tr := range l.transitions(life.id) {
				t.Log(tr.Kind, tr.Container.Name, tr.Container.CreatedAt, tr.Provenance, tr.Run)
			}
			t.FailNow()
		}
		require.Equal(t, life.code, l.stops(life.id)[0].Run.ExitCode)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	assert.Empty(t, l.gaps)
}

// TestRealStopsAreReportedAfterDaemonIsKilled ends the daemon with SIGKILL. dockerd loses its containers' processes; Podman has no daemon that
// could lose them.
func TestRealStopsAreReportedAfterDaemonIsKilled(t *testing.T) {
	parallel(t)
	eachEngine(t, killDaemon)
}

func killDaemon(t *testing.T, k kind) {
	t.Helper()
	l := watch(t, k, engine.Options{}, true)
	lost := l.run("lost", nil, "pause")
	always := l.run("always", func(_ *api.Config, h *api.HostConfig) { h.RestartPolicy = api.RestartPolicy{Name: "always"} }, "pause")
	l.untilStarted(lost)
	l.untilStarted(always)
	require.NoError(t, l.docker.Kill())
	l.until("the stream is lost", func() bool { return !l.obs.Stats().Streaming })
	require.NoError(t, l.docker.Restart(t.Context()))
	l.until("the stream is back", func() bool { return l.obs.Stats().Streaming })
	if !k.podman {
		l.untilLast(always, "restarted")
		assert.Equal(t, []string{"created", "started", "stopped", "restarted"}, l.kinds(always))
		l.ended(lost)
		assert.Equal(t, []string{"created", "started", "stopped"}, l.kinds(lost))
	}
	l.untilGapIsReported()
	after := l.run("after", nil, "exit", "5")
	assert.EqualValues(t, 5, l.ended(after).Run.ExitCode)
	if k.podman {
		assert.Equal(t, []string{"created", "started"}, l.kinds(lost), "it still runs")
		assert.Equal(t, []string{"created", "started"}, l.kinds(always))
	}
}

// TestRealStopsAreReportedAfterDaemonReturns stops the daemon regularly while its containers keep running (live-restore), for longer
// than the observer's longest back-off. One of them ends meanwhile.
func TestRealStopsAreReportedAfterDaemonReturns(t *testing.T) {
	parallel(t)
	away := 3 * time.Second
	if long() {
		away = 2 * time.Minute
	}
	eachEngine(t, func(t *testing.T, k kind) {
		for _, stream := range []bool{true, false} {
			if stream || long() {
				t.Run(fmt.Sprintf("stream=%v", stream), func(t *testing.T) { stopDaemon(t, k, stream, away) })
			}
		}
	})
}

func stopDaemon(t *testing.T, k kind, stream bool, away time.Duration) {
	t.Helper()
	l := watch(t, k, engine.Options{LiveRestore: true}, stream)
	stays := l.run("stays", nil, "pause")
	ends := l.run("ends", nil, "pause")
	l.untilStarted(stays)
	l.untilStarted(ends)
	pid := l.inspect(ends).State.Pid
	require.Positive(t, pid)
	require.NoError(t, l.docker.Stop(t.Context()))
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	time.Sleep(away)
	require.NoError(t, l.docker.Restart(t.Context()))
	l.untilStopped(ends)
	end := l.stops(ends)[0]
	status := l.inspect(ends)
	t.Logf("the engine reports %d at %s; reported %+v %+v", status.State.ExitCode, status.State.FinishedAt, end.Run, end.Provenance)
	assert.Equal(t, uint32(status.State.ExitCode), end.Run.ExitCode)
	assert.Equal(t, []string{"created", "started", "stopped"}, l.kinds(ends))
	l.untilGapIsReported()
	after := l.run("after", nil, "exit", "5")
	assert.EqualValues(t, 5, l.ended(after).Run.ExitCode)
	assert.Equal(t, []string{"created", "started"}, l.kinds(stays), "it was not restarted")
}

func (l *lab) untilGapIsReported() {
	l.t.Helper()
	l.until("a gap is reported", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return slices.ContainsFunc(l.gaps, func(g container.Gap) bool {
			return g.Cause == container.CauseStreamLost || g.Cause == container.CauseListFailed
		})
	})
}
