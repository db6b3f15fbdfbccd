// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package buildid

import (
	"encoding/binary"
	"errors"
	"io"
	"runtime/debug"
	"strings"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/limit"
)

// Go's linker writes a block of build information (cmd/link/internal/ld.Link.buildinfo): 14 bytes of magic, the size of a pointer, flags.
// Since Go 1.18 the version of Go and the text of the modules follow after 32 bytes, each with its length as a varint; before, the block
// has pointers to Go's headers of two strings.
const (
	goMagic     = "\xff Go buildinf:"
	goAlign     = 16
	goHeader    = 32
	goBigEndian = 1 // flags
	goInline    = 2
)

// Bounds of the build information. That of a Kubernetes has 40 KiB.
const (
	maxGoSearch  = 4 << 20 // of the data segment; the linker puts the block near its beginning
	maxGoVersion = 4 << 10
	maxGoModInfo = 1 << 20
	goFrame      = 16 // bytes before and after the text of the modules
)

// errNotGo means that the file has no build information of Go.
var errNotGo = errors.New("no build information of Go")

// readGoBuild reads Go's build information. The error is one of reading the file, or a *limit.Error.
func (f *elfFile) readGoBuild(r io.ReaderAt) (build evidence.Datum[evidence.GoBuild], err error) {
	version, text, err := f.goStrings(r)
	switch {
	case errors.Is(err, errNotGo), errors.Is(err, errNotELF):
		return evidence.Absent[evidence.GoBuild](), nil
	case err != nil:
		return build, err
	}
	text, cut := firstLines(unframed(text), 2*maxGoModules)
	info, err := debug.ParseBuildInfo(text)
	if err != nil {
		return evidence.Absent[evidence.GoBuild](), nil //nolint:nilerr // the text is the container's
	}
	info.GoVersion = version
	found := goBuildOf(info)
	found.Truncated = found.Truncated || cut
	return evidence.Present(found), nil
}

// unframed returns the text between the sentinels that the go command writes around it, empty without these.
func unframed(text string) string {
	if len(text) < 2*goFrame+1 || text[len(text)-goFrame-1] != '\n' {
		return ""
	}
	return text[goFrame : len(text)-goFrame]
}

// firstLines returns the first lines of a text: each becomes an object of its parser. cut says that there are more.
func firstLines(text string, most int) (first string, cut bool) {
	end := 0
	for range most {
		n := strings.IndexByte(text[end:], '\n')
		if n < 0 {
			return text, false
		}
		end += n + 1
	}
	return text[:end], end < len(text)
}

// goStrings returns the version of Go and the text of the modules.
func (f *elfFile) goStrings(r io.ReaderAt) (version, modules string, err error) {
	at, err := f.findGoInfo(r)
	if err != nil {
		return "", "", err
	}
	header, err := f.loaded(r, at, goHeader)
	if err != nil {
		return "", "", err
	}
	if header[15]&goInline != 0 {
		if version, at, err = f.inlineString(r, at+goHeader, maxGoVersion); err == nil {
			modules, _, err = f.inlineString(r, at, maxGoModInfo)
		}
	} else {
		version, modules, err = f.pointedStrings(r, header)
	}
	if err == nil && version == "" {
		err = errNotGo
	}
	return version, modules, err
}

// findGoInfo returns the address of the block.
func (f *elfFile) findGoInfo(r io.ReaderAt) (address uint64, err error) {
	const chunk = 64 << 10
	start := roundUp(f.goInfo.start, goAlign)
	size := min(f.goInfo.size, maxGoSearch)
	end := f.goInfo.start + size
	if end < start || start < f.goInfo.start {
		return 0, errNotGo
	}
	for ; end-start >= goHeader; start += chunk {
		part, err := f.loadedUpTo(r, start, min(chunk, end-start))
		if err != nil {
			return 0, err
		}
		for at := 0; at+goAlign <= len(part); at += goAlign {
			if string(part[at:at+len(goMagic)]) == goMagic {
				return start + uint64(at), nil
			}
		}
		if end-start <= chunk {
			break
		}
	}
	return 0, errNotGo
}

// inlineString reads a string after its length, and returns where the next one is.
func (f *elfFile) inlineString(r io.ReaderAt, at uint64, maximum int64) (text string, next uint64, err error) {
	head, err := f.loadedUpTo(r, at, binary.MaxVarintLen64)
	if err != nil {
		return "", 0, err
	}
	length, n := binary.Uvarint(head)
	if n <= 0 {
		return "", 0, errNotGo
	}
	text, err = f.text(r, at+uint64(n), length, maximum)
	return text, at + uint64(n) + length, err
}

// pointedStrings reads the strings that a block of before Go 1.18 points to.
func (f *elfFile) pointedStrings(r io.ReaderAt, header []byte) (version, modules string, err error) {
	var order binary.ByteOrder = binary.LittleEndian
	if header[15]&goBigEndian != 0 {
		order = binary.BigEndian
	}
	width := int(header[14])
	if width != 4 && width != 8 {
		return "", "", errNotGo
	}
	number := func(b []byte) uint64 {
		if width == 4 {
			return uint64(order.Uint32(b))
		}
		return order.Uint64(b)
	}
	read := func(at uint64, maximum int64) (string, error) {
		head, err := f.loaded(r, at, 2*width)
		if err != nil {
			return "", err
		}
		return f.text(r, number(head), number(head[width:]), maximum)
	}
	if version, err = read(number(header[16:]), maxGoVersion); err != nil {
		return "", "", err
	}
	modules, err = read(number(header[16+width:]), maxGoModInfo)
	if errors.Is(err, errNotGo) { // built without modules
		return version, "", nil
	}
	return version, modules, err
}

func (f *elfFile) text(r io.ReaderAt, at, length uint64, maximum int64) (string, error) {
	if length > uint64(maximum) {
		if s, ok := f.segmentOf(at); ok && length <= s.address+s.size-at {
			return "", &limit.Error{Kind: limit.Bytes, Max: maximum}
		}
		return "", errNotGo // the file does not have that many
	}
	text, err := f.loaded(r, at, int(length))
	return string(text), err
}

// dataSegment returns the addresses of the first segment of data: a file without sections has Go's block there.
func (f *elfFile) dataSegment() area {
	for _, s := range f.segments {
		if s.writable && !s.executable {
			return area{s.address, s.memory}
		}
	}
	return area{}
}

// segmentOf returns the segment whose part in the file has an address.
func (f *elfFile) segmentOf(address uint64) (segment, bool) {
	for _, s := range f.segments {
		if address >= s.address && address-s.address < s.size {
			return s, true
		}
	}
	return segment{}, false
}

// loaded returns exactly size bytes that are loaded at an address. It is errNotGo if the file does not have them.
func (f *elfFile) loaded(r io.ReaderAt, address uint64, size int) ([]byte, error) {
	part, err := f.loadedUpTo(r, address, uint64(size))
	if err == nil && len(part) < size {
		err = errNotGo
	}
	return part, err
}

// loadedUpTo returns what is loaded at an address, up to size bytes or to the end of the segment. The caller limits size.
func (f *elfFile) loadedUpTo(r io.ReaderAt, address, size uint64) ([]byte, error) {
	s, ok := f.segmentOf(address)
	if !ok {
		return nil, errNotGo
	}
	within := address - s.address
	return readFully(r, s.at+within, int(min(size, s.size-within)))
}
