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

// write puts changes, and those that are pending, into one transaction on disk.
func (j *Journal) write(changes []Change, sync bool) error {
	if len(j.pending)+len(j.held.replaced) > 0 {
		all := make([]Change, 0, len(j.held.replaced)+len(j.pending)+len(changes))
		for _, key := range j.held.replaced { // first: a key may have been set again since
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
		return fmt.Errorf("a transaction of %d bytes is too large for the journal: %d at most", len(frame), maxFrameSize)
	}
	if j.active == nil || j.active.size >= j.options.SegmentBytes || j.active.size+int64(len(frame)) > math.MaxUint32 {
		if err := j.begin(); err != nil {
			return err
		}
	}
	seg := j.active
	_, err := seg.file.WriteAt(frame, seg.size)
	if err == nil && sync {
		if err = seg.file.Sync(); err != nil {
			j.active = nil // what a failed sync leaves on the medium is not known: nothing may come after it
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

// begin makes the next file.
func (j *Journal) begin() error {
	name := filepath.Join(j.options.Directory, fmt.Sprintf("%016d%s", j.next, suffix))
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("begin a file of the journal: %w", err)
	}
	if j.active != nil && j.options.Sync { // what was lazy in it comes before what is not in the next
		_ = j.active.file.Sync()
	}
	j.next++
	j.active = &segment{name: name, file: file}
	j.segments = append(j.segments, j.active)
	syncDirectory(j.options.Directory)
	return nil
}

// tidy removes the oldest files that hold nothing current. Only the oldest: a later file may say that what is in an earlier one
// was deleted. It writes the oldest anew when the files are too large for what is in them.
func (j *Journal) tidy() {
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

// rewrite writes what is current in seg anew, after which nothing in it is.
func (j *Journal) rewrite(seg *segment) error {
	raw, err := io.ReadAll(io.NewSectionReader(seg.file, 0, seg.size))
	if err != nil {
		return fmt.Errorf("read a file of the journal: %w", err)
	}
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
	for at := 0; at < len(raw); {
		n, _ := decodeFrame(raw[at:])
		if n == 0 {
			at += nextFrame(raw[at:])
			continue
		}
		eachChange(raw[at:at+n], func(c Change, value int) {
			p, ok := j.find(c.Key)
			if c.Value != nil && ok && p.seg == seg && p.frame == uint32(at) && p.value == uint32(value) {
				changes = append(changes, c)
				size += len(c.Value)
			}
		})
		at += n
		if size >= rewriteSize || at >= len(raw) {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if seg.live > 0 { // damaged since it was loaded
		for _, key := range j.keysIn(seg) {
			j.lost++
			j.forget(key)
		}
	}
	return nil
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

// syncDirectory makes a new file's name durable, where the system can do that.
func syncDirectory(name string) {
	if f, err := os.Open(name); err == nil {
		_ = f.Sync()
		_ = f.Close()
	}
}
