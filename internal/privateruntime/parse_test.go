// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseVersionRefusesOldReleases(t *testing.T) {
	tests := map[string]struct {
		said, version string
		major         int
		fault         string
	}{
		"Debian's":    {said: "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u1\n", version: "1.6.20", major: 1},
		"1.7":         {said: "containerd github.com/containerd/containerd v1.7.35 abcdef\n", version: "1.7.35", major: 1},
		"2.x":         {said: "containerd github.com/containerd/containerd/v2 2.4.2 \n", version: "2.4.2", major: 2},
		"too old":     {said: "containerd github.com/containerd/containerd 1.4.13~ds1 x\n", fault: "too old"},
		"not a word":  {said: "", fault: "no version"},
		"no patch":    {said: "containerd 2.4", fault: "no version"},
		"overflowing": {said: "99999999999999999999.1.1", fault: "out of range"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			version, major, err := parseVersion(tt.said)
			if tt.fault != "" {
				require.ErrorContains(t, err, tt.fault)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.version, version)
			assert.Equal(t, tt.major, major)
		})
	}
}

func TestConfigMatchesTheMajorVersion(t *testing.T) {
	dir := t.TempDir()
	one, err := renderConfig(dir, dir+"/c.sock", 1)
	require.NoError(t, err)
	assert.Contains(t, string(one), "version = 2\n")
	assert.Contains(t, string(one), `sandbox_image = "`+PauseImage+`"`)
	two, err := renderConfig(dir, dir+"/c.sock", 2)
	require.NoError(t, err)
	assert.Contains(t, string(two), "version = 3\n")
	assert.Contains(t, string(two), `sandbox = "`+PauseImage+`"`)
	assert.NotContains(t, string(two), "sandbox_image")
}

func TestFindProgramFindsNothingInAnEmptyDirectory(t *testing.T) {
	_, ok := findProgram("containerd", []string{t.TempDir()})
	assert.False(t, ok)
}

func TestWipeDirRefusesWhatIsNotADirectoryOfItsOwn(t *testing.T) {
	for _, dir := range []string{"/", "", ".", "relative/dir", "/tmp/.."} {
		assert.ErrorContains(t, WipeDir(t.Context(), dir), "not an absolute directory", dir)
	}
}
