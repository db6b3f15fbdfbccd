// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"path"
	"strconv"
	"strings"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// mapping is a file of code as one process has it mapped. All its lines in maps are one mapping.
type mapping struct {
	path    string // as the kernel wrote it, unescaped, without the mark of deletion
	raw     string // as the kernel wrote it
	deleted bool   // it bore the mark of deletion; a name can end the same way, so that is only a hint
	device  device
	inode   uint64

	base       uint64 // see Use.LoadBase
	start, end uint64 // one line of it, for map_files
}

// mappingsOf is what a maps file says: the files of code, and the sum of all mappings of files.
type mappingsOf struct {
	code  []mapping
	spans spanSum
}

// device is a device number as maps spells it.
type device struct{ major, minor uint32 }

func (d device) String() string {
	return strconv.FormatUint(uint64(d.major), 10) + ":" + strconv.FormatUint(uint64(d.minor), 10)
}

// maxMapsLine is longer than any line the kernel writes: a path has at most 4,096 bytes, each of which can become \ooo.
const maxMapsLine = 20 << 10

// errMapsTruncated: there are more lines than may be read.
var errMapsTruncated = errors.New("more mappings than are read")

// deletedMark is what the kernel puts after the name of a file that has none any more.
const deletedMark = " (deleted)"

type mappingKey struct {
	device device
	inode  uint64
	raw    string
}

// readMaps gives the files of code in a maps file (proc_pid_maps(5)): those mapped executable, and by their names the jars and
// assemblies that are mapped in any way. A line that is not as the kernel writes it is passed over. Beyond the given number
// of lines it gives what it has, and errMapsTruncated.
func readMaps(r io.Reader, lines int) (found mappingsOf, err error) {
	b := bufio.NewReaderSize(r, maxMapsLine)
	var (
		index = map[mappingKey]struct{}{}
		run   mapsLine // where the present run of lines of one file began
	)
	for n := 0; ; n++ {
		text, err := b.ReadSlice('\n')
		if len(text) > 0 && !errors.Is(err, bufio.ErrBufferFull) {
			if n == lines {
				return found, errMapsTruncated
			}
			line, ok := parseMapsLine(bytes.TrimSuffix(text, []byte("\n")))
			if ok && line.inode != 0 {
				found.spans.add(line.span())
			}
			if ok && line.inode != 0 && len(line.path) > 0 && line.path[0] == '/' {
				if line.inode != run.inode || line.device != run.device || line.offset == 0 || line.start < run.start {
					run = line // but its path, which is the reader's buffer
				}
				if line.executable || mappedByName(line.path) {
					key := mappingKey{device: line.device, inode: line.inode, raw: string(line.path)}
					if _, known := index[key]; !known {
						index[key] = struct{}{}
						found.code = append(found.code, line.mapping(key.raw, run.start-run.offset))
					}
				}
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return found, nil
		case errors.Is(err, bufio.ErrBufferFull): // not a line of the kernel's: skip to its end
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = b.ReadSlice('\n')
			}
			if errors.Is(err, io.EOF) {
				return found, nil
			}
			if err != nil {
				return found, err
			}
		case err != nil:
			return found, err
		}
	}
}

// mapsLine is one line of maps. Its path is a part of the buffer it was parsed from.
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

// unescape puts back the only byte maps escapes.
func unescape(name string) string { return strings.ReplaceAll(name, `\012`, "\n") }

// parseMapsLine takes one line apart: start-end perms offset major:minor inode, blanks, path.
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

// number parses digits only, unlike strconv, which takes signs and underscores and needs a string.
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

// mappedByName: a runtime of managed code maps its files for reading and compiles them elsewhere, so that the name has to tell.
func mappedByName(name []byte) bool {
	name = bytes.TrimSuffix(name, []byte(deletedMark))
	return len(name) > 4 && managedKind(lastFour(name)) != ""
}

// lastFour are the bytes that managedKind looks at.
func lastFour(name []byte) string { return string(name[max(0, len(name)-4):]) }

// managedKind gives the kind of a file of managed code by its name, or "".
func managedKind(name string) evidence.Kind {
	switch strings.ToLower(path.Ext(name)) {
	case ".jar", ".war", ".ear":
		return evidence.KindJar
	case ".dll", ".exe":
		return evidence.KindAssembly
	}
	return ""
}

// mappedKind gives the kind of a mapped file by its path in the container.
func mappedKind(name string) evidence.Kind {
	if kind := managedKind(name); kind != "" {
		return kind
	}
	dir, base := path.Split(name)
	within := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(dir, part) {
				return true
			}
		}
		return false
	}
	switch {
	case strings.HasSuffix(base, ".node"):
		return evidence.KindExtension
	case !strings.HasSuffix(base, ".so") && !strings.Contains(base, ".so."):
		return evidence.KindLibrary
	case within(".libs/") || strings.Contains(base, ".so."): // what wheels bundle besides: numpy.libs/libopenblas….so
		return evidence.KindLibrary
	case strings.Contains(base, ".cpython-"), strings.Contains(base, ".abi3."), strings.Contains(base, ".pypy"),
		within("/lib-dynload/", "/site-packages/", "/dist-packages/"):
		return evidence.KindExtension
	case within("/ruby/", "/gems/", "/vendor_ruby/", "/site_ruby/") && !strings.HasPrefix(base, "lib"):
		return evidence.KindExtension
	}
	return evidence.KindLibrary
}
