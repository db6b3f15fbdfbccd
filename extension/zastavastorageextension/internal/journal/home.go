// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/zastava-otel/zastava/internal/fileaccess"
)

// errMissing is the error of a write that finds files missing before it changed anything.
var errMissing = errors.New("files of the journal are missing")

// home is the directory of the journal and the lock in it.
type home struct {
	dir, lock  opened
	number     int   // how often files were missing. What is in segments of an earlier number is written again
	missing    error // what is missing and was not written again yet; nil if everything is in its place
	rebuilding bool  // writing again has begun
}

// opened is an open file or directory, and what identified it when it was opened.
type opened struct {
	file *os.File
	info fs.FileInfo
}

// is reports whether now, which was found at the path, is the same file. Some file systems change the numbers of a file that is open.
func (o opened) is(now fs.FileInfo) bool {
	if os.SameFile(now, o.info) {
		return true
	}
	info, err := o.file.Stat()
	return err == nil && os.SameFile(now, info)
}

// close closes the directory and unlocks it.
func (h *home) close() error {
	if h.lock.file == nil {
		return nil
	}
	_ = h.dir.file.Close()
	return h.lock.file.Close()
}

// enter creates and locks the directory.
func (j *Journal) enter() error {
	dir := j.options.Directory
	if err := j.makeDirectory(dir); err != nil {
		return fmt.Errorf("create the directory of a journal: %w", err)
	}
	if err := fileaccess.CheckDirectory("the directory of a journal", dir); err != nil {
		return err
	}
	name := filepath.Join(dir, lockName)
	lock, err := lockFile(name)
	if errors.Is(err, fileaccess.ErrNotRegular) && j.setAside(name, FaultOdd, err) {
		lock, err = lockFile(name)
	}
	if err != nil {
		return fmt.Errorf("lock the journal %s: %w", dir, err)
	}
	file, err := os.Open(dir)
	if err != nil {
		_ = lock.Close()
		return fmt.Errorf("open the directory of a journal: %w", err)
	}
	info, err := file.Stat()
	lockInfo, lockErr := lock.Stat()
	if err := errors.Join(err, lockErr); err != nil {
		return errors.Join(fmt.Errorf("open the directory of a journal: %w", err), file.Close(), lock.Close())
	}
	_ = j.home.close()
	j.home.dir, j.home.lock = opened{file, info}, opened{lock, lockInfo}
	return nil
}

// makeDirectory creates the directory. What has its name and is no directory is set aside. A link to a directory is accepted.
func (j *Journal) makeDirectory(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && info.IsDir() {
		return nil
	}
	if info, err := os.Lstat(dir); err == nil {
		j.setAside(dir, FaultOdd, fmt.Errorf("it is of type %s and not a directory", info.Mode().Type()))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	syncDirectory(filepath.Dir(dir))
	return nil
}

// Check notices that files were removed, replaced or truncated, and writes all values again. It costs a few system calls if nothing was.
// It returns an error if values could not be written again; the next call, or Batch, tries again.
func (j *Journal) Check() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.noticeMissing()
	return j.settle()
}

// noticeMissing looks for files that are not in their place and reports the first. It returns whether something is missing.
func (j *Journal) noticeMissing() bool {
	if j.home.missing == nil {
		if j.home.missing = j.firstMissing(); j.home.missing != nil {
			j.report(FaultRemoved, j.home.missing)
		}
	}
	return j.home.missing != nil
}

func (j *Journal) firstMissing() error {
	if !j.atHome() {
		return fmt.Errorf("%s was removed or replaced while in use", j.options.Directory)
	}
	for _, seg := range j.segments {
		if err := seg.missing(); err != nil {
			return err
		}
	}
	return nil
}

// atHome reports whether the directory and the lock are where they were. An error that proves nothing is ignored.
func (j *Journal) atHome() bool {
	dir, err := os.Stat(j.options.Directory)
	if absent(err) || (err == nil && !j.home.dir.is(dir)) {
		return false
	}
	lock, err := os.Lstat(filepath.Join(j.options.Directory, lockName))
	return !absent(err) && (err != nil || j.home.lock.is(lock))
}

// missing returns an error if the file is not in its place, or shorter than what was written to it.
func (seg *segment) missing() error {
	info, err := os.Lstat(seg.name)
	switch {
	case absent(err):
		return fmt.Errorf("%s was removed while in use", seg.name)
	case err != nil:
		return nil //nolint:nilerr // reading or writing it reports this, if it matters
	case !seg.is(info):
		return fmt.Errorf("%s was replaced while in use", seg.name)
	case info.Size() < seg.size:
		return fmt.Errorf("%s was truncated while in use, from %d to %d bytes", seg.name, seg.size, info.Size())
	}
	return nil
}

// remove closes the file and removes it if it is in its place.
func (seg *segment) remove() {
	info, err := os.Lstat(seg.name)
	same := err == nil && seg.is(info)
	_ = seg.file.Close() // Windows cannot remove an open file
	if same {
		_ = os.Remove(seg.name)
	}
}

func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) }

// settle writes all values to new files if files are missing.
func (j *Journal) settle() error {
	if j.home.missing == nil {
		return nil
	}
	if err := j.rebuild(); err != nil {
		return fmt.Errorf("write values again because %w: %w", j.home.missing, err)
	}
	j.home.missing, j.home.rebuilding = nil, false
	return nil
}

// rebuild copies all values to new files, in a new directory if there is none, and then removes the old files: a gap of one file would
// hide deletions, and the next Open would count its transactions as damage. After an error it continues where it ended.
func (j *Journal) rebuild() error {
	if !j.atHome() {
		if err := j.enter(); err != nil {
			return err
		}
	}
	if again := slices.ContainsFunc(j.segments, func(seg *segment) bool { return seg.home == j.home.number && seg.missing() != nil }); again || !j.home.rebuilding {
		j.home.number++
		j.home.rebuilding = true
		j.active = nil
	}
	if err := j.expel(); err != nil {
		return err
	}
	old := slices.DeleteFunc(slices.Clone(j.segments), func(seg *segment) bool { return seg.home == j.home.number })
	for _, seg := range old {
		if err := j.rewrite(seg); err != nil {
			return err
		}
	}
	if j.active != nil && j.options.Sync {
		if err := j.active.file.Sync(); err != nil {
			return err
		}
	}
	j.segments = slices.DeleteFunc(j.segments, func(seg *segment) bool { return seg.home != j.home.number })
	for _, seg := range old {
		seg.remove()
	}
	return nil
}

// expel sets aside the files in the directory that have names of a journal and that this one did not open: their sequence numbers
// have nothing to do with ours.
func (j *Journal) expel() error {
	names, err := j.files(suffix)
	if err != nil {
		return err
	}
	for _, name := range names {
		n, ok := numberOf(name)
		if !ok {
			continue
		}
		info, err := os.Lstat(name)
		if err != nil || slices.ContainsFunc(j.segments, func(seg *segment) bool { return seg.is(info) }) {
			continue
		}
		fault := FaultForeign
		if !info.Mode().IsRegular() {
			fault = FaultOdd
		}
		if !j.setAside(name, fault, errors.New("this journal did not write it")) && n <= maxNumber {
			j.next = max(j.next, n+1)
		}
	}
	return nil
}
