// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package hostile makes inputs that are cheap to send and expensive to read: what a container, a local user or a client of the backend
// would use to end the reader. Tests measure what they cost.
package hostile

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
)

// Compression is how the section of a bomb is compressed: the types of ELF's Elf64_Chdr.
type Compression uint32

// The compressions.
const (
	Zlib Compression = 1 // ELFCOMPRESS_ZLIB
	Zstd Compression = 2 // ELFCOMPRESS_ZSTD
)

const (
	shfCompressed = 0x800
	shtStringTab  = 3
	chdrSize      = 24
)

// goMarker is the name of the section with Go's build info. The bomb's section bears it for a reader that takes names from the file's bytes
// as they are, so that it looks closer, with a reader that unpacks.
const goMarker = ".go.buildinfo\x00"

// ELFBomb returns a copy of a 64-bit little-endian ELF program that still runs, and whose table of section names is a compressed section
// that unpacks to size bytes.
func ELFBomb(program []byte, size int64, compression Compression) ([]byte, error) {
	if !bytes.HasPrefix(program, []byte("\x7fELF\x02\x01")) || len(program) < 64 {
		return nil, errors.New("make an ELF bomb: the program is not 64-bit little-endian ELF")
	}
	packed, nameAt, err := packZeros(size, compression)
	if err != nil {
		return nil, fmt.Errorf("make an ELF bomb: %w", err)
	}
	le := binary.LittleEndian
	header := le.AppendUint32(nil, uint32(compression))
	header = le.AppendUint32(header, 0)
	header = le.AppendUint64(header, uint64(size))
	header = le.AppendUint64(header, 1) // alignment
	header = append(header, packed...)

	out := align(bytes.Clone(program))
	sectionAt := uint64(len(out))
	out = align(append(out, header...))
	tableAt := uint64(len(out))
	out = appendSectionHeader(out, 0, 0, 0, 0, 0)
	out = appendSectionHeader(out, uint32(chdrSize+nameAt), shtStringTab, shfCompressed, sectionAt, uint64(len(header)))
	le.PutUint64(out[40:], tableAt) // e_shoff
	le.PutUint16(out[58:], 64)      // e_shentsize
	le.PutUint16(out[60:], 2)       // e_shnum
	le.PutUint16(out[62:], 1)       // e_shstrndx
	return out, nil
}

func appendSectionHeader(out []byte, name, kind uint32, flags, offset, size uint64) []byte {
	le := binary.LittleEndian
	out = le.AppendUint32(out, name)
	out = le.AppendUint32(out, kind)
	for _, v := range []uint64{flags, 0, offset, size} {
		out = le.AppendUint64(out, v)
	}
	out = le.AppendUint64(out, 0) // link, info
	out = le.AppendUint64(out, 1) // alignment
	return le.AppendUint64(out, 0)
}

func align(b []byte) []byte {
	for len(b)%16 != 0 {
		b = append(b, 0)
	}
	return b
}

// packZeros compresses Go's marker and then zeros, size bytes together. It returns where the marker is.
func packZeros(size int64, compression Compression) (packed []byte, markerAt int, err error) {
	zeros := size - int64(len(goMarker))
	switch compression {
	case Zlib:
		return zlibZeros(zeros)
	case Zstd:
		return zstdZeros(zeros)
	}
	return nil, 0, fmt.Errorf("compression %d is neither zlib nor zstd", compression)
}

// zlibZeros compresses a MiB twice and repeats the second: its blocks refer to nothing but zeros before them, and end at a byte. Compressing
// a GiB would take minutes under the race detector.
func zlibZeros(zeros int64) (packed []byte, markerAt int, err error) {
	const chunk = 1 << 20
	stored, err := deflated(flate.NoCompression, []byte(goMarker))
	if err != nil {
		return nil, 0, err
	}
	packed = append([]byte{0x78, 0x01}, stored[0]...) // RFC 1950: deflate, a window of 32 KiB
	markerAt = bytes.Index(packed, []byte(goMarker))
	full := zeros / chunk
	pieces := [][]byte{make([]byte, min(full, 1)*chunk), make([]byte, min(full, 1)*chunk), make([]byte, zeros%chunk)}
	blocks, err := deflated(flate.BestCompression, pieces...)
	if err != nil {
		return nil, 0, err
	}
	if full > 0 {
		packed = append(packed, blocks[0]...)
		packed = append(packed, bytes.Repeat(blocks[1], int(full-1))...)
	}
	packed = append(packed, blocks[2]...)
	packed = append(packed, 0x03, 0x00) // the last block, empty
	return binary.BigEndian.AppendUint32(packed, adlerOfZeros(adler32.Checksum([]byte(goMarker)), zeros)), markerAt, nil
}

// deflated compresses pieces as one stream. Each ends at a byte, and none is the last of the stream.
func deflated(level int, pieces ...[]byte) ([][]byte, error) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	if err != nil {
		return nil, err
	}
	blocks := make([][]byte, 0, len(pieces))
	for _, piece := range pieces {
		if _, err := w.Write(piece); err != nil {
			return nil, err
		}
		if err := w.Flush(); err != nil {
			return nil, err
		}
		blocks = append(blocks, bytes.Clone(out.Bytes()))
		out.Reset()
	}
	return blocks, nil
}

// adlerOfZeros continues a checksum (RFC 1950) over zeros: they add nothing to its first sum, which each of them adds to the second.
func adlerOfZeros(sum uint32, zeros int64) uint32 {
	const modulus = 65521
	a, b := int64(sum&0xffff), int64(sum>>16)
	return uint32((b+a*(zeros%modulus))%modulus)<<16 | uint32(a)
}

// zstdZeros writes a frame by hand (RFC 8878): a raw block with the marker, then blocks that each repeat one byte 128 Ki times.
func zstdZeros(zeros int64) (packed []byte, markerAt int, err error) {
	const (
		raw, rle, last = 0, 1 << 1, 1
		most           = 128 << 10
	)
	out := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58} // magic, no size given, a window of 2 MiB
	block := func(kind, size int) {
		head := uint32(size<<3 | kind)
		out = append(out, byte(head), byte(head>>8), byte(head>>16))
	}
	block(raw, len(goMarker))
	markerAt = len(out)
	out = append(out, goMarker...)
	for left := zeros; left > 0; left -= most {
		kind := rle
		if left <= most {
			kind |= last
		}
		block(kind, int(min(left, most)))
		out = append(out, 0)
	}
	return out, markerAt, nil
}
