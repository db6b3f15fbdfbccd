// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package buildid

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Bounds of a PE file: the format allows 96 sections; linkers write one to four debug entries.
const (
	maxPESections     = 96
	maxPEDebugEntries = 64
)

var errNotPE = errors.New("not a PE file")

// Offsets and numbers of "PE Format", Microsoft.
const (
	peDebugDirectory = 6
	peDebugEntrySize = 28
	peCodeView       = 2
	peSectionSize    = 40
	pe32             = 0x10b
	pe32Plus         = 0x20b
)

// readPE returns the GUID of the CodeView entry of a PE file, with dashes and in lower case; "" if it has none.
func readPE(r io.ReaderAt) (guid string, err error) {
	h, err := readPEHeaders(r)
	if err != nil {
		return "", err
	}
	address, size := h.debugDirectory()
	if size == 0 {
		return "", nil
	}
	sections, err := readPEPart(r, h.sectionsAt, h.sections*peSectionSize)
	if err != nil {
		return "", err
	}
	offset, ok := peOffset(sections, address)
	if !ok {
		return "", nil
	}
	entries, err := readPEPart(r, offset, int(min(size/peDebugEntrySize, maxPEDebugEntries))*peDebugEntrySize)
	if err != nil {
		return "", err
	}
	for ; len(entries) >= peDebugEntrySize; entries = entries[peDebugEntrySize:] {
		if binary.LittleEndian.Uint32(entries[12:]) != peCodeView {
			continue
		}
		record, err := readPEPart(r, uint64(binary.LittleEndian.Uint32(entries[24:])), 20)
		if err != nil {
			return "", err
		}
		if string(record[:4]) == "RSDS" {
			return peGUID(record[4:]), nil
		}
	}
	return "", nil
}

// peHeaders is what is needed of the headers of a PE file.
type peHeaders struct {
	optional    []byte
	directories int // where in optional the data directories begin
	sectionsAt  uint64
	sections    int
}

func readPEHeaders(r io.ReaderAt) (h peHeaders, err error) {
	dos, err := readPEPart(r, 0, 64)
	if err != nil {
		return h, err
	}
	if string(dos[:2]) != "MZ" {
		return h, errNotPE
	}
	at := uint64(binary.LittleEndian.Uint32(dos[60:]))
	coff, err := readPEPart(r, at, 24)
	if err != nil {
		return h, err
	}
	if string(coff[:4]) != "PE\x00\x00" {
		return h, errNotPE
	}
	sections, optionalSize := int(binary.LittleEndian.Uint16(coff[6:])), int(binary.LittleEndian.Uint16(coff[20:]))
	if sections > maxPESections || optionalSize < 96 {
		return h, errNotPE
	}
	h = peHeaders{sections: sections, sectionsAt: at + 24 + uint64(optionalSize)}
	if h.optional, err = readPEPart(r, at+24, optionalSize); err != nil {
		return h, err
	}
	switch binary.LittleEndian.Uint16(h.optional) {
	case pe32:
		h.directories = 96
	case pe32Plus:
		h.directories = 112
	default:
		return h, errNotPE
	}
	return h, nil
}

// debugDirectory returns the address and the size of the debug directory; 0 if the file has none.
func (h peHeaders) debugDirectory() (address, size uint32) {
	at := h.directories + peDebugDirectory*8
	if len(h.optional) < at+8 || binary.LittleEndian.Uint32(h.optional[h.directories-4:]) <= peDebugDirectory {
		return 0, 0
	}
	return binary.LittleEndian.Uint32(h.optional[at:]), binary.LittleEndian.Uint32(h.optional[at+4:])
}

// peOffset returns the offset in the file of an address of the image, by the table of sections.
func peOffset(sections []byte, address uint32) (offset uint64, ok bool) {
	for s := sections; len(s) >= peSectionSize; s = s[peSectionSize:] {
		start, size, raw := binary.LittleEndian.Uint32(s[12:]), binary.LittleEndian.Uint32(s[16:]), binary.LittleEndian.Uint32(s[20:])
		if address >= start && address-start < size {
			return uint64(raw) + uint64(address-start), true
		}
	}
	return 0, false
}

func peGUID(g []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(g), binary.LittleEndian.Uint16(g[4:]),
		binary.LittleEndian.Uint16(g[6:]), g[8:10], g[10:16])
}

func readPEPart(r io.ReaderAt, at uint64, size int) ([]byte, error) {
	part, err := readFully(r, at, size)
	if errors.Is(err, errNotELF) {
		return nil, errNotPE
	}
	return part, err
}
