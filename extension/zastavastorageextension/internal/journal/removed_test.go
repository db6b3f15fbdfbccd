// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package journal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reports collects what a journal reports.
type reports map[Fault][]string

func (r reports) to(o *Options) {
	o.Report = func(fault Fault, err error) { r[fault] = append(r[fault], err.Error()) }
}

// reopened returns the content that a process that starts now would find, as after a crash of this one.
func reopened(t *testing.T, dir string) map[string]string {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
	j := open(t, copied)
	assert.Equal(t, Damage{}, j.Damage())
	out := content(t, j)
	require.NoError(t, j.Close())
	return out
}

func TestValuesAreWrittenAgainWhenFilesAreRemovedWhileOpen(t *testing.T) {
	for _, tt := range []struct {
		desc   string
		remove func(t *testing.T, dir string)
	}{
		{"the directory", func(t *testing.T, dir string) { require.NoError(t, os.RemoveAll(dir)) }},
		{"the directory and its parent", func(t *testing.T, dir string) { require.NoError(t, os.RemoveAll(filepath.Dir(dir))) }},
		{"the content", func(t *testing.T, dir string) {
			require.NoError(t, os.RemoveAll(dir))
			require.NoError(t, os.Mkdir(dir, 0o700))
		}},
		{"the directory, and a file has its name", func(t *testing.T, dir string) {
			require.NoError(t, os.RemoveAll(dir))
			require.NoError(t, os.WriteFile(dir, nil, 0o600))
		}},
		{"the directory is renamed", func(t *testing.T, dir string) { require.NoError(t, os.Rename(dir, dir+".old")) }},
		{"another journal takes its place", func(t *testing.T, dir string) {
			require.NoError(t, os.Rename(dir, dir+".old"))
			other := open(t, dir)
			for i := range 100 { // higher sequence numbers than ours
				require.NoError(t, other.Batch(set("other"+strconv.Itoa(i), "value")))
			}
			require.NoError(t, other.Close())
		}},
		{"the first file", func(t *testing.T, dir string) { require.NoError(t, os.Remove(journals(t, dir)[0])) }},
		{"the last file", func(t *testing.T, dir string) {
			names := journals(t, dir)
			require.NoError(t, os.Remove(names[len(names)-1]))
		}},
		{"a file is replaced by another", func(t *testing.T, dir string) {
			name := journals(t, dir)[1]
			require.NoError(t, os.Rename(name, name+".bak"))
			require.NoError(t, os.WriteFile(name, []byte("other"), 0o600))
		}},
		{"a file is replaced by a link", func(t *testing.T, dir string) {
			name := journals(t, dir)[1]
			require.NoError(t, os.Remove(name))
			require.NoError(t, os.Symlink("/dev/zero", name))
		}},
		{"the lock", func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, lockName))) }},
	} {
		for _, how := range []string{"batch", "check", "close"} {
			t.Run(tt.desc+"/"+how, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "root", "queue")
				said := reports{}
				j := open(t, dir, said.to, func(o *Options) { o.SegmentBytes, o.Owner = 500, "a" })
				want := map[string]string{}
				for i := range 40 {
					require.NoError(t, j.Batch(set(strconv.Itoa(i), "value"), set("meta", strconv.Itoa(i))))
					want[strconv.Itoa(i)], want["meta"] = "value", strconv.Itoa(i)
				}
				require.NoError(t, j.Batch(set("0", "new"), Change{Key: "1"}, set("2", "new")))
				want["0"], want["2"] = "new", "new"
				delete(want, "1")
				tt.remove(t, dir)
				switch how {
				case "batch":
					require.NoError(t, j.Batch(set("after", "value")))
					want["after"] = "value"
				case "check":
					require.NoError(t, j.Check())
				default:
					require.NoError(t, j.Close())
				}
				if how != "close" {
					if how == "batch" { // another file than the last one is only checked now
						require.NoError(t, j.Check())
					}
					assert.Equal(t, want, content(t, j))
					assert.Equal(t, want, reopened(t, dir), "after a crash")
					_, err := Open(Options{Directory: dir})
					require.ErrorIs(t, err, ErrLocked)
					require.NoError(t, j.Check())
					require.NoError(t, j.Batch(set("last", "value")))
					want["last"] = "value"
					require.NoError(t, j.Close())
				}
				assert.Len(t, said[FaultRemoved], 1, "reported once: %v", said)
				assert.Zero(t, j.Lost())
				j = open(t, dir, said.to, func(o *Options) { o.Owner = "a" })
				assert.Equal(t, want, content(t, j))
				assert.Equal(t, Damage{}, j.Damage())
				require.NoError(t, j.Close())
			})
		}
	}
}

func TestTruncationLosesOnlyWhatWasCutOff(t *testing.T) {
	dir := t.TempDir()
	said := reports{}
	j := open(t, dir, said.to)
	for i := range 20 {
		require.NoError(t, j.Batch(set(strconv.Itoa(i), "value"), set("meta", strconv.Itoa(i))))
	}
	raw, err := os.ReadFile(journals(t, dir)[0])
	require.NoError(t, err)
	require.NoError(t, os.Truncate(journals(t, dir)[0], int64(frames(raw)[11]))) // after the header and ten transactions
	require.NoError(t, j.Check())
	assert.Len(t, said[FaultRemoved], 1)
	assert.Contains(t, said[FaultRemoved][0], "truncated")
	assert.EqualValues(t, 10, j.Lost())
	assert.Equal(t, "19", reopened(t, dir)["meta"], "the state of the queue is never lost")
	require.NoError(t, j.Batch(set("new", "value")))
	assert.Len(t, content(t, j), 12)
	assert.Equal(t, content(t, j), reopened(t, dir))
	require.NoError(t, j.Close())
}

func TestNewValuesAreRefusedWhileTheDirectoryCannotBeCreatedAgain(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	dir := filepath.Join(root, "queue")
	said := reports{}
	j := open(t, dir, said.to)
	require.NoError(t, j.Batch(set("1", "value")))
	require.NoError(t, os.RemoveAll(root))
	require.NoError(t, os.WriteFile(root, nil, 0o600)) // a file where the directory was
	require.Error(t, j.Check())
	require.ErrorContains(t, j.Batch(set("2", "value")), "was removed or replaced while in use")
	assert.Equal(t, map[string]string{"1": "value"}, content(t, j), "it is still delivered")
	require.NoError(t, os.Remove(root))
	require.NoError(t, j.Batch(set("2", "value")))
	assert.Equal(t, map[string]string{"1": "value", "2": "value"}, reopened(t, dir))
	assert.Len(t, said[FaultRemoved], 1)
	require.NoError(t, j.Close())
}

func TestFileOfAnotherOwnerIsSetAside(t *testing.T) {
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	owned := func(owner string) func(*Options) { return func(o *Options) { o.Owner = owner } }
	for _, owner := range []string{"a", "b"} {
		j := open(t, filepath.Join(root, owner), owned(owner))
		require.NoError(t, j.Batch(set("1", "of "+owner)))
		require.NoError(t, j.Close())
	}
	require.NoError(t, os.Rename(a, filepath.Join(root, "c")))
	require.NoError(t, os.Rename(b, a))
	require.NoError(t, os.Rename(filepath.Join(root, "c"), b))
	for range 2 { // the second time, nothing is left to say
		for _, owner := range []string{"a", "b"} {
			said := reports{}
			j := open(t, filepath.Join(root, owner), owned(owner), said.to)
			if len(j.Keys()) == 0 {
				require.Len(t, said[FaultForeign], 1)
				assert.Contains(t, said[FaultForeign][0], fmt.Sprintf(`of %q`, owner))
				require.NoError(t, j.Batch(set("2", "new")))
			}
			assert.Equal(t, map[string]string{"2": "new"}, content(t, j))
			assert.Equal(t, Damage{}, j.Damage())
			require.NoError(t, j.Close())
		}
	}
	// Moved back under its name, the file is read again.
	aside, err := filepath.Glob(filepath.Join(b, "*.foreign"))
	require.NoError(t, err)
	require.Len(t, aside, 1)
	require.NoError(t, os.RemoveAll(a))
	require.NoError(t, os.Mkdir(a, 0o700))
	require.NoError(t, os.Rename(aside[0], filepath.Join(a, "0000000000000001"+suffix)))
	j := open(t, a, owned("a"))
	assert.Equal(t, map[string]string{"1": "of a"}, content(t, j))
	require.NoError(t, j.Close())
}

func TestFilesOfEarlierAndLaterVersions(t *testing.T) {
	earlier, _ := appendFrame(nil, 7, []Change{set("1", "one")})
	later, _ := appendFrame(nil, 0, []Change{set(keyVersion, "3"), set(keyOwner, "a")})
	for desc, tt := range map[string]struct {
		raw  []byte
		want map[string]string
		said int
	}{
		"without a header": {earlier, map[string]string{"1": "one"}, 0},
		"of a later one":   {append(later, earlier...), map[string]string{}, 1},
	} {
		t.Run(desc, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "0000000000000001"+suffix), tt.raw, 0o600))
			said := reports{}
			j := open(t, dir, said.to, func(o *Options) { o.Owner = "a" })
			assert.Equal(t, tt.want, content(t, j))
			assert.Equal(t, Damage{}, j.Damage())
			assert.Len(t, said[FaultForeign], tt.said)
			require.NoError(t, j.Close())
		})
	}
}

// An earlier version reads the frames of a file one after the other and skips those whose sequence number is not new.
func TestHeaderIsNoTransactionForEarlierVersions(t *testing.T) {
	j := &Journal{options: Options{Owner: "a"}}
	size, seq := decodeFrame(j.header())
	assert.Positive(t, size)
	assert.Zero(t, seq)
	assert.True(t, bytes.HasPrefix(j.header(), magic))
}
