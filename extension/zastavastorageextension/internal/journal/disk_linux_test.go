// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestJournalKeepsAcceptedValuesWhenTheDiskIsFullOrReadOnly(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a file system")
	}
	for _, tt := range []struct {
		desc       string
		fail, mend func(t *testing.T, mount string)
	}{
		{
			desc: "full",
			fail: func(t *testing.T, mount string) {
				f, err := os.Create(filepath.Join(mount, "fill"))
				require.NoError(t, err)
				for err == nil {
					_, err = f.Write(make([]byte, 4096))
				}
				require.ErrorIs(t, err, syscall.ENOSPC)
				require.NoError(t, f.Close())
			},
			mend: func(t *testing.T, mount string) { require.NoError(t, os.Remove(filepath.Join(mount, "fill"))) },
		},
		{
			desc: "read-only",
			fail: func(t *testing.T, mount string) {
				// The journal has a file open for writing, so the mount itself cannot be made read-only without closing it.
				require.NoError(t, syscall.Mount("", mount, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""))
			},
			mend: func(t *testing.T, mount string) {
				require.NoError(t, syscall.Mount("", mount, "", syscall.MS_REMOUNT|syscall.MS_BIND, ""))
			},
		},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			mount := t.TempDir()
			if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=256k"); err != nil {
				t.Skipf("cannot mount a tmpfs: %v", err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(mount, syscall.MNT_DETACH) })
			dir := filepath.Join(mount, "queue")
			big := strings.Repeat("x", 5000)
			j := open(t, dir, func(o *Options) { o.SegmentBytes = 20_000 })
			want := map[string]string{"meta": "late"}
			for i := range 10 {
				require.NoError(t, j.Batch(set(strconv.Itoa(i), big), set("meta", "early")))
				if i > 0 {
					want[strconv.Itoa(i)] = big
				}
			}
			if tt.desc == "read-only" { // no file may be open for writing
				require.NoError(t, j.Close())
				tt.fail(t, mount)
				j = open(t, dir, func(o *Options) { o.SegmentBytes = 20_000 })
			} else {
				tt.fail(t, mount)
			}

			failed := false
			for i := 100; i < 110; i++ { // the first may still fit into the file
				if j.Batch(set(strconv.Itoa(i), big), set("meta", "refused")) != nil {
					failed = true
				} else {
					want[strconv.Itoa(i)] = big
				}
			}
			assert.True(t, failed, "new values are refused")
			require.NoError(t, j.Batch(set("meta", "late"), Change{Key: "0"}), "lazy changes are accepted")
			assert.Equal(t, want, content(t, j))

			// A value that was deleted may be set again, as a starting queue does.
			require.NoError(t, j.Batch(Change{Key: "1"}, Change{Key: "2"}))
			require.NoError(t, j.Batch(set("meta", "moved"), set("201", big)))
			delete(want, "1")
			delete(want, "2")
			require.NoError(t, j.Batch(set("meta", "moved"), set("203", big)))
			want["201"], want["203"], want["meta"] = big, big, "moved"
			require.Error(t, j.Batch(set("meta", "more"), set("202", big+"y")))
			assert.Equal(t, want, content(t, j))
			want["meta"] = "late"

			tt.mend(t, mount)
			require.NoError(t, j.Batch(set("new", "value"), set("meta", "late")))
			assert.Zero(t, j.Pending())
			want["new"] = "value"
			require.NoError(t, j.Close())
			j = open(t, dir)
			assert.Equal(t, want, content(t, j))
			assert.Equal(t, Damage{}, j.Damage())
			require.NoError(t, j.Close())
		})
	}
}
