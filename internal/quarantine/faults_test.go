// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package quarantine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// faulty is a file with faults of a disk.
type faulty struct {
	file
	room                     int // bytes until writing fails; -1 = without limit
	syncFails, truncateFails bool
	beforeClose              func()
}

var errDisk = errors.New("no space left on device")

func (f *faulty) Write(p []byte) (int, error) {
	if f.room >= 0 && len(p) > f.room {
		n, _ := f.file.Write(p[:f.room])
		return n, errDisk
	}
	return f.file.Write(p)
}

func (f *faulty) Sync() error {
	if f.syncFails {
		return errDisk
	}
	return f.file.Sync()
}

func (f *faulty) Truncate(n int64) error {
	if f.truncateFails {
		return errDisk
	}
	return f.file.Truncate(n)
}

func (f *faulty) Close() error {
	if f.beforeClose != nil {
		f.beforeClose()
	}
	return f.file.Close()
}

func TestEventsAreLostAndCountedWhenTheDiskFails(t *testing.T) {
	for name, fault := range map[string]faulty{
		"no room at all":               {room: 0},
		"room for half a line":         {room: 60},
		"half a line that stays":       {room: 60, truncateFails: true},
		"written and not synced":       {room: -1, syncFails: true},
		"not synced, and it all stays": {room: -1, syncFails: true, truncateFails: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := usual(t)
			d := New(o)
			good := d.open
			_, err := d.Add(entries(0, 1))
			require.NoError(t, err)
			d.open = func(name string, flag int, perm fs.FileMode) (file, error) {
				f, err := good(name, flag, perm)
				if err != nil {
					return nil, err
				}
				bad := fault
				bad.file = f
				return &bad, nil
			}
			for range 2 {
				res, err := d.Add(entries(1, 3))
				require.ErrorIs(t, err, errDisk)
				assert.Equal(t, []int{0, 1}, res.Lost)
			}
			d.open = good
			res, err := d.Add(entries(3, 4))
			require.NoError(t, err)
			assert.Empty(t, res.Lost)
			ids, _ := content(t, o.Directory)
			assert.Contains(t, ids, "event-0000")
			assert.Contains(t, ids, "event-0003", "nothing is appended to a torn line")
			if !fault.truncateFails {
				assert.Equal(t, []string{"event-0000", "event-0003"}, ids)
			}
		})
	}
}

// A full disk must not be filled with empty files.
func TestEmptyFileIsRemovedWhenWritingFails(t *testing.T) {
	o := usual(t)
	d := New(o)
	good := d.open
	d.open = func(name string, flag int, perm fs.FileMode) (file, error) {
		f, err := good(name, flag, perm)
		return &faulty{file: f}, err
	}
	for range 5 {
		_, err := d.Add(entries(0, 1))
		require.ErrorIs(t, err, errDisk)
	}
	names, err := Files(o.Directory)
	require.NoError(t, err)
	assert.Empty(t, names)
}

// A replay moves the file between the write and the check of its path.
func TestEventsAreWrittenAgainWhenTheFileIsMovedDuringTheWrite(t *testing.T) {
	o := usual(t)
	d := New(o)
	_, err := d.Add(entries(0, 1))
	require.NoError(t, err)
	good, taken := d.open, false
	d.open = func(name string, flag int, perm fs.FileMode) (file, error) {
		f, err := good(name, flag, perm)
		if err != nil {
			return nil, err
		}
		return &faulty{file: f, room: -1, beforeClose: func() {
			if !taken {
				taken = true
				require.NoError(t, os.Rename(name, filepath.Join(o.Directory, "taken")))
			}
		}}, nil
	}
	_, err = d.Add(entries(1, 2))
	require.NoError(t, err)
	ids, _ := content(t, o.Directory)
	assert.Equal(t, wanted(1, 2), ids, "the reader of the moved file may have read it before")
}
