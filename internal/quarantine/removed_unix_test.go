// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package quarantine

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEventsAreWrittenToANewFileWhenTheFileIsRemovedOrReplaced(t *testing.T) {
	target := filepath.Join(t.TempDir(), "target")
	for desc, spoil := range map[string]func(t *testing.T, o Options, name string){
		"file removed":      func(t *testing.T, _ Options, name string) { require.NoError(t, os.Remove(name)) },
		"directory removed": func(t *testing.T, o Options, _ string) { require.NoError(t, os.RemoveAll(o.Directory)) },
		"replaced by a pipe": func(t *testing.T, _ Options, name string) {
			require.NoError(t, os.Remove(name))
			require.NoError(t, syscall.Mkfifo(name, 0o600))
		},
		"replaced by a link": func(t *testing.T, _ Options, name string) {
			require.NoError(t, os.Rename(name, target))
			require.NoError(t, os.Symlink(target, name))
		},
		"replaced by a directory": func(t *testing.T, _ Options, name string) {
			require.NoError(t, os.Remove(name))
			require.NoError(t, os.Mkdir(name, 0o700))
		},
	} {
		t.Run(desc, func(t *testing.T) {
			o := usual(t)
			d := New(o)
			_, err := d.Add(entries(0, 1))
			require.NoError(t, err)
			names, err := Files(o.Directory)
			require.NoError(t, err)
			spoil(t, o, names[0])
			res, err := d.Add(entries(1, 3))
			require.NoError(t, err)
			assert.Empty(t, res.Lost)
			ids, _ := content(t, o.Directory)
			assert.Equal(t, wanted(1, 3), ids)
		})
	}
}
