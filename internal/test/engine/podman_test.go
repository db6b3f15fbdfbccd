// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package engine

import (
	"context"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/privateruntime"
)

func TestWipeLeavesNothingOfAPodmanWhoseServiceWasKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p := PodmanForTest(t)
	made, err := p.Client().ContainerCreate(ctx, client.ContainerCreateOptions{
		Config:     &container.Config{Image: privateruntime.ProbeImage, Cmd: []string{"pause"}},
		HostConfig: &container.HostConfig{NetworkMode: "none", Resources: container.Resources{CgroupParent: p.CgroupParent()}},
	})
	require.NoError(t, err)
	_, err = p.Client().ContainerStart(ctx, made.ID, client.ContainerStartOptions{})
	require.NoError(t, err)
	require.NoError(t, p.Kill())
	require.NoError(t, p.Restart(ctx))
	answer, err := p.Client().ContainerInspect(ctx, made.ID, client.ContainerInspectOptions{})
	require.NoError(t, err)
	assert.True(t, answer.Container.State.Running, "it has no daemon to die with")
	require.NoError(t, p.Kill())
	assert.NotEmpty(t, leftovers(t, p.dir))
	require.NoError(t, p.Wipe(ctx))
	assert.Empty(t, leftovers(t, p.dir))
}
