// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package buildid

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
)

// section is a section header.
type section struct {
	name                             uint32
	kind                             elf.SectionType
	flags, address, at, size, aligns uint64
}

func (l layout) sectionHeader(h []byte) section {
	s := section{name: l.order.Uint32(h), kind: elf.SectionType(l.order.Uint32(h[4:]))}
	if l.wide {
		s.flags, s.address, s.at = l.order.Uint64(h[8:]), l.order.Uint64(h[16:]), l.order.Uint64(h[24:])
		s.size, s.aligns = l.order.Uint64(h[32:]), l.order.Uint64(h[48:])
		return s
	}
	narrow := func(at int) uint64 { return uint64(l.order.Uint32(h[at:])) }
	s.flags, s.address, s.at, s.size, s.aligns = narrow(8), narrow(12), narrow(16), narrow(20), narrow(32)
	return s
}

// readSections reads from the sections what the program headers do not have. A file without sections may have been linked by Go.
func (f *elfFile) readSections(r io.ReaderAt) error {
	if f.shoff == 0 || f.shnum == 0 {
		if f.shoff == 0 { // otherwise the number is in the first section header, which only files with more than 65,279 sections need
			f.goInfo = f.dataSegment()
		}
		return nil
	}
	table, err := readFully(r, f.shoff, f.shnum*f.shsize())
	if errors.Is(err, errNotELF) {
		return nil // the file ends after what the kernel needs; the notes of the program headers are valid
	}
	if err != nil {
		return err
	}
	names, err := f.sectionNames(r, table)
	if err != nil {
		return err
	}
	for ; len(table) > 0; table = table[f.shsize():] {
		s := f.sectionHeader(table)
		if s.kind == elf.SHT_NOTE && f.notes.buildID == nil {
			if err := f.notes.readNotes(r, f.order, s.at, s.size, s.aligns); err != nil {
				return err
			}
		}
		if f.goInfo.size == 0 && uint64(s.name) < uint64(len(names)) && bytes.HasPrefix(names[s.name:], []byte(".go.buildinfo\x00")) {
			f.goInfo = area{s.address, s.size}
		}
	}
	return nil
}

// sectionNames reads the table of section names; nil if there is none. It is errHostile if it is compressed.
func (f *elfFile) sectionNames(r io.ReaderAt, table []byte) ([]byte, error) {
	if f.shstrndx >= f.shnum {
		return nil, nil
	}
	s := f.sectionHeader(table[f.shstrndx*f.shsize():])
	if elf.SectionFlag(s.flags)&elf.SHF_COMPRESSED != 0 {
		return nil, errHostile
	}
	names, err := readFully(r, s.at, int(min(s.size, maxNames)))
	if errors.Is(err, errNotELF) {
		return nil, nil
	}
	return names, err
}
