// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package quarantine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func entry(i int) Entry {
	return Entry{
		Time: time.Date(2026, 11, 22, 18, 9, 44, i, time.UTC), Reason: "422 Unprocessable Entity: no <such> kind", Status: 422,
		Envelope: fmt.Appendf(nil, `{"event":{"eventId":"event-%04d","kind":"X","revision":2},"schemaVersion":"v1"}`, i),
	}
}

func entries(from, to int) []Entry {
	var out []Entry
	for i := from; i < to; i++ {
		out = append(out, entry(i))
	}
	return out
}

func lineLength(tb testing.TB) int64 {
	tb.Helper()
	e := entry(1)
	raw, err := e.appendLine(nil)
	require.NoError(tb, err)
	return int64(len(raw)) + 8 // the nanoseconds of other entries have more digits
}

// content returns the event ids of a directory, oldest first, and the number of torn files.
func content(tb testing.TB, dir string) (ids []string, torn int) {
	tb.Helper()
	names, err := Files(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0
	}
	require.NoError(tb, err)
	for _, name := range names {
		f, err := os.Open(name)
		require.NoError(tb, err)
		cut, err := Read(f, func(l Line) error {
			require.NoError(tb, l.Err)
			ids = append(ids, l.Entry.EventID)
			return nil
		})
		require.NoError(tb, err)
		require.NoError(tb, f.Close())
		if cut {
			torn++
		}
	}
	return ids, torn
}

func wanted(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("event-%04d", i))
	}
	return out
}

func usual(tb testing.TB) Options {
	tb.Helper()
	return Options{Directory: filepath.Join(tb.TempDir(), "a", "quarantine"), MaxFileBytes: 1 << 20, MaxTotalBytes: 4 << 20}
}

func TestReadReturnsWhatWasAdded(t *testing.T) {
	o := usual(t)
	d := New(o)
	assert.NoDirExists(t, o.Directory, "New does not create the directory")
	res, err := d.Add([]Entry{entry(7)})
	require.NoError(t, err)
	assert.Equal(t, Result{}, res)

	names, err := Files(o.Directory)
	require.NoError(t, err)
	require.Len(t, names, 1)
	f, err := os.Open(names[0])
	require.NoError(t, err)
	defer f.Close()
	_, err = Read(f, func(l Line) error {
		want := entry(7)
		want.EventID, want.Revision, want.Schema = "event-0007", 2, "v1"
		assert.Equal(t, want, l.Entry)
		return nil
	})
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		file, err := os.Stat(names[0])
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o600), file.Mode().Perm())
		dir, err := os.Stat(o.Directory)
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o700), dir.Mode().Perm())
	}
}

func TestFilesRotateAndTheOldestIsEvicted(t *testing.T) {
	o := usual(t)
	o.MaxFileBytes, o.MaxTotalBytes = 10*lineLength(t), 35*lineLength(t)
	d := New(o)
	evicted := 0
	for i := range 100 {
		res, err := d.Add(entries(i, i+1))
		require.NoError(t, err)
		require.Empty(t, res.Lost)
		evicted += res.Evicted
		names, err := Files(o.Directory)
		require.NoError(t, err)
		var total int64
		for _, name := range names {
			info, err := os.Stat(name)
			require.NoError(t, err)
			assert.LessOrEqual(t, info.Size(), o.MaxFileBytes)
			total += info.Size()
		}
		require.LessOrEqual(t, total, o.MaxTotalBytes)
	}
	assert.Positive(t, evicted)
	ids, _ := content(t, o.Directory)
	assert.Equal(t, wanted(evicted, 100), ids, "the newest are kept in order, and the evicted ones are counted")
}

func TestForeignFilesAreKept(t *testing.T) {
	o := usual(t)
	o.MaxFileBytes, o.MaxTotalBytes = lineLength(t), 2*lineLength(t)
	require.NoError(t, os.MkdirAll(o.Directory, 0o700))
	foreign := filepath.Join(o.Directory, "00-notes.ndjson")
	require.NoError(t, os.WriteFile(foreign, make([]byte, 1000), 0o600))
	_, err := New(o).Add(entries(0, 9))
	require.NoError(t, err)
	assert.FileExists(t, foreign)
}

func TestOtherEventsAreStoredWhenOneIsInvalidOrTooLarge(t *testing.T) {
	o := usual(t)
	o.MaxFileBytes, o.MaxTotalBytes = 4096, 8192
	list := entries(0, 3)
	list[1].Reason = strings.Repeat("x", 5000)
	list = append(list, Entry{Envelope: []byte("{}")}, Entry{Envelope: []byte("{")}, Entry{Envelope: []byte("[1]")}, entry(3))
	res, err := New(o).Add(list)
	require.ErrorContains(t, err, "exceeds the maximum file size")
	assert.Equal(t, []int{1, 3, 4, 5}, res.Lost)
	ids, _ := content(t, o.Directory)
	assert.Equal(t, []string{"event-0000", "event-0002", "event-0003"}, ids)
}

func TestNextProcessWritesANewFileWhenACrashToreALine(t *testing.T) {
	o := usual(t)
	_, err := New(o).Add(entries(0, 3))
	require.NoError(t, err)
	names, err := Files(o.Directory)
	require.NoError(t, err)
	raw, err := os.ReadFile(names[0])
	require.NoError(t, err)
	for cut := range raw {
		require.NoError(t, os.WriteFile(names[0], raw[:cut], 0o600))
		if cut%50 == 1 {
			_, err = New(o).Add(entries(3, 4)) // another process: nothing is appended to a torn line
			require.NoError(t, err)
			ids, torn := content(t, o.Directory)
			n := strings.Count(string(raw[:cut]), "\n")
			assert.Equal(t, append(wanted(0, n), "event-0003"), ids)
			assert.Equal(t, 1, torn)
			later, err := Files(o.Directory)
			require.NoError(t, err)
			require.NoError(t, os.Remove(later[1]))
		}
	}
}

func TestNewFileIsCreatedWhenTheActiveOneWasMovedAway(t *testing.T) {
	o := usual(t)
	d := New(o)
	_, err := d.Add(entries(0, 2))
	require.NoError(t, err)
	names, err := Files(o.Directory)
	require.NoError(t, err)
	require.NoError(t, os.Rename(names[0], filepath.Join(o.Directory, "taken")))
	_, err = d.Add(entries(2, 3))
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(o.Directory))
	_, err = d.Add(entries(3, 4))
	require.NoError(t, err)
	ids, _ := content(t, o.Directory)
	assert.Equal(t, wanted(3, 4), ids)
}

func TestAddFailsWhenTheDirectoryCannotBeCreated(t *testing.T) {
	o := usual(t)
	require.NoError(t, os.WriteFile(filepath.Dir(o.Directory), nil, 0o600))
	res, err := New(o).Add(entries(0, 2))
	require.Error(t, err)
	assert.Equal(t, []int{0, 1}, res.Lost)
}

func TestConcurrentAddsAreAllStored(t *testing.T) {
	o := usual(t)
	d := New(o)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 10 {
				_, err := d.Add(entries(w*10+i, w*10+i+1))
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	ids, _ := content(t, o.Directory)
	assert.ElementsMatch(t, wanted(0, 80), ids)
}

// Every added event is on disk, evicted or reported as lost.
func TestEveryEventIsStoredEvictedOrLost(t *testing.T) {
	size := lineLength(t)
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "quarantine") //nolint:usetesting // one for each try, removed after it
		require.NoError(rt, err)
		defer os.RemoveAll(dir)
		o := Options{Directory: dir, MaxFileBytes: size * rapid.Int64Range(1, 6).Draw(rt, "file")}
		o.MaxTotalBytes = o.MaxFileBytes * rapid.Int64Range(2, 5).Draw(rt, "files")
		d := New(o)
		next, evicted, lost := 0, 0, 0
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 12), 1, 20).Draw(rt, "portions") {
			list := entries(next, next+n)
			if n > 0 && rapid.Bool().Draw(rt, "one without room") {
				list[n-1].Reason = strings.Repeat("x", int(o.MaxFileBytes))
			}
			next += n
			res, _ := d.Add(list)
			evicted, lost = evicted+res.Evicted, lost+len(res.Lost)
			if rapid.IntRange(0, 4).Draw(rt, "restart") == 0 {
				d = New(o)
			}
		}
		ids, torn := content(t, dir)
		require.Equal(rt, next, len(ids)+evicted+lost)
		require.Zero(rt, torn)
		require.IsIncreasing(rt, append([]string{""}, ids...))
	})
}
