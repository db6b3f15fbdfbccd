// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/zastava-otel/zastava/internal/fileaccess"
)

// write writes changes and the pending ones as one transaction.
func (j *Journal) write(changes []Change, sync bool) error {
	if len(j.pending)+len(j.held.replaced) > 0 {
		all := make([]Change, 0, len(j.held.replaced)+len(j.pending)+len(changes))
		for _, key := range j.held.replaced { // first, because a key may have been set again since
			all = append(all, Change{Key: key})
		}
		for key, value := range j.pending {
			all = append(all, Change{Key: key, Value: value})
		}
		changes = append(all, changes...)
	}
	if sets := sets(changes); sets > 0 && j.keys()+sets > maxKeys {
		return fmt.Errorf("write to the journal %s: it has %d keys, and at most %d are possible: set a smaller sending_queue::queue_size",
			j.options.Directory, j.keys(), maxKeys)
	}
	err := j.settle()
	if err == nil {
		err = j.writeFrame(changes, sync)
	}
	if errors.Is(err, errMissing) {
		if err = j.settle(); err == nil {
			err = j.writeFrame(changes, sync)
		}
	}
	if err != nil {
		return err
	}
	clear(j.pending)
	for _, key := range j.held.replaced {
		delete(j.held.hidden, key)
	}
	clear(j.held.replaced)
	j.rememberLazy(changes)
	if j.active != nil && j.active.missing() != nil {
		j.noticeMissing()
		_ = j.settle() // what was written can be read as long as the file is open; the next call tries again
	}
	return nil
}

// sets returns the number of changes that set a value.
func sets(changes []Change) (n int) {
	for _, c := range changes {
		if c.Value != nil {
			n++
		}
	}
	return n
}

// writeFrame appends a frame to the active file.
func (j *Journal) writeFrame(changes []Change, sync bool) error {
	frame, values := appendFrame(nil, j.seq+1, changes)
	if len(frame) > maxFrameSize {
		return fmt.Errorf("a transaction of %d bytes exceeds the maximum of %d bytes", len(frame), maxFrameSize)
	}
	if j.active == nil || j.active.size >= j.options.SegmentBytes || j.active.size+int64(len(frame)) > math.MaxUint32 {
		if err := j.beginFile(); err != nil {
			return err
		}
	}
	seg, at := j.active, j.active.size
	if at == 0 { // in one write, so that a crash leaves no file that contains only a header
		header := j.header()
		at = int64(len(header))
		frame = append(header, frame...)
	}
	_, err := seg.file.WriteAt(frame, seg.size)
	if err == nil && sync {
		if err = seg.file.Sync(); err != nil {
			j.active = nil // after a failed sync the content of the file is unknown, so nothing is appended to it
		}
	}
	if err != nil {
		if seg.file.Truncate(seg.size) != nil {
			j.active = nil
		}
		return fmt.Errorf("write %d bytes to the journal %s: %w", len(frame), j.options.Directory, err)
	}
	seg.size += int64(len(frame))
	size := seg.size - at
	j.seq++
	for i, c := range changes {
		if c.Value == nil {
			j.forget(c.Key)
			continue
		}
		j.put(c.Key, place{seg: seg, frame: uint32(at), size: uint32(size), value: uint32(values[i]), len: uint32(len(c.Value))})
	}
	return nil
}

// beginFile creates the next file.
func (j *Journal) beginFile() error {
	if j.noticeMissing() && !j.home.rebuilding {
		return errMissing
	}
	file, name, err := j.create()
	if err != nil {
		return fmt.Errorf("create a file of the journal: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return fmt.Errorf("create a file of the journal: %w", err)
	}
	if j.active != nil && j.options.Sync { // its unsynced changes must be on the medium before those of the next file
		_ = j.active.file.Sync()
	}
	j.active = &segment{opened: opened{file, info}, name: name, home: j.home.number}
	j.segments = append(j.segments, j.active)
	syncDirectory(j.options.Directory)
	return nil
}

// create creates a file with the next number. What has its name already is set aside; if that is not possible, the number after it is
// used.
func (j *Journal) create() (file *os.File, name string, err error) {
	for range maxNames {
		name = filepath.Join(j.options.Directory, fmt.Sprintf("%0*d%s", numberDigits, j.next, suffix))
		file, err = fileaccess.OpenRegular(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		var renamed bool
		switch {
		case err == nil:
			j.next++
			return file, name, nil
		case errors.Is(err, fileaccess.ErrNotRegular):
			renamed = j.setAside(name, FaultOdd, err)
		case errors.Is(err, fs.ErrExist):
			renamed = j.setAside(name, FaultForeign, errors.New("this journal did not write it"))
		default:
			return nil, "", err
		}
		if !renamed {
			j.next++
		}
	}
	return nil, "", err
}

// compact removes the oldest files without current values. It removes the oldest only, because a later file may contain the deletion
// of a value in an earlier one. It rewrites the oldest file if the files are too large for their current values.
func (j *Journal) compact() {
	for range len(j.segments) + 1 {
		for len(j.segments) > 0 && j.segments[0].live == 0 && j.segments[0] != j.active {
			seg := j.segments[0]
			j.segments = j.segments[1:]
			seg.remove()
		}
		var total int64
		for _, seg := range j.segments {
			total += seg.size
		}
		if total <= 2*j.live+4*j.options.SegmentBytes || j.segments[0] == j.active || j.rewrite(j.segments[0]) != nil {
			return
		}
	}
}

// rewrite copies the current values of seg to the active file, after which seg has none.
func (j *Journal) rewrite(seg *segment) error {
	var changes []Change
	size := 0
	flush := func() error {
		if len(changes) == 0 {
			return nil
		}
		err := j.writeFrame(changes, j.options.Sync)
		changes, size = nil, 0
		return err
	}
	s := newScanner(seg.file, seg.size)
	for at := int64(0); at < s.size && seg.live > 0; {
		frame := s.frame(at)
		if frame == nil {
			at = s.next(at + 1)
			continue
		}
		eachChange(frame, func(c Change, value int) {
			if c.Value != nil && j.isCurrent(c.Key, seg, int(at), value) {
				c.Value = slices.Clone(c.Value) // the frame is valid until the next one
				changes = append(changes, c)
				size += len(c.Value)
			}
		})
		at += int64(len(frame))
		if size >= rewriteSize {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if seg.live > 0 { // damaged since it was loaded
		if changes = j.lazyValues(j.keysIn(seg)); len(changes) > 0 {
			if err := flush(); err != nil {
				return err
			}
		}
		for _, key := range j.keysIn(seg) {
			j.lost++
			j.forget(key)
		}
	}
	return nil
}

// isCurrent reports whether the value of key is at this offset of seg.
func (j *Journal) isCurrent(key string, seg *segment, frame, value int) bool {
	p, ok := j.find(key)
	return ok && p.seg == seg && p.frame == uint32(frame) && p.value == uint32(value)
}

func (j *Journal) keysIn(seg *segment) []string {
	var out []string
	for key, p := range j.named {
		if p.seg == seg {
			out = append(out, key)
		}
	}
	for n, p := range j.numbered {
		if p.seg == seg {
			out = append(out, strconv.FormatUint(n, 10))
		}
	}
	return out
}

// syncDirectory makes the name of a new file durable, if the system supports that.
func syncDirectory(name string) {
	if f, err := os.Open(name); err == nil {
		_ = f.Sync()
		_ = f.Close()
	}
}
