// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/zastava-otel/zastava/internal/fileaccess"
)

// maxNumber is the largest number of a file that load accepts. With one file a millisecond it is reached after 30,000 years; a larger
// number is not ours, and would leave no name for the next file.
const maxNumber = 999_999_999_999_999

// numberOf returns the number of a journal's file, from its name of 16 digits and suffix.
func numberOf(name string) (n uint64, ok bool) {
	digits, ok := strings.CutSuffix(filepath.Base(name), suffix)
	if !ok || len(digits) != numberDigits {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// load reads all files, oldest first.
func (j *Journal) load() error {
	all, err := j.files(suffix)
	if err != nil {
		return err
	}
	var names []string
	for _, name := range all {
		n, ok := numberOf(name)
		switch {
		case !ok: // not a file of the journal
		case n > maxNumber:
			j.setAside(name, FaultOdd, fmt.Errorf("no file of a journal has the number %d", n))
		default:
			j.next = max(j.next, n+1)
			names = append(names, name)
		}
	}
	for i, name := range names {
		if err := j.loadFile(name, i == len(names)-1); err != nil {
			return err
		}
	}
	for key := range j.named {
		if j.options.Lazy != nil && j.options.Lazy(key) {
			j.rememberLazy([]Change{{Key: key, Value: j.get(key)}})
		}
	}
	j.dropAside()
	j.compact()
	return nil
}

// loadFile applies the valid transactions of a file. Nothing is appended to the file later, because its end may be torn.
func (j *Journal) loadFile(name string, last bool) error {
	file, err := fileaccess.OpenRegular(name, os.O_RDWR, 0)
	if err != nil && !errors.Is(err, fileaccess.ErrNotRegular) {
		file, err = fileaccess.OpenRegular(name, os.O_RDONLY, 0) // on a read-only disk
	}
	if errors.Is(err, fileaccess.ErrNotRegular) {
		j.setAside(name, FaultOdd, err)
		return nil
	}
	if absent(err) { // somebody removed it meanwhile
		return nil
	}
	if err != nil {
		return fmt.Errorf("open a file of the journal: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return fmt.Errorf("open a file of the journal: %w", err)
	}
	seg := &segment{opened: opened{file, info}, name: name, size: info.Size(), home: j.home.number}
	kept := seg.size <= math.MaxUint32 && j.loadSegment(seg, last)
	if kept {
		j.segments = append(j.segments, seg)
		return nil
	}
	_ = file.Close()
	if seg.size > math.MaxUint32 { // offsets have 32 bits, so no file of ours is as large
		j.setDamagedAside(name)
	}
	return nil
}

// loadSegment applies the transactions of a file. It returns false, and sets aside or removes the file, if there are none.
func (j *Journal) loadSegment(seg *segment, last bool) (kept bool) {
	s := newScanner(seg.file, seg.size)
	var begin int64
	if first := s.frame(0); first != nil {
		if _, seq := decodeFrame(first); seq == 0 {
			if err := j.belongs(first); err != nil {
				j.setAside(seg.name, FaultForeign, err)
				return false
			}
			begin = int64(len(first))
		}
	}
	valid := j.applyFrames(seg, s, begin, last)
	seg.size = s.size
	switch {
	case valid > 0:
		return true
	case s.err != nil && s.size <= begin, s.size > begin && (!last || !s.torn(begin)):
		j.setDamagedAside(seg.name)
		return false
	case last:
		j.damage.Torn = true
	default:
		j.damage.Transactions++ // only the last file can be empty because it was created and not written yet
	}
	_ = os.Remove(seg.name) // on a read-only disk it stays
	return false
}

// applyFrames applies the valid frames of a file, counts the damage between them and returns the number of valid frames.
func (j *Journal) applyFrames(seg *segment, s *scanner, at int64, last bool) (valid int) {
	for at < s.size {
		if frame := s.frame(at); frame != nil {
			j.applyFrame(seg, frame, at)
			valid++
			at += int64(len(frame))
			continue
		}
		next := s.next(at + 1)
		switch {
		case next < s.size || !last: // the sequence number of the next frame shows how many transactions are missing
			j.damage.Bytes += next - at
		case s.torn(at):
			j.damage.Torn = true
		default:
			j.damage.Bytes += next - at
			j.damage.Transactions++
		}
		at = next
	}
	return valid
}

func (j *Journal) applyFrame(seg *segment, frame []byte, at int64) {
	_, seq := decodeFrame(frame)
	if seq <= j.seq {
		return // a copy of an earlier frame
	}
	if j.seq > 0 {
		j.damage.Transactions += int64(seq - j.seq - 1)
	}
	j.seq = seq
	full := false
	valid := eachChange(frame, func(c Change, value int) {
		if c.Value == nil {
			j.forget(c.Key)
			return
		}
		if _, known := j.find(c.Key); !known && j.keys() >= maxKeys {
			full = true
			return
		}
		j.put(c.Key, place{seg: seg, frame: uint32(at), size: uint32(len(frame)), value: uint32(value), len: uint32(len(c.Value))})
	})
	if !valid || full {
		j.damage.Transactions++
	}
}
