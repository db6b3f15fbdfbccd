// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"bytes"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/limit"
	"github.com/zastava-otel/zastava/internal/test/hostile"
	costs "github.com/zastava-otel/zastava/internal/test/oracle"
)

// manyWanted are as many paths as a sample has files.
func manyWanted() (paths []string) {
	for i := range 1_000 {
		paths = append(paths, "/usr/lib/x/"+strconv.Itoa(i))
	}
	return append(paths, "/usr/lib/x/x")
}

// heapDuring returns the largest amount of memory in use while something is done, in bytes above what was in use before.
func heapDuring(do func()) uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	before, most := stats.HeapInuse, uint64(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	for {
		runtime.ReadMemStats(&stats)
		most = max(most, stats.HeapInuse)
		select {
		case <-done:
			return most - min(before, most)
		case <-time.After(time.Millisecond):
		}
	}
}

// TestHostileDatabasesCostLittle has every kind of database that made a reader do the product of two of its parts, or keep all of it.
func TestHostileDatabasesCostLittle(t *testing.T) {
	wanted := manyWanted()
	long := "/" + strings.Repeat("d/", 2_000)
	for name, test := range map[string]struct {
		root    hostile.PackageFiles
		limited bool // the search reaches a limit
	}{
		"297,000 packages in one stanza of status.d": {hostile.DpkgStanzas(wanted), false},
		"a status of 16 MiB":                         {hostile.DpkgStatus(16 << 20), false},
		"lists of the same paths":                    {hostile.DpkgLists(wanted, 64, 4<<20), true},
		"a long directory of apk":                    {hostile.APKFiles(16 << 20), false},
		"a long directory of rpm":                    {hostile.RPMFiles(long, 15<<20), true},
		"files of rpm without a package":             {hostile.RPMFiles("/usr/lib/x/", 15<<20), true},
	} {
		t.Run(name, func(t *testing.T) {
			const mostCPU = costs.Slowdown * 10 * time.Second // the limit of CPU time is 3 s, of the thread
			mostHeap := 24 << 20
			if costs.Slowdown > 1 {
				mostHeap *= 2 // garbage is collected later
			}
			root := files(test.root)
			var err error
			costs.Bound(t, costs.Cost{Bytes: 512 << 20, CPU: mostCPU})
			heap := heapDuring(func() {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				_, err = Owners(root, wanted)
			})
			t.Logf("%d KiB of memory", heap>>10)
			assert.Less(t, heap, uint64(mostHeap))
			if test.limited {
				var exceeded *limit.Error
				require.ErrorAs(t, err, &exceeded)
			} else {
				require.NoError(t, err)
			}
		})
	}
}

// The limit of CPU time is one of what is shipped, without the race detector.
func init() { limits.CPU *= costs.Slowdown }

func TestFirstPackageOfAStanzaOwnsItsFiles(t *testing.T) {
	owners, err := Owners(files(hostile.DpkgStanzas([]string{"/usr/bin/x"})), []string{"/usr/bin/x"})
	require.NoError(t, err)
	assert.Empty(t, owners["/usr/bin/x"], "its stanzas have no version")
	root := files{
		dpkgStatusDir + "/x":         []byte("Package: x\nVersion: 1\n\nPackage: y\nVersion: 2\n"),
		dpkgStatusDir + "/x.md5sums": []byte("0  usr/bin/x\n"),
	}
	owners, err = Owners(root, []string{"/usr/bin/x"})
	require.NoError(t, err)
	assert.Equal(t, "pkg:deb/debian/x@1", owners["/usr/bin/x"])
}

// endless is a Root with a directory of more lists than are read.
type endless struct{ files }

func (e endless) ReadNames(dir string, limit int) ([]string, error) {
	names, err := e.files.ReadNames(dir, limit)
	for i := len(names); i < limit && err == nil; i++ {
		names = append(names, strconv.Itoa(i))
	}
	return names, err
}

func TestListsThatAreNotReadAreReported(t *testing.T) {
	root := endless{files{dpkgStatus: []byte("Package: x\nVersion: 1\n"), dpkgInfo + "/x.list": []byte("/usr/bin/x\n")}}
	owners, err := Owners(root, []string{"/usr/bin/x", "/usr/bin/y"})
	assert.Equal(t, &limit.Error{Kind: limit.Items, Max: maxLists}, err)
	assert.Equal(t, map[string]string{"/usr/bin/x": "pkg:deb/debian/x@1"}, owners, "what was found before counts")
}

// stopping is a Root whose time is over after a number of reads.
type stopping struct {
	files
	left *int
}

type stoppingFile struct {
	File
	left *int
}

func (s stopping) Open(name string) (File, error) {
	file, err := s.files.Open(name)
	return stoppingFile{file, s.left}, err
}

func (s stoppingFile) ReadAt(p []byte, at int64) (int, error) {
	if *s.left--; *s.left < 0 {
		return 0, ErrStopped
	}
	return s.File.ReadAt(p, at)
}

// TestRootIsConsultedWhileADatabaseIsRead has the time end in the middle: the reader asks again at least every 32 KiB of text.
func TestRootIsConsultedWhileADatabaseIsRead(t *testing.T) {
	for name, root := range map[string]hostile.PackageFiles{
		"dpkg's status": hostile.DpkgStatus(4 << 20), "dpkg's lists": hostile.DpkgLists(manyWanted(), 4, 1<<20), "apk": hostile.APKFiles(4 << 20),
		"rpm": hostile.RPMFiles("/x/", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			left := 5
			_, err := Owners(stopping{files(root), &left}, manyWanted())
			require.ErrorIs(t, err, ErrStopped)
		})
	}
}

func TestLongLinesArePassedOver(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 3*maxLine)
	root := files{
		dpkgStatus:           bytes.Join([][]byte{[]byte("Package: x\nDepends: "), long, []byte("\nVersion: 1\n")}, nil),
		dpkgInfo + "/x.list": bytes.Join([][]byte{[]byte("/"), long, []byte("\n/usr/bin/x")}, nil),
	}
	owners, err := Owners(root, []string{"/usr/bin/x"})
	require.NoError(t, err)
	assert.Equal(t, "pkg:deb/debian/x@1", owners["/usr/bin/x"])
}

func TestEachSpellingLeadsToItsOwnFile(t *testing.T) {
	w := wanted{}
	for _, path := range []string{"/lib/a", "/usr/lib/a", "/lib/b", "/usr/lib/c"} {
		w.add(path)
	}
	for as, want := range map[string]string{
		"/lib/a": "/lib/a", "/usr/lib/a": "/usr/lib/a", "/lib/b": "/lib/b", "/usr/lib/b": "/lib/b", "/lib/c": "/usr/lib/c", "/usr/lib/c": "/usr/lib/c",
	} {
		got, ok := w.find([]byte(as))
		assert.True(t, ok, as)
		assert.Equal(t, want, got, as)
	}
	_, ok := w.find([]byte("lib"))
	assert.False(t, ok)
}
