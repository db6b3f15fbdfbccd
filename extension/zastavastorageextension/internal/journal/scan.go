// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"

	"github.com/zastava-otel/zastava/internal/limit"
)

const (
	windowBytes = 64 << 10
	// The bytes of which checksums are computed: each of the file once, as many again for some frames whose length is damaged, and a
	// constant for small files. Without a bound, a file full of beginnings of frames costs the square of its size.
	checksumsPerByte = 8
	leastChecksums   = 16 << 20
	maxCandidates    = 1 << 20 // beginnings of frames in one file that prove to be none
)

// scanner reads the frames of one file. It keeps a window of the file in memory, and a larger frame only after its checksum was right.
// After its budget is spent there are no more frames.
type scanner struct {
	from   io.ReaderAt
	size   int64 // of the file, or up to where it can be read
	budget *limit.Budget
	buffer []byte
	window []byte // the bytes of the file from at
	at     int64
	err    error // the error after which nothing more was read
}

func newScanner(from io.ReaderAt, size int64) *scanner {
	return &scanner{
		from: from, size: size, buffer: make([]byte, min(windowBytes, size)),
		budget: limit.New(limit.Limits{Bytes: checksumsPerByte*size + leastChecksums, Items: maxCandidates, CPU: math.MaxInt64}),
	}
}

// some returns the bytes at off that are in the window: at least n, or all up to the end of the file.
func (s *scanner) some(off int64, n int) []byte {
	if off >= s.size {
		return nil
	}
	end := s.at + int64(len(s.window))
	if off < s.at || off > end || (off+int64(n) > end && end < s.size) {
		read, err := s.from.ReadAt(s.buffer[:min(int64(len(s.buffer)), s.size-off)], off)
		s.at, s.window = off, s.buffer[:read]
		if err != nil {
			s.size = off + int64(read)
			if !errors.Is(err, io.EOF) {
				s.err = err
			}
		}
	}
	return s.window[off-s.at:]
}

// frame returns the valid frame at off; nil if there is none. It is valid until the next call of a method.
func (s *scanner) frame(off int64) []byte {
	head := s.some(off, frameHead)
	if len(head) < frameHead || !bytes.Equal(head[:len(magic)], magic) {
		return nil
	}
	n := int64(binary.LittleEndian.Uint32(head[4:]))
	if n > maxFrameSize || n > s.size-off-frameHead || s.budget.Take(frameHead+n) != nil {
		return nil
	}
	var frame []byte
	switch n += frameHead; {
	case n <= int64(len(s.buffer)):
		if frame = s.some(off, int(n)); int64(len(frame)) < n {
			return nil
		}
		frame = frame[:n:n]
	case !s.intact(off, n, head):
		return nil
	default:
		frame = make([]byte, n)
		if _, err := s.from.ReadAt(frame, off); err != nil {
			return nil
		}
	}
	if size, _ := decodeFrame(frame); size == 0 {
		return nil
	}
	return frame
}

// intact reports whether the checksum of a frame of n bytes is right.
func (s *scanner) intact(off, n int64, head []byte) bool {
	want := binary.LittleEndian.Uint32(head[16:])
	sum := crc32.Checksum(head[4:16], castagnoli)
	for at, end := off+frameHead, off+n; at < end; {
		part := s.some(at, 1)
		if len(part) == 0 {
			return false
		}
		part = part[:min(int64(len(part)), end-at)]
		sum = crc32.Update(sum, castagnoli, part)
		at += int64(len(part))
	}
	return sum == want
}

// next returns the offset of the first valid frame at or after off; the size of the file if there is none.
func (s *scanner) next(off int64) int64 {
	for off < s.size {
		part := s.some(off, len(magic))
		i := bytes.Index(part, magic)
		if i < 0 {
			off += int64(max(1, len(part)-len(magic)+1))
			continue
		}
		off += int64(i)
		if s.frame(off) != nil {
			return off
		}
		if s.budget.Item(1) != nil {
			break
		}
		off++
	}
	return s.size
}

// torn reports whether the rest of the file from off, which does not begin with a valid frame, is what a crash leaves at the end of a
// file: the beginning of a frame, or the zeros of allocated space that was never written.
func (s *scanner) torn(off int64) bool {
	head := s.some(off, frameHead)
	if n := min(len(head), len(magic)); bytes.Equal(head[:n], magic[:n]) {
		return len(head) < frameHead || s.size-off < frameHead+int64(binary.LittleEndian.Uint32(head[4:]))
	}
	for off < s.size {
		part := s.some(off, 1)
		if len(bytes.TrimLeft(part, "\x00")) > 0 {
			return false
		}
		off += int64(len(part))
	}
	return true
}
