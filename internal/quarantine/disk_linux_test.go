// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package quarantine

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAddFailsAtOnceWhenTheDiskIsFullOrReadOnly(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small tmpfs; the tests with injected faults run everywhere")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", 64<<10)); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	defer func() { require.NoError(t, syscall.Unmount(dir, 0)) }()
	d := New(Options{Directory: dir, MaxFileBytes: 16 << 10, MaxTotalBytes: 16 << 20}) // more than the disk has
	var kept int
	var err error
	for kept = 0; err == nil && kept < 10_000; kept++ {
		var res Result
		if res, err = d.Add(entries(kept, kept+1)); err != nil {
			require.Equal(t, []int{0}, res.Lost)
			break
		}
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	ids, torn := content(t, dir)
	assert.Equal(t, wanted(0, kept), ids)
	assert.Zero(t, torn)

	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	_, err = d.Add(entries(kept, kept+1))
	require.ErrorIs(t, err, syscall.EROFS)
	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=1m"))
	_, err = d.Add(entries(kept, kept+1))
	require.NoError(t, err)
	ids, torn = content(t, dir)
	assert.Equal(t, wanted(0, kept+1), ids)
	assert.Zero(t, torn)
}
