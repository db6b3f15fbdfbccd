// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package docker_test

import (
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// limitMemory limits a container's memory to 32 MiB.
func limitMemory(_ *api.Config, h *api.HostConfig) { h.Memory, h.MemorySwap = 32<<20, 32<<20 }

// autoRemove has the engine remove a container when it exits.
func autoRemove(_ *api.Config, h *api.HostConfig) { h.AutoRemove = true }

func (l *lab) create(name string, change func(*api.Config, *api.HostConfig), args ...string) string {
	l.t.Helper()
	c := &api.Config{Image: privateruntime.ProbeImage, Cmd: args}
	h := &api.HostConfig{NetworkMode: "none", Resources: api.Resources{CgroupParent: l.docker.CgroupParent()}}
	if change != nil {
		change(c, h)
	}
	made, err := l.docker.Client().ContainerCreate(l.ctx(), client.ContainerCreateOptions{Config: c, HostConfig: h, Name: name})
	require.NoError(l.t, err)
	return made.ID
}

func (l *lab) start(id string) {
	l.t.Helper()
	_, err := l.docker.Client().ContainerStart(l.ctx(), id, client.ContainerStartOptions{})
	require.NoError(l.t, err)
}

func (l *lab) run(name string, change func(*api.Config, *api.HostConfig), args ...string) string {
	l.t.Helper()
	id := l.create(name, change, args...)
	l.start(id)
	return id
}

func (l *lab) kill(id, signal string) {
	l.t.Helper()
	_, err := l.docker.Client().ContainerKill(l.ctx(), id, client.ContainerKillOptions{Signal: signal})
	require.NoError(l.t, err)
}

// stop stops a container, with SIGKILL after this many seconds.
func (l *lab) stop(id string, seconds int) {
	l.t.Helper()
	_, err := l.docker.Client().ContainerStop(l.ctx(), id, client.ContainerStopOptions{Timeout: &seconds})
	require.NoError(l.t, err)
}

func (l *lab) rename(id, name string) {
	l.t.Helper()
	_, err := l.docker.Client().ContainerRename(l.ctx(), id, client.ContainerRenameOptions{NewName: name})
	require.NoError(l.t, err)
}

func (l *lab) remove(id string) {
	l.t.Helper()
	_, err := l.docker.Client().ContainerRemove(l.ctx(), id, client.ContainerRemoveOptions{Force: true})
	require.NoError(l.t, err)
}

// inspect returns the engine's own status of a container.
func (l *lab) inspect(id string) api.InspectResponse {
	l.t.Helper()
	response, err := l.docker.Client().ContainerInspect(l.ctx(), id, client.ContainerInspectOptions{})
	require.NoError(l.t, err)
	return response.Container
}
