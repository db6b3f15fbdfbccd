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

// load reads every file, oldest first.
func (j *Journal) load() error {
	names, err := j.files(suffix)
	if err != nil {
		return err
	}
	for i, name := range names {
		n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), suffix), 10, 64)
		if err != nil {
			continue // not ours
		}
		j.next = max(j.next, n+1)
		if err := j.loadFile(name, i == len(names)-1); err != nil {
			return err
		}
	}
	j.dropAside()
	j.tidy()
	return nil
}

// loadFile applies the good transactions of a file. Nothing is appended to it: what is at its end may be torn.
func (j *Journal) loadFile(name string, last bool) error {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		file, err = os.Open(name) // on a disk that is read-only
	}
	if err != nil {
		return fmt.Errorf("open a file of the journal: %w", err)
	}
	raw, err := os.ReadFile(name)
	if err != nil && len(raw) == 0 { // a medium that fails in the middle gives what is before
		_ = file.Close()
		return j.setAside(name)
	}
	seg := &segment{name: name, file: file, size: int64(len(raw))}
	good, at := 0, 0
	for at < len(raw) {
		size, seq := decodeFrame(raw[at:])
		if size == 0 {
			rest := raw[at:]
			skip := nextFrame(rest)
			switch {
			case skip < len(rest) || !last: // how many there were, the next number tells
				j.damage.Bytes += int64(skip)
			case torn(rest):
				j.damage.Torn = true
			default:
				j.damage.Bytes += int64(skip)
				j.damage.Transactions++
			}
			at += skip
			continue
		}
		j.applyFrame(seg, raw[at:at+size], seq, at)
		good++
		at += size
	}
	if good == 0 {
		_ = file.Close()
		if len(raw) == 0 || (last && torn(raw)) {
			// An empty file is begun and not written yet, which only the last can be.
			if j.damage.Torn = j.damage.Torn || last; !last {
				j.damage.Transactions++
			}
			return os.Remove(name)
		}
		return j.setAside(name)
	}
	j.segments = append(j.segments, seg)
	return nil
}

func (j *Journal) applyFrame(seg *segment, frame []byte, seq uint64, at int) {
	if seq <= j.seq {
		return // a copy of what was before
	}
	if j.seq > 0 {
		j.damage.Transactions += int64(seq - j.seq - 1)
	}
	j.seq = seq
	whole := eachChange(frame, func(c Change, value int) {
		if c.Value == nil {
			j.forget(c.Key)
			return
		}
		j.put(c.Key, place{seg: seg, frame: uint32(at), size: uint32(len(frame)), value: uint32(value), len: uint32(len(c.Value))})
	})
	if !whole {
		j.damage.Transactions++
	}
}

// setAside renames a file in which nothing can be read.
func (j *Journal) setAside(name string) error {
	if err := os.Rename(name, name+asideSuffix); err != nil {
		return fmt.Errorf("set a damaged file of the journal aside: %w", err)
	}
	j.damage.Aside++
	return nil
}

// dropAside removes the oldest of the files that were set aside: they have no use but for a look at what happened.
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
