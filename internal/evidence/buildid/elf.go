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

// elfNotes is what is read of an ELF file.
type elfNotes struct {
	buildID     []byte // of the GNU note; nil if there is none
	goBuildID   string // of the Go note; empty if there is none
	goBuildInfo bool   // the file may have what package debug/buildinfo reads
}

// Note types. Go's is in cmd/link/internal/ld/elf.go.
const (
	noteGNUBuildID = 3
	noteGoBuildID  = 4
)

// readELF reads the notes and searches for the section of Go's build information. Package debug/elf is not used, because it allocates what
// the headers demand (docs/decisions/0002-own-readers-of-rpm-and-elf.md).
func readELF(r io.ReaderAt) (notes elfNotes, err error) {
	var ident [64]byte
	if n, err := r.ReadAt(ident[:], 0); n < 52 {
		return notes, readError(err)
	}
	if string(ident[:4]) != elf.ELFMAG {
		return notes, errNotELF
	}
	l, ok := layoutOf(ident[:])
	if !ok {
		return notes, errNotELF
	}
	if l.phnum > maxProgramHeaders || l.shnum > maxSectionHeaders {
		return notes, errNotELF
	}
	if err := l.eachProgramHeader(r, func(kind elf.ProgType, at, size, align uint64) error {
		if kind != elf.PT_NOTE {
			return nil
		}
		return notes.readNotes(r, l.order, at, size, align)
	}); err != nil {
		return notes, err
	}
	err = l.readSections(r, &notes)
	return notes, err
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

// eachProgramHeader calls f for each program header. Offsets and sizes are those of the file, unchecked.
func (l layout) eachProgramHeader(r io.ReaderAt, f func(kind elf.ProgType, at, size, align uint64) error) error {
	table, err := readFully(r, l.phoff, l.phnum*l.phsize())
	if err != nil {
		return err
	}
	for ; len(table) > 0; table = table[l.phsize():] {
		kind := elf.ProgType(l.order.Uint32(table))
		var at, size, align uint64
		if l.wide {
			at, size, align = l.order.Uint64(table[8:]), l.order.Uint64(table[32:]), l.order.Uint64(table[48:])
		} else {
			at, size, align = uint64(l.order.Uint32(table[4:])), uint64(l.order.Uint32(table[16:])), uint64(l.order.Uint32(table[28:]))
		}
		if err := f(kind, at, size, align); err != nil {
			return err
		}
	}
	return nil
}

// readSections reads from the sections what the program headers do not have. A file without sections may have been linked by Go.
func (l layout) readSections(r io.ReaderAt, notes *elfNotes) error {
	if l.shoff == 0 || l.shnum == 0 {
		notes.goBuildInfo = l.shoff == 0 // otherwise the number is in the first section header, which only files with more than 65,279 sections need
		return nil
	}
	table, err := readFully(r, l.shoff, l.shnum*l.shsize())
	if errors.Is(err, errNotELF) {
		return nil // the file ends after what the kernel needs; the notes of the program headers are valid
	}
	if err != nil {
		return err
	}
	type section struct {
		name             uint32
		kind             elf.SectionType
		at, size, aligns uint64
	}
	header := func(i int) (s section) {
		h := table[i*l.shsize():]
		s.name, s.kind = l.order.Uint32(h), elf.SectionType(l.order.Uint32(h[4:]))
		if l.wide {
			s.at, s.size, s.aligns = l.order.Uint64(h[24:]), l.order.Uint64(h[32:]), l.order.Uint64(h[48:])
		} else {
			s.at, s.size, s.aligns = uint64(l.order.Uint32(h[16:])), uint64(l.order.Uint32(h[20:])), uint64(l.order.Uint32(h[32:]))
		}
		return s
	}
	var names []byte
	if l.shstrndx < l.shnum {
		s := header(l.shstrndx)
		if names, err = readFully(r, s.at, int(min(s.size, maxNames))); err != nil && !errors.Is(err, errNotELF) {
			return err
		}
	}
	for i := range l.shnum {
		s := header(i)
		if s.kind == elf.SHT_NOTE && notes.buildID == nil {
			if err := notes.readNotes(r, l.order, s.at, s.size, s.aligns); err != nil {
				return err
			}
		}
		if uint64(s.name) < uint64(len(names)) && bytes.HasPrefix(names[s.name:], []byte(".go.buildinfo\x00")) {
			notes.goBuildInfo = true
		}
	}
	return nil
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
