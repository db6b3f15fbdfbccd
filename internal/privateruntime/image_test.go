// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestImageArchiveIsTheSameEachTime(t *testing.T) {
	one, err := BuildImages(t.Context(), t.TempDir())
	require.NoError(t, err)
	dir := t.TempDir()
	two, err := BuildImages(t.Context(), dir)
	require.NoError(t, err)
	first, err := os.ReadFile(one)
	require.NoError(t, err)
	second, err := os.ReadFile(two)
	require.NoError(t, err)
	assert.Equal(t, filepath.Base(one), filepath.Base(two))
	assert.True(t, bytes.Equal(first, second), "the bytes differ")

	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, left, 1, "nothing but the archive stays")

	require.NoError(t, os.WriteFile(two, []byte("kept"), 0o600))
	again, err := BuildImages(t.Context(), dir)
	require.NoError(t, err)
	content, err := os.ReadFile(again)
	require.NoError(t, err)
	assert.Equal(t, "kept", string(content), "what is there is not built again")
}

func TestImageArchiveIsADockerArchive(t *testing.T) {
	archive, err := BuildImages(t.Context(), t.TempDir())
	require.NoError(t, err)
	for image, entrypoint := range map[string][]string{PauseImage: {"/probe", "pause"}, ProbeImage: {"/probe"}} {
		tag, err := name.NewTag(image, name.StrictValidation)
		require.NoError(t, err)
		img, err := tarball.ImageFromPath(archive, &tag)
		require.NoError(t, err)
		config, err := img.ConfigFile()
		require.NoError(t, err)
		assert.Equal(t, entrypoint, config.Config.Entrypoint)
		layers, err := img.Layers()
		require.NoError(t, err)
		require.Len(t, layers, 1)
		diff, err := layers[0].DiffID()
		require.NoError(t, err)
		assert.Equal(t, config.RootFS.DiffIDs[0], diff)
	}
}
