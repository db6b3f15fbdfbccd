// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
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
	if err := j.writeFrame(changes, sync); err != nil {
		return err
	}
	clear(j.pending)
	for _, key := range j.held.replaced {
		delete(j.held.hidden, key)
	}
	clear(j.held.replaced)
	return nil
}

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
	seg := j.active
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
	at := seg.size
	seg.size += int64(len(frame))
	j.seq++
	for i, c := range changes {
		if c.Value == nil {
			j.forget(c.Key)
			continue
		}
		j.put(c.Key, place{seg: seg, frame: uint32(at), size: uint32(len(frame)), value: uint32(values[i]), len: uint32(len(c.Value))})
	}
	return nil
}

// beginFile creates the next file.
func (j *Journal) beginFile() error {
	name := filepath.Join(j.options.Directory, fmt.Sprintf("%016d%s", j.next, suffix))
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("create a file of the journal: %w", err)
	}
	if j.active != nil && j.options.Sync { // its unsynced changes must be on the medium before those of the next file
		_ = j.active.file.Sync()
	}
	j.next++
	j.active = &segment{name: name, file: file}
	j.segments = append(j.segments, j.active)
	syncDirectory(j.options.Directory)
	return nil
}

// compact removes the oldest files without current values. It removes the oldest only, because a later file may contain the deletion
// of a value in an earlier one. It rewrites the oldest file if the files are too large for their current values.
func (j *Journal) compact() {
	for range len(j.segments) + 1 {
		for len(j.segments) > 0 && j.segments[0].live == 0 && j.segments[0] != j.active {
			seg := j.segments[0]
			j.segments = j.segments[1:]
			_ = seg.file.Close()
			_ = os.Remove(seg.name)
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
	raw, err := io.ReadAll(io.NewSectionReader(seg.file, 0, seg.size))
	if err != nil {
		return fmt.Errorf("read a file of the journal: %w", err)
	}
	var changes []Change
	size := 0
	for at := 0; at < len(raw); {
		n, _ := decodeFrame(raw[at:])
		if n == 0 {
			at += nextFrame(raw[at:])
			continue
		}
		eachChange(raw[at:at+n], func(c Change, value int) {
			if c.Value != nil && j.isCurrent(c.Key, seg, at, value) {
				changes = append(changes, c)
				size += len(c.Value)
			}
		})
		at += n
		if size >= rewriteSize {
			if err := j.writeFrame(changes, j.options.Sync); err != nil {
				return err
			}
			changes, size = nil, 0
		}
	}
	if len(changes) > 0 {
		if err := j.writeFrame(changes, j.options.Sync); err != nil {
			return err
		}
	}
	if seg.live > 0 { // damaged since it was loaded
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
