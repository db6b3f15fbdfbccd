// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
)

// mapping is a file of code that a process has mapped. All its lines in maps are one mapping.
type mapping struct {
	path    string // as the kernel wrote it, unescaped, without the mark of deletion
	raw     string // as the kernel wrote it
	deleted bool   // the name had the mark of deletion; as a name can end the same way, this is only a hint
	device  device
	inode   uint64

	base       uint64 // see Use.LoadBase
	start, end uint64 // one line of it, for map_files
}

// mappingsOf is the content of a maps file: the files of code, and the sum of all mappings of files.
type mappingsOf struct {
	code  []mapping
	spans spanSum
}

// device is a device number.
type device struct{ major, minor uint32 }

func (d device) String() string {
	return strconv.FormatUint(uint64(d.major), 10) + ":" + strconv.FormatUint(uint64(d.minor), 10)
}

// maxMapsLine is longer than any line the kernel writes: a path has at most 4,096 bytes, each of which can become \ooo.
const maxMapsLine = 20 << 10

// errMapsTruncated means that there are more lines than may be read.
var errMapsTruncated = errors.New("more mappings than are read")

// deletedMark is what the kernel appends to the name of a deleted file.
const deletedMark = " (deleted)"

type mappingKey struct {
	device device
	inode  uint64
	raw    string
}

// readMaps returns the files of code in a maps file (proc_pid_maps(5)): those mapped executable, and by their names the jars and
// assemblies that are mapped in any way. A line in another format than the kernel's is ignored. Beyond the given number of lines it returns
// what it has, and errMapsTruncated.
func readMaps(r io.Reader, lines int) (found mappingsOf, err error) {
	b := bufio.NewReaderSize(r, maxMapsLine)
	c := mapsCollector{index: map[mappingKey]struct{}{}}
	for n := 0; ; n++ {
		text, err := b.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) { // not a line of the kernel's
			err = skipLine(b)
		} else if len(text) > 0 {
			if n == lines {
				return c.found, errMapsTruncated
			}
			if line, ok := parseMapsLine(bytes.TrimSuffix(text, []byte("\n"))); ok && line.inode != 0 {
				c.add(line)
			}
		}
		if errors.Is(err, io.EOF) {
			return c.found, nil
		}
		if err != nil {
			return c.found, err
		}
	}
}

// skipLine reads up to the end of a line that is longer than the buffer.
func skipLine(b *bufio.Reader) error {
	for {
		if _, err := b.ReadSlice('\n'); !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// mapsCollector collects the mappings of files from the lines of a maps file.
type mapsCollector struct {
	found mappingsOf
	index map[mappingKey]struct{}
	run   mapsLine // first of the present run of lines of one file; its path is not valid, as it is a part of the reader's buffer
}

func (c *mapsCollector) add(line mapsLine) {
	c.found.spans.add(line.span())
	if len(line.path) == 0 || line.path[0] != '/' {
		return
	}
	if line.inode != c.run.inode || line.device != c.run.device || line.offset == 0 || line.start < c.run.start {
		c.run = line
	}
	if !line.executable && !mappedByName(line.path) {
		return
	}
	key := mappingKey{device: line.device, inode: line.inode, raw: string(line.path)}
	if _, known := c.index[key]; !known {
		c.index[key] = struct{}{}
		c.found.code = append(c.found.code, line.mapping(key.raw, c.run.start-c.run.offset))
	}
}

// mapsLine is one line of maps. Its path is a part of the buffer that was parsed.
type mapsLine struct {
	start, end, offset uint64
	executable         bool
	access             uint64 // of a span
	device             device
	inode              uint64
	path               []byte
}

func (l mapsLine) span() span {
	return span{start: l.start, end: l.end, offset: l.offset, inode: l.inode, device: l.device, flags: l.access}
}

func (l mapsLine) mapping(raw string, base uint64) mapping {
	m := mapping{raw: raw, path: raw, device: l.device, inode: l.inode, base: base, start: l.start, end: l.end}
	m.path, m.deleted = strings.CutSuffix(m.path, deletedMark)
	m.path = unescape(m.path)
	return m
}

// unescape restores the only byte that the kernel escapes in maps.
func unescape(name string) string { return strings.ReplaceAll(name, `\012`, "\n") }

// parseMapsLine parses one line: start-end perms offset major:minor inode, blanks, path.
func parseMapsLine(text []byte) (l mapsLine, ok bool) {
	field := func() []byte {
		text = bytes.TrimLeft(text, " ")
		end := bytes.IndexByte(text, ' ')
		if end < 0 {
			end = len(text)
		}
		f := text[:end]
		text = text[end:]
		return f
	}
	span, perms, offset, dev, inode := field(), field(), field(), field(), field()
	from, to, found := bytes.Cut(span, []byte("-"))
	if !found || len(perms) != 4 {
		return l, false
	}
	major, minor, found := bytes.Cut(dev, []byte(":"))
	if !found {
		return l, false
	}
	var major64, minor64 uint64
	ok = number(from, 16, &l.start) && number(to, 16, &l.end) && number(offset, 16, &l.offset) &&
		number(major, 16, &major64) && number(minor, 16, &minor64) && number(inode, 10, &l.inode) &&
		l.start < l.end && major64 <= math.MaxUint32 && minor64 <= math.MaxUint32
	for i, set := range [...]byte{'r', 'w', 'x', 's'} { // in the order of the flags' bits
		if perms[i] == set {
			l.access |= 1 << i
		}
	}
	l.executable = perms[2] == 'x'
	l.device = device{major: uint32(major64), minor: uint32(minor64)}
	l.path = bytes.TrimLeft(text, " ")
	return l, ok
}

// number parses digits only, unlike strconv, which accepts signs and underscores and needs a string.
func number(digits []byte, base uint64, into *uint64) bool {
	if len(digits) == 0 || len(digits) > 20 {
		return false
	}
	var n uint64
	for _, c := range digits {
		var d uint64
		switch {
		case c >= '0' && c <= '9':
			d = uint64(c - '0')
		case base == 16 && c >= 'a' && c <= 'f':
			d = uint64(c-'a') + 10
		default:
			return false
		}
		if n > (math.MaxUint64-d)/base {
			return false
		}
		n = n*base + d
	}
	*into = n
	return true
}
