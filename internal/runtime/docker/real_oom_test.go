// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package docker_test

import (
	"time"

	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
)

// oomAttempts is the number of attempts at an OOM kill that the engine reports. A busy engine misses some, because the shim must
// read the kill before the shim itself exits.
const oomAttempts = 5

func (l *lab) oom() {
	for range oomAttempts {
		id := l.run("", limitMemory, "oom")
		l.untilStopped(id)
		late := time.Now().Add(3 * time.Second)
		l.until("the engine's OOMKilled is reported, possibly after the stop", func() bool {
			oomKilled := l.inspect(id).State.OOMKilled
			return l.lastStop(id).Run.OOMKilled == oomKilled && (oomKilled || l.kind.podman || time.Now().After(late))
		})
		last := l.ended(id)
		assert.EqualValues(l.t, 137, last.Run.ExitCode)
		if l.kind.podman { // Podman 4.3 does not report it
			return
		}
		if last.Run.OOMKilled {
			assert.Equal(l.t, "OOMKilled", last.Run.Reason)
			return
		}
	}
	l.t.Skip("the engine reported none of the OOM kills")
}

// oomAndGone: the engine removes the container as soon as it ends, so that only events can show the reason.
func (l *lab) oomAndGone() {
	if l.kind.podman || !l.stream {
		l.t.Skip("Podman's events do not report OOM kills, and a list is too late")
	}
	id := l.run("oom-rm", func(c *api.Config, h *api.HostConfig) {
		limitMemory(c, h)
		autoRemove(c, h)
	}, "oom")
	l.untilLast(id, "removed")
	require.NotEmpty(l.t, l.stops(id))
	last := l.lastStop(id).Run
	assert.EqualValues(l.t, 137, last.ExitCode)
	l.until("the witness has the removal", func() bool { return l.witness.count(id, "destroy") > 0 })
	if l.witness.before(id, "oom", "destroy") { // a busy engine reports it later, or never if the shim exits first
		assert.True(l.t, last.OOMKilled)
		assert.Equal(l.t, "OOMKilled", last.Reason)
	}
}

// oomOfAChild: an OOM kill of a child process does not end the container, and is not the reason of its later exit.
func (l *lab) oomOfAChild() {
	for signal, want := range map[string]container.Run{"KILL": {ExitCode: 137, Reason: "Error"}, "TERM": {ExitCode: 0, Reason: "Completed"}} {
		id := l.runWithKilledChild()
		l.kill(id, signal)
		if signal == "TERM" { // the main process of a container ignores it until its handler is installed
			l.until("it ends", func() bool {
				if !l.inspect(id).State.Running {
					return true
				}
				time.Sleep(300 * time.Millisecond)
				_, _ = l.docker.Client().ContainerKill(l.ctx(), id, client.ContainerKillOptions{Signal: signal})
				return false
			})
		}
		if l.stream || signal == "TERM" { // otherwise a requested SIGKILL cannot be distinguished from the kernel's
			l.endedBy(id, false)
			time.Sleep(1500 * time.Millisecond) // a recheck follows one second after the exit
			last := l.endedBy(id, false).Run
			assert.Equal(l.t, want, container.Run{ExitCode: last.ExitCode, Reason: last.Reason, OOMKilled: last.OOMKilled}, signal)
		}
	}
}

// runWithKilledChild runs a container in which the kernel's OOM killer has terminated a child process.
func (l *lab) runWithKilledChild() string {
	for range oomAttempts {
		id := l.run("", limitMemory, "forkoom", "1")
		l.until("started", func() bool { return len(l.kinds(id)) >= 2 })
		want := []string{"created", "started"}
		if !l.kind.podman { // Podman does not report it
			late := time.Now().Add(5 * time.Second)
			l.until("the kill is reported by the engine", func() bool { return l.witness.count(id, "oom") > 0 || time.Now().After(late) })
			if l.witness.count(id, "oom") == 0 {
				continue
			}
			if l.stream { // a list does not show it
				want = append(want, "oom")
			}
		}
		l.until("reported", func() bool { return len(l.kinds(id)) == len(want) })
		assert.Equal(l.t, want, l.kinds(id))
		return id
	}
	l.t.Skip("the engine reported none of the OOM kills")
	return ""
}
