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
	peCodeView       = 2
)

// readPE gives the GUID of the CodeView entry, with dashes and in lower case; "" = it has none.
func readPE(r io.ReaderAt) (guid string, err error) {
	h, err := readPEPart(r, 0, 64)
	if err != nil {
		return "", err
	}
	if string(h[:2]) != "MZ" {
		return "", errNotPE
	}
	at := uint64(binary.LittleEndian.Uint32(h[60:]))
	coff, err := readPEPart(r, at, 24)
	if err != nil {
		return "", err
	}
	if string(coff[:4]) != "PE\x00\x00" {
		return "", errNotPE
	}
	sections, optionalSize := int(binary.LittleEndian.Uint16(coff[6:])), int(binary.LittleEndian.Uint16(coff[20:]))
	if sections > maxPESections || optionalSize < 96 {
		return "", errNotPE
	}
	optional, err := readPEPart(r, at+24, optionalSize)
	if err != nil {
		return "", err
	}
	var directories int // where the data directories begin
	switch binary.LittleEndian.Uint16(optional) {
	case 0x10b:
		directories = 96
	case 0x20b:
		directories = 112
	default:
		return "", errNotPE
	}
	debug := directories + peDebugDirectory*8
	if len(optional) < debug+8 || binary.LittleEndian.Uint32(optional[directories-4:]) <= peDebugDirectory {
		return "", nil
	}
	address, size := binary.LittleEndian.Uint32(optional[debug:]), binary.LittleEndian.Uint32(optional[debug+4:])
	if size == 0 {
		return "", nil
	}
	table, err := readPEPart(r, at+24+uint64(optionalSize), sections*40)
	if err != nil {
		return "", err
	}
	offset, ok := peOffset(table, address)
	if !ok {
		return "", nil
	}
	entries, err := readPEPart(r, offset, int(min(size/28, maxPEDebugEntries))*28)
	if err != nil {
		return "", err
	}
	for ; len(entries) >= 28; entries = entries[28:] {
		if binary.LittleEndian.Uint32(entries[12:]) != peCodeView {
			continue
		}
		record, err := readPEPart(r, uint64(binary.LittleEndian.Uint32(entries[24:])), 20)
		if err != nil {
			return "", err
		}
		if string(record[:4]) == "RSDS" {
			g := record[4:]
			return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(g), binary.LittleEndian.Uint16(g[4:]),
				binary.LittleEndian.Uint16(g[6:]), g[8:10], g[10:16]), nil
		}
	}
	return "", nil
}

// peOffset finds where in the file an address of the image is.
func peOffset(table []byte, address uint32) (offset uint64, ok bool) {
	for ; len(table) >= 40; table = table[40:] {
		start, size, raw := binary.LittleEndian.Uint32(table[12:]), binary.LittleEndian.Uint32(table[16:]), binary.LittleEndian.Uint32(table[20:])
		if address >= start && address-start < size {
			return uint64(raw) + uint64(address-start), true
		}
	}
	return 0, false
}

func readPEPart(r io.ReaderAt, at uint64, size int) ([]byte, error) {
	part, err := readFully(r, at, size)
	if errors.Is(err, errNotELF) {
		return nil, errNotPE
	}
	return part, err
}
