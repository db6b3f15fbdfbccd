// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package quarantine stores events that no retry can deliver in the files of a directory, until the cause is fixed and they are
// sent again (package replay). Facts are stored in the same way, in a directory of their own.
//
// It promises: Add returns when the events are on disk. The directory never exceeds its limit: the oldest file is evicted first, and
// its events are counted. A line that a crash tore is detected. Other programs may move files away at any time: events that are being
// written then are written again to a new file. So are they when the directory was removed. What is no regular file is never opened.
//
// It refuses to wait for free space. A full or read-only disk is an immediate error of Add.
//
// A file is NDJSON. Each line has time, reason, status, event and schemaVersion. A later process never appends to it, so only the last
// line of a file can be torn.
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

	"github.com/zastava-otel/zastava/internal/fileaccess"
)

// FactsDirectory is the name of the directory of quarantined facts within the directory of events.
const FactsDirectory = "facts"

const (
	prefix        = "quarantine-"
	suffix        = ".ndjson"
	stamp         = "20060102T150405.000000000Z" // sorts in order of time
	chunkBytes    = 1 << 20                      // written and synced together, so that files are filled well
	writeAttempts = 3                            // of one write if its file is moved away
)

// Options of a Directory.
type Options struct {
	// Directory is created with mode 0700 if it does not exist. It must have one writer only.
	Directory string
	// MaxFileBytes is the maximum size of a file. A longer line is refused.
	MaxFileBytes int64
	// MaxTotalBytes is the maximum size of all files; at least twice MaxFileBytes.
	MaxTotalBytes int64
}

// Result is the result of Add.
type Result struct {
	Lost    []int // indexes of the entries that were not stored
	Evicted int   // number of older entries that were removed
}

// Directory is a bounded directory of quarantined events. Its methods may be called concurrently.
type Directory struct {
	options Options
	now     func() time.Time
	open    func(name string, flag int, perm fs.FileMode) (file, error)

	mu     sync.Mutex
	active string // the file that is appended to; empty if the next write creates one
}

// file is the part of *os.File that appending needs.
type file interface {
	Write(p []byte) (int, error)
	Stat() (fs.FileInfo, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

// New returns a Directory. It does not access the disk, so it succeeds if the disk is not ready.
func New(options Options) *Directory {
	return &Directory{
		options: options, now: time.Now,
		open: openFile,
	}
}

// openFile opens a regular file. It returns an interface without a value in case of an error.
func openFile(name string, flag int, perm fs.FileMode) (file, error) {
	f, err := fileaccess.OpenRegular(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Add writes entries to disk. If some are lost, the error has the reasons, and Result is still valid.
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
		if !broken { // do not try each chunk on a disk that has just failed
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
			err = fmt.Errorf("an event of %d bytes exceeds the maximum file size of %d bytes", len(grown)-before, d.options.MaxFileBytes)
		}
		if err != nil {
			res.Lost, faults = append(res.Lost, i), append(faults, err)
			continue
		}
		if before > 0 && int64(len(grown)) > min(d.options.MaxFileBytes, chunkBytes) {
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

// write writes complete lines of at most MaxFileBytes.
func (d *Directory) write(lines []byte) (evicted int, err error) {
	for range writeAttempts {
		n, err := d.evict(int64(len(lines)))
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
	return evicted, fmt.Errorf("write to %s: its files are moved away faster than they are written", d.options.Directory)
}

// append writes lines to the active file or to a new one, and syncs it. It returns moved if the file is no longer at its path:
// its reader may have missed the lines.
func (d *Directory) append(lines []byte) (moved bool, err error) {
	name, flag, fresh := d.active, os.O_WRONLY|os.O_APPEND, d.active == ""
	if fresh {
		if err := os.MkdirAll(d.options.Directory, 0o700); err != nil {
			return false, fmt.Errorf("create the quarantine's directory: %w", err)
		}
		var salt [4]byte
		_, _ = rand.Read(salt[:]) // never fails
		name = prefix + d.now().UTC().Format(stamp) + "-" + hex.EncodeToString(salt[:]) + suffix
		flag |= os.O_CREATE | os.O_EXCL
	}
	path := filepath.Join(d.options.Directory, name)
	f, err := d.open(path, flag, 0o600)
	if err != nil {
		if !fresh && movedAway(err) {
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
			d.active = "" // it may end in a torn line, so nothing is appended to it
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
		return true, nil //nolint:nilerr // the file is not at its path
	}
	if fresh {
		d.active = name
		syncDirectory(d.options.Directory)
	}
	return false, nil
}

// movedAway reports whether an error of opening the active file says that it is no longer at its path.
func movedAway(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fileaccess.ErrNotRegular)
}

// evict removes the oldest files until n more bytes fit. It also ends the active file if n bytes do not fit into it.
func (d *Directory) evict(n int64) (evicted int, err error) {
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
			continue // removed meanwhile
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
			return evicted, fmt.Errorf("evict the oldest file of the quarantine: %w", err)
		}
		evicted += lines
		total -= sizes[i]
	}
	return evicted, nil
}

// Files lists the files of a quarantine, oldest first, including those that a replay has claimed.
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
	f, err := fileaccess.OpenRegular(name, os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines, buffer := 0, make([]byte, 64<<10)
	for {
		n, err := f.Read(buffer)
		lines += bytes.Count(buffer[:n], []byte{'\n'})
		if err != nil {
			return lines, nil // unreadable lines are not counted
		}
	}
}

// syncDirectory makes the name of a new file durable, if the system supports that.
func syncDirectory(name string) {
	if f, err := os.Open(name); err == nil {
		_ = f.Sync()
		_ = f.Close()
	}
}
