// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"sync"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/limit"
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

// parseRPM finds wanted paths in the header of a package. The cost is linear in the size of the header: directories are compared once, and
// not joined with each of their files.
func (w wanted) parseRPM(budget *limit.Budget, text []byte, found func(path string, p installed)) error {
	h, ok := parseRPMHeader(text)
	if !ok {
		return nil
	}
	once := sync.OnceValue(h.installed)
	own := func(path string, ok bool) {
		if ok {
			found(path, once())
		}
	}
	values, count := h.find(rpmOldFilenames, rpmStringArray)
	for range count {
		name, rest, ok := nextString(values)
		if !ok {
			break
		}
		if err := budget.Item(1); err != nil {
			return err
		}
		values = rest
		own(w.find(name))
	}
	dirs, ok := h.dirs(w)
	if !ok {
		return nil
	}
	return h.eachFileIn(budget, dirs, own)
}

// dirs returns the wanted names in each directory that files of the package are in.
func (h rpmHeader) dirs(w wanted) (dirs []names, ok bool) {
	values, count := h.find(rpmDirNames, rpmStringArray)
	if count > maxRPMDirs {
		return nil, false
	}
	dirs = make([]names, 0, min(count, 64))
	for range count {
		dir, rest, ok := nextString(values)
		if !ok {
			return nil, false
		}
		dirs, values = append(dirs, w.in(dir)), rest
	}
	return dirs, true
}

// eachFileIn passes what is found of the base names of files in their directories.
func (h rpmHeader) eachFileIn(budget *limit.Budget, dirs []names, take func(path string, ok bool)) error {
	indexes, n := h.find(rpmDirIndexes, rpmInt32)
	values, count := h.find(rpmBasenames, rpmStringArray)
	if count > n || len(indexes)/4 < n {
		return nil
	}
	for i := range count {
		name, rest, ok := nextString(values)
		if !ok {
			return nil
		}
		if err := budget.Item(1); err != nil {
			return err
		}
		values = rest
		if dir := binary.BigEndian.Uint32(indexes[4*i:]); uint64(dir) < uint64(len(dirs)) {
			take(dirs[dir].find(name))
		}
	}
	return nil
}
