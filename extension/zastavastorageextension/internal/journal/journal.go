// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package journal is a key-value store made for queues on disk: transactions go one after the other into files of a
// directory, each with a checksum and a number.
//
// What it promises: Batch returns when the change is on disk (see Options). It opens whatever is in its files: what is damaged
// is left out and counted, and costs no more than the transactions that were hit; a transaction that a crash tore was never
// acknowledged. Files without a good transaction are set aside. No content of a file can make it panic, and none is mapped
// into memory, so that a file that is cut while it is in use is an error and not a fault of the process.
// While the disk takes nothing, it goes on with what a queue can do without (see Options.Lazy), and catches up later.
//
// What it refuses: to wait. A disk that is full or read-only is an error of Batch, at once. A directory that another process
// has is ErrLocked.
//
// Space: files whose values were all deleted go; beyond twice what is alive and four files, the oldest is written anew. Memory:
// some 50 bytes for each key, and one transaction.
package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	suffix      = ".journal"
	asideSuffix = ".damaged"
	lockName    = "lock"

	maxAside    = 4       // files set aside that are kept; they hold nothing that can be read
	maxPending  = 1 << 20 // changes kept in memory while the disk takes none
	rewriteSize = 1 << 20 // bytes of a transaction that writes a file anew
	overhead    = 128     // more than a value's transaction, key and lengths take, so that writing files anew comes to an end
)

// Errors that callers tell apart.
var (
	ErrLocked = errors.New("another process has it")
	ErrClosed = errors.New("the journal is closed")
)

// Options say where a journal is and how much it may lose.
type Options struct {
	// Directory is made with mode 0700 when it is not there.
	Directory string
	// SegmentBytes is when the next file is begun. 0: 4 MiB.
	SegmentBytes int64
	// Sync has every transaction on the medium before Batch returns, but those of Lazy.
	Sync bool
	// Lazy names the keys whose last value may be lost: deleting any key and setting one of these need not be on the medium,
	// and while the disk takes nothing they happen in memory; so does setting what was
	// deleted by itself since the start: a queue takes what it was sending out and puts it back in as new items. What is on disk
	// then still has the old items, and one transaction has both when the disk takes it. Nil: there are none, and deleting must be on disk as well.
	Lazy func(key string) bool
}

// Damage is what was found unreadable.
type Damage struct {
	Bytes        int64 // that belong to no good transaction
	Transactions int64 // whose numbers are missing; at least one where the last file ends in damage
	Aside        int   // files without a good transaction, renamed
	Torn         bool  // the last file ended in a transaction that was never acknowledged: no damage
}

// Size is what a journal holds.
type Size struct {
	Keys  int
	Live  int64 // bytes of the values, with what each takes besides
	Files int64 // bytes of the files
}

// segment is one file.
type segment struct {
	name string
	file *os.File
	size int64
	live int // values in it that are current
}

// place is where a value is.
type place struct {
	seg   *segment
	frame uint32 // its frame begins here; frames of a file that large have a file of their own
	size  uint32 // of the frame
	value uint32 // begins here in the frame
	len   uint32
}

// Journal is an open journal. Its methods may be called concurrently.
type Journal struct {
	options Options
	damage  Damage

	mu       sync.Mutex
	lock     *os.File
	segments []*segment // oldest first
	active   *segment   // the last of them, or nil: the next transaction begins one
	next     uint64     // number of the next file
	seq      uint64     // of the last transaction
	named    map[string]place
	numbered map[uint64]place  // keys that are numbers: most of a queue's, and small this way
	live     int64             // bytes of the current values, each with overhead
	pending  map[string][]byte // changes that are not on disk; nil: deleted
	held     held
	lost     int64 // values that could not be read when they were asked for
	closed   bool
}

// Open opens or makes a journal. What is damaged in it is no error.
func Open(options Options) (*Journal, error) {
	if options.SegmentBytes == 0 {
		options.SegmentBytes = 4 << 20
	}
	j := &Journal{
		options: options, next: 1, named: map[string]place{}, numbered: map[uint64]place{}, pending: map[string][]byte{},
	}
	if err := os.MkdirAll(options.Directory, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of a journal: %w", err)
	}
	lock, err := lockFile(filepath.Join(options.Directory, lockName))
	if err != nil {
		return nil, fmt.Errorf("lock the journal %s: %w", options.Directory, err)
	}
	j.lock = lock
	if err := j.load(); err != nil {
		_ = j.Close()
		return nil, err
	}
	return j, nil
}

// Damage is what Open found.
func (j *Journal) Damage() Damage { return j.damage }

// Size tells how large the journal is now.
func (j *Journal) Size() Size {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := Size{Keys: len(j.named) + len(j.numbered) - len(j.held.hidden), Live: j.live}
	for _, seg := range j.segments {
		s.Files += seg.size
	}
	return s
}

// Pending is how many changes are not on disk, because it takes none.
func (j *Journal) Pending() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.pending)
}

// Lost is how many values could not be read when they were asked for, since Open.
func (j *Journal) Lost() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lost
}

// Keys gives every key, in no order.
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

// Get gives a value, nil if there is none. One that is damaged is counted and is none any more.
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

// Batch makes changes, all or none.
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
		j.tidy()
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
	j.tidy() // deleting may make room
	return nil
}

func (j *Journal) lazy(changes []Change) bool {
	if j.options.Lazy == nil {
		return false
	}
	return !slices.ContainsFunc(changes, func(c Change) bool { return c.Value != nil && !j.options.Lazy(c.Key) })
}

// Close syncs what is not on the medium yet and lets others have the journal.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	var faults []error
	var deleted []Change // what was held and not set again
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
	faults = append(faults, j.lock.Close())
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("close the journal %s: %w", j.options.Directory, err)
	}
	return nil
}

func number(key string) (uint64, bool) {
	n, err := strconv.ParseUint(key, 10, 64)
	return n, err == nil && (key[0] != '0' || len(key) == 1) && key[0] != '+'
}

func (j *Journal) find(key string) (place, bool) {
	if n, ok := number(key); ok {
		p, ok := j.numbered[n]
		return p, ok
	}
	p, ok := j.named[key]
	return p, ok
}

func (j *Journal) put(key string, p place) {
	j.forget(key)
	p.seg.live++
	j.live += int64(p.len) + overhead
	if n, ok := number(key); ok {
		j.numbered[n] = p
	} else {
		j.named[key] = p
	}
}

func (j *Journal) forget(key string) {
	p, ok := j.find(key)
	if !ok {
		return
	}
	p.seg.live--
	j.live -= int64(p.len) + overhead
	if n, ok := number(key); ok {
		delete(j.numbered, n)
	} else {
		delete(j.named, key)
	}
}

// files lists what has the suffix, in the order of the numbers.
func (j *Journal) files(suffix string) ([]string, error) {
	entries, err := os.ReadDir(j.options.Directory)
	if err != nil {
		return nil, fmt.Errorf("list the journal %s: %w", j.options.Directory, err)
	}
	var out []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) && e.Type()&fs.ModeType == 0 {
			out = append(out, filepath.Join(j.options.Directory, e.Name()))
		}
	}
	return out, nil
}
