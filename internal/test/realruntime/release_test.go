// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package realruntime

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/privateruntime"
)

func TestReleaseIsUnavailableUntilItIsBuilt(t *testing.T) {
	root := t.TempDir()
	_, err := Containerd2().In(root)
	require.ErrorIs(t, err, privateruntime.ErrUnavailable)
	require.ErrorContains(t, err, "make runtimes")

	dir := filepath.Join(root, "build", "runtimes", "containerd2")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	_, err = Containerd2().In(root)
	require.ErrorIs(t, err, privateruntime.ErrUnavailable, "an empty directory")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "containerd"), nil, 0o700))
	r, err := Containerd2().In(root)
	require.NoError(t, err)
	assert.Equal(t, Release{Name: "2", BinDirs: []string{dir}}, r)
}
