// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package journal is a key-value store for queues on disk. It appends transactions to the files of a directory, each with a
// checksum and a sequence number. Each file says which component it belongs to.
//
// It promises: Batch returns when the change is on disk (see Options). Open succeeds for any content of the files: damaged
// transactions are skipped and counted, and damage affects no other transaction. A transaction that a crash tore was never
// acknowledged. Files without a valid transaction are renamed. No content causes a panic, and no file is mapped into memory, so that
// truncating a file while it is in use causes an error and does not end the process. While the disk refuses writes, changes that
// a queue can lose are kept in memory (see Options.Lazy) and written later.
//
// A file of another component, and what is no regular file, is renamed, never used and never overwritten. Where files of an open
// journal were removed, replaced or truncated, the next Batch or Check notices it and writes all values that can be read to new files.
// As the old ones are still open, values are only lost where a file was truncated or overwritten.
//
// It refuses to wait: a full or read-only disk is an immediate error of Batch, and a directory that another process uses is
// ErrLocked.
//
// Space: files without current values are removed. Beyond twice the size of the current values and four files, the oldest file is
// rewritten. Memory: some 50 bytes for each of at most 4 Mi keys, and one transaction of at most 64 MiB, whatever the files contain.
package journal

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	suffix       = ".journal"
	numberDigits = 16
	lockName     = "lock"

	maxKeys     = 4 << 20 // some 250 MiB of memory; a queue of a million deliveries has a million keys
	maxPending  = 1 << 20 // changes kept in memory while the disk refuses writes
	rewriteSize = 1 << 20 // bytes of a transaction that rewrites a file
	overhead    = 128     // bytes; more than the frame, key and lengths of a value, so that rewriting ends
)

// Errors that callers distinguish.
var (
	ErrLocked = errors.New("another process uses it")
	ErrClosed = errors.New("the journal is closed")
)

// Options of a journal.
type Options struct {
	// Directory is created with mode 0700 if it does not exist. It is an error if other users may write to it.
	Directory string
	// Owner is what the files belong to. A file of another owner is set aside. If empty, every file is accepted.
	Owner string
	// Report receives faults when they happen, with what was done about them. It must not call the journal. May be nil.
	Report func(fault Fault, err error)
	// SegmentBytes is the size of a file after which the next one is created; 0 = 4 MiB.
	SegmentBytes int64
	// Sync writes every transaction to the medium before Batch returns, except those of Lazy.
	Sync bool
	// Lazy reports the keys whose last value may be lost. Transactions that only set these keys or delete any key are not synced,
	// and while the disk refuses writes they are kept in memory. The same applies to setting a value again that was deleted in a
	// transaction of its own: a queue that starts deletes the items that it was sending and stores them as new items. The old items
	// stay on disk until one transaction has both changes. If nil, there are no such keys, and deletions must be on disk too.
	Lazy func(key string) bool
}

// Damage counts what Open could not read.
type Damage struct {
	Bytes        int64 // outside of valid transactions
	Transactions int64 // with missing sequence numbers; at least one if the last file ends in damage
	Aside        int   // renamed files without a valid transaction
	Torn         bool  // the last file ended in a transaction that was never acknowledged, which is not damage
}

// Size is the size of a journal.
type Size struct {
	Keys  int
	Live  int64 // bytes of the current values, including an overhead for each
	Files int64 // bytes of the files
}

// segment is one file.
type segment struct {
	opened
	name string
	size int64
	live int // number of current values in it
	home int // value of home.number when it was opened
}

// Journal is an open journal. Its methods may be called concurrently.
type Journal struct {
	options Options
	damage  Damage

	mu       sync.Mutex
	home     home
	segments []*segment // oldest first
	active   *segment   // the last of them; nil if the next transaction creates one
	next     uint64     // number of the next file
	seq      uint64     // of the last transaction
	named    map[string]place
	numbered map[uint64]place  // most keys of a queue are numbers, which need less memory than strings
	live     int64             // bytes of the current values, each with overhead
	pending  map[string][]byte // changes that are not on disk; a nil value is a deletion
	held     held
	lost     int64 // values that Get could not read
	closed   bool
}

// Open opens or creates a journal. Damage is not an error; see Damage.
func Open(options Options) (*Journal, error) {
	if options.SegmentBytes == 0 {
		options.SegmentBytes = 4 << 20
	}
	j := &Journal{
		options: options, next: 1, named: map[string]place{}, numbered: map[uint64]place{}, pending: map[string][]byte{},
	}
	if err := j.enter(); err != nil {
		return nil, err
	}
	if err := j.load(); err != nil {
		_ = j.Close()
		return nil, err
	}
	return j, nil
}

// Damage returns the damage that Open found.
func (j *Journal) Damage() Damage { return j.damage }

// Size returns the current size.
func (j *Journal) Size() Size {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := Size{Keys: j.keys() - len(j.held.hidden), Live: j.live}
	for _, seg := range j.segments {
		s.Files += seg.size
	}
	return s
}

// Pending returns the number of changes that are not on disk because it refuses writes.
func (j *Journal) Pending() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.pending)
}

// Lost returns the number of values that Get could not read since Open.
func (j *Journal) Lost() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lost
}

// Keys returns all keys, in no particular order.
func (j *Journal) Keys() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := slices.Collect(maps.Keys(j.named))
	for n := range j.numbered {
		out = append(out, strconv.FormatUint(n, 10))
	}
	out = slices.DeleteFunc(out, func(key string) bool {
		_, hidden := j.held.hidden[key]
		return hidden
	})
	for key, value := range j.pending {
		if _, ok := j.find(key); value != nil && !ok {
			out = append(out, key)
		}
	}
	return out
}

// Get returns a value, or nil if there is none. A damaged value is counted and removed.
func (j *Journal) Get(key string) ([]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, ErrClosed
	}
	return j.get(key), nil
}

func (j *Journal) get(key string) []byte {
	if value, ok := j.pending[key]; ok {
		return slices.Clone(value)
	}
	if _, ok := j.held.hidden[key]; ok {
		return nil
	}
	p, ok := j.find(key)
	if !ok {
		return nil
	}
	frame := make([]byte, p.size)
	if _, err := p.seg.file.ReadAt(frame, int64(p.frame)); err == nil {
		if size, _ := decodeFrame(frame); size == len(frame) {
			return frame[p.value : p.value+p.len : p.value+p.len]
		}
	}
	j.lost++
	j.forget(key)
	return nil
}

// Batch applies all changes or none.
func (j *Journal) Batch(changes ...Change) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	if len(changes) == 0 {
		return nil
	}
	lazy := j.lazy(changes)
	if lazy && !slices.ContainsFunc(changes, func(c Change) bool { return c.Value != nil }) {
		j.hold(changes)
		return nil
	}
	moves := j.replace(changes)
	err := j.write(changes, j.options.Sync && !lazy)
	if err == nil {
		j.compact()
		return nil
	}
	if !lazy && !moves || len(j.pending) >= maxPending {
		j.restore(changes)
		return err
	}
	for _, c := range changes {
		j.pending[c.Key] = slices.Clone(c.Value)
		if c.Value == nil {
			j.forget(c.Key)
		}
	}
	j.compact() // deletions may free space
	return nil
}

func (j *Journal) lazy(changes []Change) bool {
	if j.options.Lazy == nil {
		return false
	}
	return !slices.ContainsFunc(changes, func(c Change) bool { return c.Value != nil && !j.options.Lazy(c.Key) })
}

// Close writes pending changes, syncs and unlocks the journal.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	var faults []error
	j.noticeMissing()
	faults = append(faults, j.settle())
	var deleted []Change // held values that were not set again
	for key := range j.held.hidden {
		deleted = append(deleted, Change{Key: key})
	}
	if len(j.pending)+len(deleted) > 0 {
		faults = append(faults, j.write(deleted, j.options.Sync))
	}
	j.closed = true
	if j.active != nil && j.options.Sync {
		faults = append(faults, j.active.file.Sync())
	}
	for _, seg := range j.segments {
		faults = append(faults, seg.file.Close())
	}
	faults = append(faults, j.home.close())
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("close the journal %s: %w", j.options.Directory, err)
	}
	return nil
}

// files lists what has a name with the suffix, in the order of the numbers.
func (j *Journal) files(suffix string) ([]string, error) {
	entries, err := os.ReadDir(j.options.Directory)
	if err != nil {
		return nil, fmt.Errorf("list the journal %s: %w", j.options.Directory, err)
	}
	var out []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			out = append(out, filepath.Join(j.options.Directory, e.Name()))
		}
	}
	return out, nil
}
