// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package buildid

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
)

// Bounds on what an ELF file may ask of its reader. Real files stay far below: the largest of a Debian have under 100 program and
// 1,000 section headers, and notes of under 1 KiB.
const (
	maxProgramHeaders = 1_024
	maxSectionHeaders = 16_384
	maxNoteBytes      = 64 << 10
	maxNames          = 1 << 20
	maxBuildIDBytes   = 64
	maxGoBuildID      = 512
)

// errNotELF means that a file is not an ELF file, or has invalid headers.
var errNotELF = errors.New("not an ELF file")

// errHostile means that the headers of a file are made to be expensive. No linker compresses the table of section names: a reader that
// honors the flag unpacks gigabytes from a megabyte.
var errHostile = errors.New("the table of section names is compressed")

// elfFile is what is read of an ELF file.
type elfFile struct {
	layout
	notes    elfNotes
	segments []segment // those that are loaded
	goInfo   area      // where Go's build information may be, by address; empty if the file has none
}

// segment is a part of the file that is loaded at an address.
type segment struct {
	at, address, size, memory uint64 // size in the file, and in memory
	writable, executable      bool
}

// area is a range of addresses.
type area struct{ start, size uint64 }

// elfNotes is what the notes of an ELF file say.
type elfNotes struct {
	buildID   []byte // of the GNU note; nil if there is none
	goBuildID string // of the Go note; empty if there is none
}

// Note types. Go's is in cmd/link/internal/ld/elf.go.
const (
	noteGNUBuildID = 3
	noteGoBuildID  = 4
)

// readELF reads the notes and the places of segments, and finds where Go's build information may be. Packages debug/elf and debug/buildinfo
// are not used, because they allocate what the headers demand, and unpack compressed sections that nothing needs
// (docs/decisions/0002-own-readers-of-rpm-and-elf.md).
func readELF(r io.ReaderAt) (f elfFile, err error) {
	var ident [64]byte
	if n, err := r.ReadAt(ident[:], 0); n < 52 {
		return f, readError(err)
	}
	if string(ident[:4]) != elf.ELFMAG {
		return f, errNotELF
	}
	var ok bool
	if f.layout, ok = layoutOf(ident[:]); !ok {
		return f, errNotELF
	}
	if f.phnum > maxProgramHeaders || f.shnum > maxSectionHeaders {
		return f, errNotELF
	}
	if err := f.readSegments(r); err != nil {
		return f, err
	}
	err = f.readSections(r)
	return f, err
}

// layout is where the ELF header says that the other headers are.
type layout struct {
	wide         bool // 64 bits
	order        binary.ByteOrder
	phoff, shoff uint64
	phnum, shnum int
	shstrndx     int
}

func (l layout) phsize() int { return pick(l.wide, 56, 32) }
func (l layout) shsize() int { return pick(l.wide, 64, 40) }

func pick(wide bool, of64, of32 int) int {
	if wide {
		return of64
	}
	return of32
}

func layoutOf(h []byte) (l layout, ok bool) {
	switch elf.Class(h[elf.EI_CLASS]) {
	case elf.ELFCLASS64:
		l.wide = true
	case elf.ELFCLASS32:
	default:
		return l, false
	}
	switch elf.Data(h[elf.EI_DATA]) {
	case elf.ELFDATA2LSB:
		l.order = binary.LittleEndian
	case elf.ELFDATA2MSB:
		l.order = binary.BigEndian
	default:
		return l, false
	}
	at := 42 // of e_phentsize
	if l.wide {
		l.phoff, l.shoff = l.order.Uint64(h[32:]), l.order.Uint64(h[40:])
		at = 54
	} else {
		l.phoff, l.shoff = uint64(l.order.Uint32(h[28:])), uint64(l.order.Uint32(h[32:]))
	}
	phentsize, shentsize := int(l.order.Uint16(h[at:])), int(l.order.Uint16(h[at+4:]))
	l.phnum, l.shnum, l.shstrndx = int(l.order.Uint16(h[at+2:])), int(l.order.Uint16(h[at+6:])), int(l.order.Uint16(h[at+8:]))
	ok = (l.phnum == 0 || phentsize == l.phsize()) && (l.shnum == 0 || shentsize == l.shsize())
	return l, ok
}

// readSegments reads the program headers, and the notes that they have. Offsets and sizes are those of the file, unchecked.
func (f *elfFile) readSegments(r io.ReaderAt) error {
	table, err := readFully(r, f.phoff, f.phnum*f.phsize())
	if err != nil {
		return err
	}
	for ; len(table) > 0; table = table[f.phsize():] {
		switch kind, s, align := f.programHeader(table); kind {
		case elf.PT_LOAD:
			f.segments = append(f.segments, s)
		case elf.PT_NOTE:
			if err := f.notes.readNotes(r, f.order, s.at, s.size, align); err != nil {
				return err
			}
		default: // nothing that is read here
		}
	}
	return nil
}

func (l layout) programHeader(h []byte) (kind elf.ProgType, s segment, align uint64) {
	kind = elf.ProgType(l.order.Uint32(h))
	flags := elf.ProgFlag(l.order.Uint32(h[pick(l.wide, 4, 24):]))
	if l.wide {
		s = segment{at: l.order.Uint64(h[8:]), address: l.order.Uint64(h[16:]), size: l.order.Uint64(h[32:]), memory: l.order.Uint64(h[40:])}
		align = l.order.Uint64(h[48:])
	} else {
		narrow := func(at int) uint64 { return uint64(l.order.Uint32(h[at:])) }
		s = segment{at: narrow(4), address: narrow(8), size: narrow(16), memory: narrow(20)}
		align = narrow(28)
	}
	s.writable, s.executable = flags&elf.PF_W != 0, flags&elf.PF_X != 0
	return kind, s, align
}

// readNotes reads one segment or section of notes, up to the first invalid note.
func (f *elfNotes) readNotes(r io.ReaderAt, order binary.ByteOrder, at, size, align uint64) error {
	notes, err := readFully(r, at, int(min(size, maxNoteBytes)))
	if errors.Is(err, errNotELF) {
		return nil
	}
	if err != nil {
		return err
	}
	if align != 8 {
		align = 4 // some linkers write 0 or 1
	}
	for len(notes) >= 12 {
		nameSize, descSize, kind := uint64(order.Uint32(notes)), uint64(order.Uint32(notes[4:])), order.Uint32(notes[8:])
		notes = notes[12:]
		// The name is padded so that the descriptor is aligned, counted from the note's start.
		nameEnd := roundUp(12+nameSize, align) - 12
		if nameEnd > uint64(len(notes)) || descSize > uint64(len(notes))-nameEnd {
			return nil
		}
		name, desc := notes[:nameSize], notes[nameEnd:nameEnd+descSize]
		f.add(string(name), kind, desc)
		notes = notes[min(nameEnd+roundUp(descSize, align), uint64(len(notes))):]
	}
	return nil
}

func (f *elfNotes) add(name string, kind uint32, desc []byte) {
	switch {
	case name == "GNU\x00" && kind == noteGNUBuildID && f.buildID == nil && len(desc) > 0 && len(desc) <= maxBuildIDBytes:
		f.buildID = bytes.Clone(desc)
	case name == "Go\x00\x00" && kind == noteGoBuildID && f.goBuildID == "" && len(desc) <= maxGoBuildID && printable(desc):
		f.goBuildID = string(desc)
	}
}

// gnuBuildID formats a GNU build-id as the build-id contract does.
func gnuBuildID(id []byte) string { return "gnu-build-id:" + hex.EncodeToString(id) }

func printable(text []byte) bool {
	for _, c := range text {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

func roundUp(n, to uint64) uint64 { return (n + to - 1) / to * to }

// readFully reads exactly size bytes; the caller limits size. A range that the file does not have is errNotELF.
func readFully(r io.ReaderAt, at uint64, size int) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	if at > 1<<62 {
		return nil, errNotELF
	}
	content := make([]byte, size)
	if n, err := r.ReadAt(content, int64(at)); n < size {
		return nil, readError(err)
	}
	return content, nil
}

// readError replaces an unexpected end of the file by errNotELF, and returns every other error unchanged.
func readError(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errNotELF
	}
	return err
}
