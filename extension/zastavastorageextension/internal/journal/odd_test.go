// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package journal

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var odd = map[string]func(t *testing.T, path string){
	"pipe":            func(t *testing.T, path string) { require.NoError(t, syscall.Mkfifo(path, 0o600)) },
	"directory":       func(t *testing.T, path string) { require.NoError(t, os.MkdirAll(filepath.Join(path, "sub"), 0o700)) },
	"link to a file":  func(t *testing.T, path string) { require.NoError(t, os.Symlink("/etc/hostname", path)) },
	"link to nothing": func(t *testing.T, path string) { require.NoError(t, os.Symlink(path+"-none", path)) },
	"link to zeros":   func(t *testing.T, path string) { require.NoError(t, os.Symlink("/dev/zero", path)) },
}

func TestWritingGoesOnWhenTheNextNameIsNoRegularFile(t *testing.T) {
	for desc, create := range odd {
		t.Run(desc, func(t *testing.T) {
			dir := t.TempDir()
			said := reports{}
			j := open(t, dir, said.to, func(o *Options) { o.SegmentBytes = 50 })
			require.NoError(t, j.Batch(set("1", strings.Repeat("x", 100))))
			create(t, filepath.Join(dir, "0000000000000002"+suffix))
			require.NoError(t, j.Batch(set("2", strings.Repeat("x", 100))))
			require.NoError(t, j.Batch(set("3", strings.Repeat("x", 100))))
			assert.Len(t, said[FaultOdd], 1)
			assert.Contains(t, said[FaultOdd][0], "0000000000000002.journal.odd")
			_, err := os.Lstat(filepath.Join(dir, "0000000000000002"+suffix+".odd"))
			require.NoError(t, err)
			require.NoError(t, j.Close())
			j = open(t, dir, said.to)
			assert.ElementsMatch(t, []string{"1", "2", "3"}, j.Keys())
			assert.Equal(t, Damage{}, j.Damage())
			assert.Len(t, said[FaultOdd], 1)
			require.NoError(t, j.Close())
		})
	}
}

func TestOpenSetsAsideWhatIsNoRegularFile(t *testing.T) {
	for desc, create := range odd {
		for _, name := range []string{"0000000000000002" + suffix, lockName} {
			t.Run(desc+"/"+name, func(t *testing.T) {
				dir := t.TempDir()
				j := open(t, dir)
				require.NoError(t, j.Batch(set("1", "one")))
				require.NoError(t, j.Close())
				path := filepath.Join(dir, name)
				_ = os.Remove(path)
				create(t, path)
				said := reports{}
				j = open(t, dir, said.to)
				assert.Len(t, said[FaultOdd], 1)
				require.NoError(t, j.Batch(set("2", "two")))
				assert.Equal(t, map[string]string{"1": "one", "2": "two"}, content(t, j))
				require.NoError(t, j.Close())
				j = open(t, dir, said.to)
				assert.Equal(t, map[string]string{"1": "one", "2": "two"}, content(t, j))
				assert.Len(t, said[FaultOdd], 1, "reported once")
				require.NoError(t, j.Close())
			})
		}
	}
}

func TestOpenSetsAsideWhatIsNoDirectory(t *testing.T) {
	for desc, create := range odd {
		if desc == "directory" {
			continue
		}
		t.Run(desc, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "queue")
			create(t, dir)
			said := reports{}
			j := open(t, dir, said.to)
			assert.Len(t, said[FaultOdd], 1)
			require.NoError(t, j.Batch(set("1", "one")))
			require.NoError(t, j.Close())
		})
	}
}

func TestNextNumberIsUsedWhenSettingAsideFails(t *testing.T) {
	dir := t.TempDir()
	said := reports{}
	j := open(t, dir, said.to)
	odd := filepath.Join(dir, "0000000000000001"+suffix)
	require.NoError(t, os.Mkdir(odd, 0o700))
	for n := 1; n <= maxNames; n++ { // no name is left for it
		to, err := rename(odd, ".odd")
		require.NoError(t, err)
		require.NoError(t, os.Mkdir(odd, 0o700), to)
	}
	require.NoError(t, j.Batch(set("1", "one")))
	assert.Len(t, said[FaultOdd], 1)
	assert.Contains(t, said[FaultOdd][0], "could not be renamed")
	assert.FileExists(t, filepath.Join(dir, "0000000000000002"+suffix))
	require.NoError(t, j.Close())
	j = open(t, dir)
	assert.Equal(t, map[string]string{"1": "one"}, content(t, j))
	require.NoError(t, j.Close())
}

func TestOpenFailsWhenOtherUsersMayWriteToTheDirectory(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	_, err := Open(Options{Directory: dir})
	require.ErrorContains(t, err, "has mode 0777")
	require.ErrorContains(t, err, "chmod")
}

func TestSetAsideOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	for _, content := range []string{"first", "second"} {
		name := filepath.Join(dir, "0000000000000001"+suffix)
		require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
		require.NoError(t, open(t, dir).Close())
	}
	var kept []string
	names, err := filepath.Glob(filepath.Join(dir, "*"+asideSuffix))
	require.NoError(t, err)
	for _, name := range names {
		raw, err := os.ReadFile(name)
		require.NoError(t, err)
		kept = append(kept, string(raw))
	}
	assert.ElementsMatch(t, []string{"first", "second"}, kept)
}
