// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package engine

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWipeLeavesNothingOfADockerWhoseDaemonWasKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	d := ForTest(t)
	made, err := d.Client().ContainerCreate(ctx, client.ContainerCreateOptions{
		Config:     &container.Config{Image: privateruntime.ProbeImage, Cmd: []string{"pause"}},
		HostConfig: &container.HostConfig{NetworkMode: "none"},
	})
	require.NoError(t, err)
	_, err = d.Client().ContainerStart(ctx, made.ID, client.ContainerStartOptions{})
	require.NoError(t, err)
	require.NoError(t, d.Kill())
	require.NoError(t, d.Restart(ctx))
	_, err = d.Client().ContainerStart(ctx, made.ID, client.ContainerStartOptions{})
	require.NoError(t, err)
	_, err = d.Client().ContainerPause(ctx, made.ID, client.ContainerPauseOptions{})
	require.NoError(t, err)
	require.NoError(t, d.Kill(), "with a paused container")
	assert.NotEmpty(t, leftovers(t, d.dir))
	require.NoError(t, d.Wipe(ctx))
	assert.Empty(t, leftovers(t, d.dir))
}

func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	left, err := Leftovers(dir)
	require.NoError(t, err)
	return left
}

func TestStartNamesWhatIsMissing(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Setenv("PATH", "/nonexistent")
	}
	if _, err := privateruntime.FindPrograms(nil, "install it", "dockerd"); err != nil {
		require.ErrorIs(t, err, privateruntime.ErrUnavailable)
	}
	_, err := realruntime.Release{Name: "0", BinDirs: []string{"nonexistent"}}.In("/")
	require.ErrorIs(t, err, privateruntime.ErrUnavailable)
	require.ErrorContains(t, err, "make runtimes")
	require.ErrorContains(t, WipeDir(t.Context(), "/"), "not an absolute directory of its own")
}
