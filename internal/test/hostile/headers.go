// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package hostile

import "encoding/binary"

// ELFNotes returns a 64-bit ELF file with many sections of notes that are all the same bytes of the file: each is cheap to write and is read
// again for each.
func ELFNotes(sections, size int) []byte {
	le := binary.LittleEndian
	out := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 57)...)
	notes := append(le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, 0), uint32(size-12)), 99), make([]byte, size-12)...)
	out = append(out, notes...)
	le.PutUint64(out[40:], uint64(len(out))) // e_shoff
	le.PutUint16(out[58:], 64)               // e_shentsize
	le.PutUint16(out[60:], uint16(sections))
	le.PutUint16(out[62:], 0xffff) // no table of names
	const shtNote = 7
	for range sections {
		out = appendSectionHeader(out, 0, shtNote, 0, 64, uint64(size))
	}
	return out
}

// PE returns a PE file that announces sections and symbols that it does not have. A reader that allocates by the headers takes 18 bytes for
// each symbol.
func PE(sections uint16, symbols uint32) []byte {
	le := binary.LittleEndian
	out := make([]byte, 0x80+24+240+40)
	copy(out, "MZ")
	le.PutUint32(out[60:], 0x80)
	copy(out[0x80:], "PE\x00\x00\x64\x86")
	le.PutUint16(out[0x86:], sections)
	le.PutUint32(out[0x8c:], 0x40) // the table of symbols
	le.PutUint32(out[0x90:], symbols)
	le.PutUint16(out[0x94:], 240)
	optional := out[0x98:]
	le.PutUint16(optional, 0x20b)
	le.PutUint32(optional[108:], 16)
	le.PutUint32(optional[112+6*8:], 0x2000) // the debug directory
	le.PutUint32(optional[112+6*8+4:], 0xffffffff)
	section := out[0x98+240:]
	copy(section, "/9999999") // its name is in the table of strings
	le.PutUint32(section[12:], 0x2000)
	le.PutUint32(section[16:], 0xffffffff)
	le.PutUint32(section[20:], 0x7fffffff)
	return out
}

// MachO returns a Mach-O file that announces load commands that it does not have.
func MachO(commands uint32) []byte {
	le := binary.LittleEndian
	out := le.AppendUint32(nil, 0xfeedfacf)
	for _, v := range []uint32{0x01000007, 3, 2, commands, 0xffffffff, 0, 0} {
		out = le.AppendUint32(out, v)
	}
	return append(out, make([]byte, 64)...)
}
