// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// machine is a machine whose files must not be read.
type machine struct {
	FileSystem
	pipes map[string]bool
}

func (m machine) Pipe(name string) bool { return m.pipes[name] }

func TestRuntimesFindsOnlyPipesOnWindows(t *testing.T) {
	found, err := Runtimes(machine{pipes: map[string]bool{"//./pipe/docker_engine": true, "//./pipe/containerd-containerd": true}}, Options{})
	require.NoError(t, err)
	assert.Equal(t, []Runtime{
		{"containerd", "containerd", "npipe:////./pipe/containerd-containerd", 0},
		{"docker", "docker", "npipe:////./pipe/docker_engine", 0},
	}, found)
	none, err := Runtimes(Machine{}, Options{Root: `C:\host`})
	require.NoError(t, err)
	assert.Empty(t, none, "no process serves a pipe here")
}
