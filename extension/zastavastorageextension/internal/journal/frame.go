// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// A frame is one transaction on disk, in little endian: magic (4 bytes), length of the payload (4), sequence number (8), CRC-32C of
// length, sequence number and payload (4), payload. The payload has for each change its kind (1), the key and, if the change sets a
// value, the value; key and value each follow their length as a varint. The first frame of a file is its header, with the sequence
// number 0 (see header.go).
const (
	frameHead    = 20
	maxFrameSize = 64 << 20 // of a payload, which is one delivery of a source; a larger length is damage
)

var (
	magic      = []byte{'Z', 'J', '1', 0xf5} // UTF-8 text never contains 0xf5
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

const (
	kindSet    = 1
	kindDelete = 2
)

// Change sets a key's value or, with a nil value, deletes it.
type Change struct {
	Key   string
	Value []byte
}

// appendFrame appends a frame and returns the offset of each value in it.
func appendFrame(dst []byte, seq uint64, changes []Change) (frame []byte, values []int) {
	from := len(dst)
	dst = append(dst, make([]byte, frameHead)...)
	values = make([]int, len(changes))
	for i, c := range changes {
		kind := byte(kindSet)
		if c.Value == nil {
			kind = kindDelete
		}
		dst = append(dst, kind)
		dst = binary.AppendUvarint(dst, uint64(len(c.Key)))
		dst = append(dst, c.Key...)
		if kind == kindSet {
			dst = binary.AppendUvarint(dst, uint64(len(c.Value)))
			values[i] = len(dst) - from
			dst = append(dst, c.Value...)
		}
	}
	head := dst[from:]
	copy(head, magic)
	binary.LittleEndian.PutUint32(head[4:], uint32(len(head)-frameHead))
	binary.LittleEndian.PutUint64(head[8:], seq)
	binary.LittleEndian.PutUint32(head[16:], checksum(head))
	return dst, values
}

func checksum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[4:16], castagnoli), castagnoli, frame[frameHead:])
}

// decodeFrame checks the frame at the start of raw. It returns size 0 if there is no valid frame.
func decodeFrame(raw []byte) (size int, seq uint64) {
	if len(raw) < frameHead || !bytes.Equal(raw[:4], magic) {
		return 0, 0
	}
	n := int64(binary.LittleEndian.Uint32(raw[4:]))
	if n > maxFrameSize || int64(len(raw)) < frameHead+n {
		return 0, 0
	}
	frame := raw[:frameHead+n]
	if checksum(frame) != binary.LittleEndian.Uint32(raw[16:]) {
		return 0, 0
	}
	return len(frame), binary.LittleEndian.Uint64(raw[8:])
}

// eachChange calls each for the changes of a valid frame, with the offset of the value in the frame. It returns false if the payload
// does not have the format of appendFrame.
func eachChange(frame []byte, each func(c Change, value int)) bool {
	at := frameHead
	text := func() ([]byte, bool) {
		n, k := binary.Uvarint(frame[at:])
		if k <= 0 || n > uint64(len(frame)-at-k) {
			return nil, false
		}
		at += k + int(n)
		return frame[at-int(n) : at : at], true
	}
	for at < len(frame) {
		kind := frame[at]
		at++
		key, ok := text()
		if !ok || (kind != kindSet && kind != kindDelete) {
			return false
		}
		c := Change{Key: string(key)}
		if kind == kindSet {
			if c.Value, ok = text(); !ok {
				return false
			}
		}
		each(c, at-len(c.Value))
	}
	return true
}
