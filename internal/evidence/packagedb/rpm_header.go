// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// Tags and types of rpm headers (rpmtag.h of rpm).
const (
	rpmName         = 1000
	rpmVersion      = 1001
	rpmRelease      = 1002
	rpmEpoch        = 1003
	rpmArch         = 1022
	rpmOldFilenames = 1027
	rpmDirIndexes   = 1116
	rpmBasenames    = 1117
	rpmDirNames     = 1118

	rpmInt32       = 4
	rpmString      = 6
	rpmStringArray = 8
)

// rpmHeader is the header of a package as the database has it: how many tags, how many bytes of values, the tags, the values.
type rpmHeader struct{ tags, values []byte }

func parseRPMHeader(text []byte) (h rpmHeader, ok bool) {
	if len(text) < 8 {
		return h, false
	}
	tags, values := binary.BigEndian.Uint32(text), binary.BigEndian.Uint32(text[4:])
	text = text[8:]
	if tags > maxRPMTags || uint64(tags)*16+uint64(values) > uint64(len(text)) {
		return h, false
	}
	return rpmHeader{tags: text[:tags*16], values: text[tags*16:][:values]}, true
}

// find returns the values from the first of a tag on, and how many the tag has.
func (h rpmHeader) find(tag, kind uint32) (values []byte, count int) {
	for t := h.tags; len(t) >= 16; t = t[16:] {
		if binary.BigEndian.Uint32(t) != tag || binary.BigEndian.Uint32(t[4:]) != kind {
			continue
		}
		at, n := binary.BigEndian.Uint32(t[8:]), binary.BigEndian.Uint32(t[12:])
		if uint64(at) > uint64(len(h.values)) || n > uint32(len(h.values)) {
			return nil, 0
		}
		return h.values[at:], int(n)
	}
	return nil, 0
}

func (h rpmHeader) text(tag uint32) string {
	values, count := h.find(tag, rpmString)
	if count == 0 {
		return ""
	}
	value, _, _ := bytes.Cut(values, []byte{0})
	return evidence.ShortText(string(value[:min(len(value), evidence.MaxTextBytes)]))
}

// installed returns the package. Imported keys are packages without an architecture and without files.
func (h rpmHeader) installed() installed {
	p := installed{name: h.text(rpmName), version: h.text(rpmVersion), arch: h.text(rpmArch)}
	if release := h.text(rpmRelease); release != "" {
		p.version += "-" + release
	}
	if epoch, count := h.find(rpmEpoch, rpmInt32); count == 1 && len(epoch) >= 4 {
		p.epoch = strconv.FormatUint(uint64(binary.BigEndian.Uint32(epoch)), 10)
	}
	return p
}

// nextString cuts off the first string of an array.
func nextString(values []byte) (first, rest []byte, ok bool) {
	return bytes.Cut(values, []byte{0})
}

// parseRPM finds wanted paths in the header of a package.
func (w wanted) parseRPM(text []byte, found func(path string, p installed)) {
	h, ok := parseRPMHeader(text)
	if !ok {
		return
	}
	var p installed
	h.eachFile(func(name []byte) {
		path, ok := w[string(name)]
		if !ok {
			return
		}
		if p.name == "" {
			p = h.installed()
		}
		found(path, p)
	})
}

// eachFile passes the path of each file of the package; it is valid until take returns.
func (h rpmHeader) eachFile(take func(path []byte)) {
	names, count := h.find(rpmOldFilenames, rpmStringArray)
	for range count {
		name, rest, ok := nextString(names)
		if !ok {
			break
		}
		names = rest
		take(name)
	}
	if dirs, ok := h.dirs(); ok {
		h.eachFileIn(dirs, take)
	}
}

// dirs returns the directories that files of the package are in.
func (h rpmHeader) dirs() (dirs [][]byte, ok bool) {
	values, count := h.find(rpmDirNames, rpmStringArray)
	if count > maxRPMDirs {
		return nil, false
	}
	dirs = make([][]byte, 0, min(count, 64))
	for range count {
		dir, rest, ok := nextString(values)
		if !ok {
			return nil, false
		}
		dirs, values = append(dirs, dir), rest
	}
	return dirs, true
}

// eachFileIn joins the base names of files with their directories.
func (h rpmHeader) eachFileIn(dirs [][]byte, take func(path []byte)) {
	indexes, n := h.find(rpmDirIndexes, rpmInt32)
	names, count := h.find(rpmBasenames, rpmStringArray)
	if count > n || len(indexes)/4 < n {
		return
	}
	var path []byte
	for i := range count {
		name, rest, ok := nextString(names)
		if !ok {
			return
		}
		names = rest
		dir := binary.BigEndian.Uint32(indexes[4*i:])
		if uint64(dir) >= uint64(len(dirs)) || len(dirs[dir])+len(name) > maxRPMPath {
			continue
		}
		path = append(append(path[:0], dirs[dir]...), name...)
		take(path)
	}
}
