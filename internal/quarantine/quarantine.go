// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package quarantine keeps events that no retry can deliver, in files of a directory, until someone has mended the cause
// and sends them again (package replay).
//
// What it promises: Add returns when the events are on disk. The directory never holds more than it may: the oldest file
// goes first, and its events are counted. Lines that a crash tore are told apart. Any program may move files away at any
// time: what is being written then is written again, into a new file.
//
// What it refuses: to wait for room. A disk that is full or read-only is an error of Add, at once.
//
// Facts are kept as events are, in a directory of their own: what is said of events here holds for them.
//
// A file is NDJSON: in each line time, reason, status, event and schemaVersion. It is never appended to by a later process,
// so a torn line is a file's last.
package quarantine

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// FactsDirectory is the name of the directory of quarantined facts, within that of events.
const FactsDirectory = "facts"

const (
	prefix  = "quarantine-"
	suffix  = ".ndjson"
	stamp   = "20060102T150405.000000000Z" // sorts as time does
	atOnce  = 1 << 20                      // bytes written and synced together, so that files fill up well
	atMoved = 3                            // times that a file may be moved away beneath one write
)

// Options say where events are kept and how many.
type Options struct {
	// Directory is made with mode 0700 when it is not there. It must have no second writer.
	Directory string
	// MaxFileBytes is when the next file is begun. A line longer than that is refused.
	MaxFileBytes int64
	// MaxTotalBytes is the most that all files may have together; at least twice MaxFileBytes.
	MaxTotalBytes int64
}

// Result is what became of the entries given to Add.
type Result struct {
	Lost    []int // indexes of the entries that are not on disk
	Evicted int   // older entries that had to go
}

// Directory is a bounded directory of quarantined events. Its methods may be called concurrently.
type Directory struct {
	options Options
	now     func() time.Time
	open    func(name string, flag int, perm fs.FileMode) (file, error)

	mu     sync.Mutex
	active string // the file that is appended to; empty = begin a new one
}

// file is what of *os.File is needed to append.
type file interface {
	Write(p []byte) (int, error)
	Stat() (fs.FileInfo, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

// New makes a Directory. It touches no disk, so that a disk that is not ready stops nobody.
func New(options Options) *Directory {
	return &Directory{
		options: options, now: time.Now,
		open: func(name string, flag int, perm fs.FileMode) (file, error) { return os.OpenFile(name, flag, perm) },
	}
}

// Add puts entries on disk. The error says why some are lost; Result is good with it.
func (d *Directory) Add(entries []Entry) (Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var (
		res    Result
		faults []error
		chunk  []byte
		in     []int // the entries in chunk
		broken bool
	)
	flush := func() {
		if len(in) == 0 {
			return
		}
		if !broken { // a disk that has just failed is not asked again for each chunk
			evicted, err := d.write(chunk)
			res.Evicted += evicted
			if err != nil {
				broken, faults = true, append(faults, err)
			}
		}
		if broken {
			res.Lost = append(res.Lost, in...)
		}
		chunk, in = chunk[:0], in[:0]
	}
	for i := range entries {
		before := len(chunk)
		grown, err := entries[i].appendLine(chunk)
		if err == nil && int64(len(grown)-before) > min(d.options.MaxFileBytes, MaxLineBytes) {
			err = fmt.Errorf("an event of %d bytes is larger than a file may be (%d)", len(grown)-before, d.options.MaxFileBytes)
		}
		if err != nil {
			res.Lost, faults = append(res.Lost, i), append(faults, err)
			continue
		}
		if before > 0 && int64(len(grown)) > min(d.options.MaxFileBytes, atOnce) {
			line := slices.Clone(grown[before:])
			flush()
			chunk = append(chunk, line...)
			grown = chunk
		}
		chunk, in = grown, append(in, i)
	}
	flush()
	slices.Sort(res.Lost)
	return res, errors.Join(faults...)
}

// write puts whole lines, no more than a file may have, on disk.
func (d *Directory) write(lines []byte) (evicted int, err error) {
	for range atMoved {
		n, err := d.makeRoom(int64(len(lines)))
		evicted += n
		if err != nil {
			return evicted, err
		}
		moved, err := d.append(lines)
		if err != nil || !moved {
			return evicted, err
		}
		d.active = ""
	}
	return evicted, fmt.Errorf("write into %s: its files are moved away faster than they are written", d.options.Directory)
}

// append writes lines to the active file, or to a new one, and syncs it. moved: the file is no longer where it was, and
// who took it may not have seen the lines.
func (d *Directory) append(lines []byte) (moved bool, err error) {
	name, flag, fresh := d.active, os.O_WRONLY|os.O_APPEND, d.active == ""
	if fresh {
		if err := os.MkdirAll(d.options.Directory, 0o700); err != nil {
			return false, fmt.Errorf("make the quarantine's directory: %w", err)
		}
		var salt [4]byte
		_, _ = rand.Read(salt[:]) // never fails
		name = prefix + d.now().UTC().Format(stamp) + "-" + hex.EncodeToString(salt[:]) + suffix
		flag |= os.O_CREATE | os.O_EXCL
	}
	path := filepath.Join(d.options.Directory, name)
	f, err := d.open(path, flag, 0o600)
	if err != nil {
		if !fresh && errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		return false, fmt.Errorf("open a file of the quarantine: %w", err)
	}
	before, err := f.Stat()
	if err == nil {
		if _, err = f.Write(lines); err == nil {
			err = f.Sync()
		}
		if err != nil && f.Truncate(before.Size()) != nil {
			d.active = "" // what is in it may be torn: nothing is to come after that
		}
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		if fresh {
			_ = os.Remove(path)
		}
		return false, fmt.Errorf("write %d bytes to the quarantine: %w", len(lines), err)
	}
	if now, err := os.Stat(path); err != nil || !os.SameFile(before, now) {
		return true, nil //nolint:nilerr // wherever it is: not here
	}
	if fresh {
		d.active = name
		syncDirectory(d.options.Directory)
	}
	return false, nil
}

// makeRoom begins a new file when n bytes are too many for the active one, and removes the oldest files until n more fit.
func (d *Directory) makeRoom(n int64) (evicted int, err error) {
	names, err := Files(d.options.Directory)
	if errors.Is(err, fs.ErrNotExist) {
		d.active = ""
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	sizes, total := make([]int64, len(names)), int64(0)
	for i, name := range names {
		info, err := os.Lstat(name)
		if err != nil {
			continue // gone meanwhile
		}
		sizes[i] = info.Size()
		total += sizes[i]
		if filepath.Base(name) == d.active && sizes[i]+n > d.options.MaxFileBytes {
			d.active = ""
		}
	}
	for i, name := range names {
		if total+n <= d.options.MaxTotalBytes {
			break
		}
		if filepath.Base(name) == d.active {
			continue
		}
		lines, err := countLines(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return evicted, fmt.Errorf("remove the oldest file of the quarantine to make room: %w", err)
		}
		evicted += lines
		total -= sizes[i]
	}
	return evicted, nil
}

// Files lists the files of a quarantine, oldest first; those that a replay has claimed are among them.
func Files(directory string) ([]string, error) {
	entries, err := os.ReadDir(directory) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("list the quarantine: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && strings.Contains(e.Name(), suffix) && e.Type().IsRegular() {
			names = append(names, filepath.Join(directory, e.Name()))
		}
	}
	return names, nil
}

func countLines(name string) (int, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines, buffer := 0, make([]byte, 64<<10)
	for {
		n, err := f.Read(buffer)
		lines += bytes.Count(buffer[:n], []byte{'\n'})
		if err != nil {
			return lines, nil // what cannot be read cannot be counted
		}
	}
}

// syncDirectory makes a new file's name durable, where the system can do that.
func syncDirectory(name string) {
	if f, err := os.Open(name); err == nil {
		_ = f.Sync()
		_ = f.Close()
	}
}
