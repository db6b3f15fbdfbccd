// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// load reads all files, oldest first.
func (j *Journal) load() error {
	names, err := j.files(suffix)
	if err != nil {
		return err
	}
	for i, name := range names {
		n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), suffix), 10, 64)
		if err != nil {
			continue // not a file of the journal
		}
		j.next = max(j.next, n+1)
		if err := j.loadFile(name, i == len(names)-1); err != nil {
			return err
		}
	}
	j.dropAside()
	j.compact()
	return nil
}

// loadFile applies the valid transactions of a file. Nothing is appended to the file later, because its end may be torn.
func (j *Journal) loadFile(name string, last bool) error {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		file, err = os.Open(name) // on a read-only disk
	}
	if err != nil {
		return fmt.Errorf("open a file of the journal: %w", err)
	}
	raw, err := os.ReadFile(name)
	if err != nil && len(raw) == 0 { // a read error in the middle returns the bytes before it
		_ = file.Close()
		return j.setAside(name)
	}
	seg := &segment{name: name, file: file, size: int64(len(raw))}
	if j.applyFrames(seg, raw, last) > 0 {
		j.segments = append(j.segments, seg)
		return nil
	}
	_ = file.Close()
	if len(raw) > 0 && !(last && torn(raw)) {
		return j.setAside(name)
	}
	if last {
		j.damage.Torn = true
	} else {
		j.damage.Transactions++ // only the last file can be empty because it was created and not written yet
	}
	return os.Remove(name)
}

// applyFrames applies the valid frames of a file, counts the damage between them and returns the number of valid frames.
func (j *Journal) applyFrames(seg *segment, raw []byte, last bool) (valid int) {
	for at := 0; at < len(raw); {
		size, seq := decodeFrame(raw[at:])
		if size > 0 {
			j.applyFrame(seg, raw[at:at+size], seq, at)
			valid++
			at += size
			continue
		}
		rest := raw[at:]
		skip := nextFrame(rest)
		switch {
		case skip < len(rest) || !last: // the sequence number of the next frame shows how many transactions are missing
			j.damage.Bytes += int64(skip)
		case torn(rest):
			j.damage.Torn = true
		default:
			j.damage.Bytes += int64(skip)
			j.damage.Transactions++
		}
		at += skip
	}
	return valid
}

func (j *Journal) applyFrame(seg *segment, frame []byte, seq uint64, at int) {
	if seq <= j.seq {
		return // a copy of an earlier frame
	}
	if j.seq > 0 {
		j.damage.Transactions += int64(seq - j.seq - 1)
	}
	j.seq = seq
	valid := eachChange(frame, func(c Change, value int) {
		if c.Value == nil {
			j.forget(c.Key)
			return
		}
		j.put(c.Key, place{seg: seg, frame: uint32(at), size: uint32(len(frame)), value: uint32(value), len: uint32(len(c.Value))})
	})
	if !valid {
		j.damage.Transactions++
	}
}

// setAside renames a file without a valid frame.
func (j *Journal) setAside(name string) error {
	if err := os.Rename(name, name+asideSuffix); err != nil {
		return fmt.Errorf("set a damaged file of the journal aside: %w", err)
	}
	j.damage.Aside++
	return nil
}

// dropAside removes the oldest renamed files. They are only kept to find out what happened.
func (j *Journal) dropAside() {
	names, err := j.files(asideSuffix)
	if err != nil {
		return
	}
	for len(names) > maxAside {
		_ = os.Remove(names[0])
		names = names[1:]
	}
}
