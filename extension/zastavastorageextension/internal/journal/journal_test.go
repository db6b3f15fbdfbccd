// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func open(tb require.TestingT, dir string, change ...func(*Options)) *Journal {
	options := Options{Directory: dir, Sync: true, Lazy: func(key string) bool { return key == "meta" }}
	for _, c := range change {
		c(&options)
	}
	j, err := Open(options)
	require.NoError(tb, err)
	return j
}

func set(key, value string) Change { return Change{Key: key, Value: []byte(value)} }

func content(tb require.TestingT, j *Journal) map[string]string {
	out := map[string]string{}
	for _, key := range j.Keys() {
		value, err := j.Get(key)
		require.NoError(tb, err)
		require.NotNil(tb, value, "key %s", key)
		out[key] = string(value)
	}
	return out
}

func journals(tb require.TestingT, dir string) []string {
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	require.NoError(tb, err)
	return names
}

func TestValuesAreKeptWhenTheJournalIsReopened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "queue")
	j := open(t, dir)
	require.NoError(t, j.Batch(set("1", "one"), set("01", "not a number"), set("meta", ""), set("18446744073709551615", "largest")))
	require.NoError(t, j.Batch(Change{Key: "1"}, set("2", "two")))
	want := map[string]string{"2": "two", "01": "not a number", "meta": "", "18446744073709551615": "largest"}
	assert.Equal(t, want, content(t, j))
	require.NoError(t, j.Close())
	require.ErrorIs(t, j.Batch(set("3", "")), ErrClosed)

	j = open(t, dir)
	assert.Equal(t, want, content(t, j))
	assert.Equal(t, Damage{}, j.Damage())
	require.NoError(t, j.Close())
}

// The journal is compared with a map, across reopening and rewriting of files.
func TestJournalHasTheContentOfAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		small := func(o *Options) { o.SegmentBytes, o.Sync = int64(rapid.IntRange(1, 400).Draw(rt, "segment")), false }
		j, want := open(rt, dir, small), map[string]string{}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			if rapid.IntRange(0, 9).Draw(rt, "step") == 0 {
				require.NoError(rt, j.Close())
				j = open(rt, dir, small)
				require.Equal(rt, Damage{}, j.Damage())
			}
			var changes []Change
			for range rapid.IntRange(1, 4).Draw(rt, "changes") {
				key := rapid.SampledFrom([]string{"0", "1", "2", "3", "4", "meta", "x"}).Draw(rt, "key")
				if rapid.Bool().Draw(rt, "deletes") {
					changes = append(changes, Change{Key: key})
					delete(want, key)
				} else {
					value := rapid.StringN(0, 100, -1).Draw(rt, "value")
					changes = append(changes, set(key, value))
					want[key] = value
				}
			}
			require.NoError(rt, j.Batch(changes...))
			require.Equal(rt, want, content(rt, j))
			size := j.Size()
			require.LessOrEqual(rt, size.Files, 2*size.Live+4*400+1000, "the size of the files is limited by their content")
			require.Len(rt, want, size.Keys)
		}
		require.NoError(rt, j.Close())
	})
}

// queueOf writes n transactions, each with a key of its own, to small files and closes the journal.
func queueOf(tb require.TestingT, dir string, n int) {
	j := open(tb, dir, func(o *Options) { o.SegmentBytes = 500 })
	for i := range n {
		require.NoError(tb, j.Batch(set(strconv.Itoa(i), fmt.Sprintf("value %d of some length", i)), set("meta", strconv.Itoa(i))))
	}
	require.NoError(tb, j.Close())
}

func TestOpenLosesOnlyDamagedTransactions(t *testing.T) {
	const n = 40
	for _, tt := range []struct {
		desc   string
		damage func(names []string)
		lost   func(d Damage) (from, to int) // the range of missing values
		aside  int
	}{
		{
			desc: "a bit flipped in a value",
			damage: func(names []string) {
				change(names[1], func(raw []byte) []byte { i := bytes.Index(raw, []byte("value")); raw[i] ^= 1; return raw })
			},
			lost: func(Damage) (int, int) { return 1, 1 },
		},
		{
			desc: "a bit flipped in a length",
			damage: func(names []string) {
				change(names[1], func(raw []byte) []byte { raw[frames(raw)[1]+6] ^= 0x80; return raw })
			},
			lost: func(Damage) (int, int) { return 1, 1 },
		},
		{
			desc: "a file in the middle cut off",
			damage: func(names []string) {
				change(names[1], func(raw []byte) []byte { return raw[:len(raw)/2] })
			},
			lost: func(d Damage) (int, int) { return int(d.Transactions), int(d.Transactions) },
		},
		{
			desc:   "a file in the middle removed",
			damage: func(names []string) { _ = os.Remove(names[2]) },
			lost:   func(d Damage) (int, int) { return int(d.Transactions), int(d.Transactions) },
		},
		{
			desc: "a file in the middle replaced by garbage",
			damage: func(names []string) {
				change(names[2], func(raw []byte) []byte { return bytes.Repeat([]byte("garbage "), len(raw)/8) })
			},
			lost:  func(d Damage) (int, int) { return int(d.Transactions), int(d.Transactions) },
			aside: 1,
		},
		{
			desc:   "the first file emptied",
			damage: func(names []string) { _ = os.Truncate(names[0], 0) },
			lost:   func(Damage) (int, int) { return 1, 20 },
		},
		{
			desc: "every file replaced by garbage",
			damage: func(names []string) {
				for _, name := range names {
					change(name, func(raw []byte) []byte { return bytes.Repeat([]byte{0xff}, len(raw)) })
				}
			},
			lost:  func(Damage) (int, int) { return n, n },
			aside: 1000,
		},
		{
			desc: "the end of the last file flipped",
			damage: func(names []string) {
				change(names[len(names)-1], func(raw []byte) []byte { raw[len(raw)-1] ^= 1; return raw })
			},
			lost: func(Damage) (int, int) { return 1, 1 },
		},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			dir := t.TempDir()
			queueOf(t, dir, n)
			names := journals(t, dir)
			require.Greater(t, len(names), 4)
			tt.damage(names)

			j := open(t, dir)
			d := j.Damage()
			assert.NotZero(t, d)
			got := content(t, j)
			delete(got, "meta")
			from, to := tt.lost(d)
			assert.GreaterOrEqual(t, n-len(got), max(from, 1))
			assert.LessOrEqual(t, n-len(got), to)
			assert.LessOrEqual(t, d.Aside, tt.aside)
			if tt.aside > 0 {
				assert.Positive(t, d.Aside)
			}
			aside, err := filepath.Glob(filepath.Join(dir, "*"+asideSuffix))
			require.NoError(t, err)
			assert.LessOrEqual(t, len(aside), maxAside)

			// New transactions are accepted.
			require.NoError(t, j.Batch(set("new", "value")))
			require.NoError(t, j.Close())
			j = open(t, dir)
			got["new"] = "value"
			now := content(t, j)
			delete(now, "meta")
			assert.Equal(t, got, now)
			require.NoError(t, j.Close())
		})
	}
}

// frames returns the offset of each frame of a file, beginning with its header.
func frames(raw []byte) (at []int) {
	for n := 0; n < len(raw); {
		at = append(at, n)
		size, _ := decodeFrame(raw[n:])
		n += max(size, 1)
	}
	return at
}

func change(name string, how func([]byte) []byte) {
	raw, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, how(raw), 0o600)
	}
	if err != nil {
		panic(err)
	}
}

// The last file is cut at every byte. The content must be that of the complete transactions before the cut.
func TestAcknowledgedTransactionsAreKeptWhenTheFileIsTorn(t *testing.T) {
	from := t.TempDir()
	j := open(t, from)
	var ends []int64
	for i := range 5 {
		require.NoError(t, j.Batch(set(strconv.Itoa(i), "value")))
		ends = append(ends, j.Size().Files)
	}
	require.NoError(t, j.Close())
	raw, err := os.ReadFile(journals(t, from)[0])
	require.NoError(t, err)
	for cut := range int64(len(raw)) {
		for _, tail := range [][]byte{nil, make([]byte, 100)} { // a file system may have allocated space that was not written
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "0000000000000001"+suffix), append(slices.Clone(raw[:cut]), tail...), 0o600))
			j := open(t, dir)
			complete := 0
			for _, end := range ends {
				if end <= cut {
					complete++
				}
			}
			assert.Len(t, content(t, j), complete, "cut at %d", cut)
			if tail == nil {
				assert.Zero(t, j.Damage().Transactions, "cut at %d", cut)
			}
			require.NoError(t, j.Close())
		}
	}
}

func TestDamageIsCountedWhenItHappensWhileOpen(t *testing.T) {
	for _, tt := range []struct {
		desc string
		how  func(name string) error
	}{
		{"cut off", func(name string) error { return os.Truncate(name, 60) }},
		{"overwritten", func(name string) error { return os.WriteFile(name, bytes.Repeat([]byte{0xaa}, 4000), 0o600) }},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			dir := t.TempDir()
			j := open(t, dir)
			for i := range 20 {
				require.NoError(t, j.Batch(set(strconv.Itoa(i), "value")))
			}
			require.NoError(t, tt.how(journals(t, dir)[0]))
			value, err := j.Get("15")
			require.NoError(t, err)
			assert.Nil(t, value)
			assert.Equal(t, int64(1), j.Lost())
			assert.NotContains(t, j.Keys(), "15")
			require.NoError(t, j.Batch(set("new", "value")))
			value, err = j.Get("new")
			require.NoError(t, err)
			assert.Equal(t, "value", string(value))
			require.NoError(t, j.Close())
		})
	}
}

func TestOpenFailsWhenTheJournalIsLocked(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	_, err := Open(Options{Directory: dir})
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, j.Close())
	require.NoError(t, open(t, dir).Close())
}

func TestOpenFailsWhenTheDirectoryCannotBeCreated(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Open(Options{Directory: filepath.Join(file, "queue")})
	require.ErrorContains(t, err, "create the directory of a journal")
}

// FuzzOpen opens files with arbitrary content.
func FuzzOpen(f *testing.F) {
	frame, _ := appendFrame(nil, 1, []Change{set("1", "one"), {Key: "2"}})
	frame, _ = appendFrame(frame, 2, []Change{set("meta", "x")})
	f.Add(frame)
	f.Add(frame[:len(frame)-3])
	f.Add(append([]byte("garbage"), frame...))
	owned := (&Journal{options: Options{Owner: "a"}}).header()
	f.Add(append(slices.Clone(owned), frame...))
	f.Add(append(append(slices.Clone(owned), owned...), frame[3:]...))
	f.Add(beginnings(4<<10, 2<<10))
	f.Add(append(announce(maxFrameSize), frame...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		oracle.Bound(t, oracle.Parsing(len(raw)))
		dir := t.TempDir()
		for i := 1; i <= 2; i++ {
			require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%016d%s", i, suffix)), raw, 0o600))
		}
		j := open(t, dir)
		before := content(t, j)
		require.NoError(t, j.Batch(set("new", "value")))
		require.NoError(t, j.Close())
		j = open(t, dir)
		before["new"] = "value"
		require.Equal(t, before, content(t, j))
		require.NoError(t, j.Close())
	})
}

// announce returns the beginning of a frame with a payload of n bytes.
func announce(n int) []byte {
	return binary.LittleEndian.AppendUint32(slices.Clone(magic), uint32(n))
}

// beginnings returns a file of beginnings of frames of n bytes.
func beginnings(size, n int) []byte {
	head := make([]byte, frameHead)
	copy(head, announce(n))
	return bytes.Repeat(head, size/frameHead)
}

// Each file is small on disk or cheap to make, and none was written by a journal.
func TestOpenOfHostileFilesCostsLittle(t *testing.T) {
	for _, tt := range []struct {
		desc string
		make func(t *testing.T, name string)
		cost oracle.Cost
	}{
		{
			desc: "a sparse file of 1 TiB",
			make: func(t *testing.T, name string) {
				require.NoError(t, os.WriteFile(name, nil, 0o600))
				require.NoError(t, os.Truncate(name, 1<<40))
			},
			cost: oracle.Cost{Bytes: 16 << 20, CPU: oracle.Slowdown * time.Second},
		},
		{
			desc: "a sparse file of 1 GiB that begins with a frame of 64 MiB",
			make: func(t *testing.T, name string) {
				require.NoError(t, os.WriteFile(name, announce(maxFrameSize), 0o600))
				require.NoError(t, os.Truncate(name, 1<<30))
			},
			cost: oracle.Cost{Bytes: 16 << 20, CPU: 20 * time.Second},
		},
		{
			desc: "16 MiB of beginnings of frames that reach far", // without a budget some 6 TB of checksums
			make: func(t *testing.T, name string) {
				require.NoError(t, os.WriteFile(name, beginnings(16<<20, 8<<20), 0o600))
			},
			cost: oracle.Cost{Bytes: 64 << 20, CPU: 10 * time.Second},
		},
		{
			desc: "64 MiB of beginnings of small frames",
			make: func(t *testing.T, name string) {
				require.NoError(t, os.WriteFile(name, beginnings(64<<20, 0), 0o600))
			},
			cost: oracle.Cost{Bytes: 128 << 20, CPU: 10 * time.Second}, // the file is made here, too
		},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			dir := t.TempDir()
			name := filepath.Join(dir, "0000000000000001"+suffix)
			tt.make(t, name)
			oracle.Bound(t, tt.cost)
			j := open(t, dir)
			assert.Empty(t, j.Keys())
			assert.NotEqual(t, Damage{}, j.Damage())
			require.NoError(t, j.Batch(set("1", "one")))
			require.NoError(t, j.Close())
			j = open(t, dir)
			assert.Equal(t, map[string]string{"1": "one"}, content(t, j))
			require.NoError(t, j.Close())
		})
	}
}

func TestLargeFramesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	large := bytes.Repeat([]byte("0123456789abcdef"), windowBytes/4)
	require.NoError(t, j.Batch(Change{Key: "1", Value: large}, set("2", "small")))
	require.ErrorContains(t, j.Batch(Change{Key: "3", Value: make([]byte, maxFrameSize)}), "exceeds the maximum")
	require.NoError(t, j.Close())
	j = open(t, dir)
	assert.Equal(t, map[string]string{"1": string(large), "2": "small"}, content(t, j))
	require.NoError(t, j.Close())
}

func BenchmarkQueue(b *testing.B) {
	for _, sync := range []bool{false, true} {
		b.Run(fmt.Sprintf("sync=%v", sync), func(b *testing.B) {
			j := open(b, b.TempDir(), func(o *Options) { o.Sync = sync })
			defer func() { require.NoError(b, j.Close()) }()
			value := bytes.Repeat([]byte("x"), 1200)
			for i := 0; b.Loop(); i++ {
				key := strconv.Itoa(i)
				if j.Batch(Change{Key: "meta", Value: []byte(key)}, Change{Key: key, Value: value}) != nil ||
					j.Batch(Change{Key: "meta", Value: []byte(key)}) != nil ||
					j.Batch(Change{Key: "meta", Value: []byte(key)}, Change{Key: key}) != nil {
					b.Fatal("a change failed")
				}
			}
		})
	}
}
