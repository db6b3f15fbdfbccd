// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
)

// Bounds on an rpm database. A Fedora image has 12 MiB of it, a server with 2,000 packages 60 to 100 MiB.
const (
	maxRPMBytes  = 128 << 20 // read and parsed of one, for one sample
	maxRPMHeader = 16 << 20  // of one package
	maxRPMTags   = 4_096
	maxRPMDirs   = 65_536 // of one package
)

// errNotRPM: not an rpm database, or one that makes no sense.
var errNotRPM = errors.New("not an rpm database")

// rpmFormat reads the headers of all packages of a database, in no order. What take gets is good until it returns.
type rpmFormat func(r *rpmReader, take func(header []byte)) error

// rpmDatabases are where rpm keeps its database and in which format: SQLite since rpm 4.16 (Fedora 33, RHEL 9), ndb (SUSE), hash
// tables of Berkeley DB before (RHEL 8, Amazon Linux 2). Each format is read here as far as this one table needs it: a library for
// all of SQLite opens files by name, theirs and those beside them, and is larger than all else that evidence needs.
var rpmDatabases = []struct {
	path string
	read rpmFormat
}{
	{"/usr/lib/sysimage/rpm/rpmdb.sqlite", readRPMSQLite},
	{"/var/lib/rpm/rpmdb.sqlite", readRPMSQLite},
	{"/usr/lib/sysimage/rpm/Packages.db", readRPMNDB},
	{"/var/lib/rpm/Packages.db", readRPMNDB},
	{"/usr/lib/sysimage/rpm/Packages", readRPMBerkeley},
	{"/var/lib/rpm/Packages", readRPMBerkeley},
}

// rpmReader reads at offsets, so much altogether.
type rpmReader struct {
	r    io.ReaderAt
	left int64
	buf  []byte // for headers
}

// at reads a part of the file into a buffer of the caller's.
func (r *rpmReader) at(p []byte, at int64) error {
	if err := r.charge(len(p)); err != nil {
		return err
	}
	if at < 0 {
		return errNotRPM
	}
	n, err := r.r.ReadAt(p, at)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		return errNotRPM
	}
	return err
}

// charge takes bytes that are read or parsed off what there is: a part of the file may be referred to again and again.
func (r *rpmReader) charge(n int) error {
	if int64(n) > r.left {
		return errDatabaseTooLarge
	}
	r.left -= int64(n)
	return nil
}

// room gives a buffer for a header.
func (r *rpmReader) room(size uint64) ([]byte, error) {
	switch {
	case size > maxRPMHeader:
		return nil, errDatabaseTooLarge
	case size > uint64(cap(r.buf)):
		r.buf = make([]byte, size)
	}
	return r.buf[:size], nil
}

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

// find gives the values from where a tag's begin, and how many there are.
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
	return short(string(value[:min(len(value), 4*maxGoText)]))
}

// installed gives the package. Keys that were imported are packages of no architecture with no files.
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

// nextString cuts the first string off an array of them.
func nextString(values []byte) (first, rest []byte, ok bool) {
	end := bytes.IndexByte(values, 0)
	if end < 0 {
		return nil, nil, false
	}
	return values[:end], values[end+1:], true
}

// parseRPM finds wanted paths in the header of a package.
func (w wanted) parseRPM(text []byte, found func(path string, p installed)) {
	h, ok := parseRPMHeader(text)
	if !ok {
		return
	}
	var p installed
	match := func(name []byte) {
		path, ok := w[string(name)]
		if !ok {
			return
		}
		if p.name == "" {
			p = h.installed()
		}
		found(path, p)
	}
	names, count := h.find(rpmOldFilenames, rpmStringArray)
	for range count {
		var name []byte
		if name, names, ok = nextString(names); !ok {
			break
		}
		match(name)
	}

	values, count := h.find(rpmDirNames, rpmStringArray)
	if count > maxRPMDirs {
		return
	}
	dirs := make([][]byte, 0, min(count, 64))
	for range count {
		var dir []byte
		if dir, values, ok = nextString(values); !ok {
			return
		}
		dirs = append(dirs, dir)
	}
	indexes, n := h.find(rpmDirIndexes, rpmInt32)
	names, count = h.find(rpmBasenames, rpmStringArray)
	if count > n || len(indexes)/4 < n {
		return
	}
	var full []byte
	for i := range count {
		var name []byte
		if name, names, ok = nextString(names); !ok {
			return
		}
		dir := binary.BigEndian.Uint32(indexes[4*i:])
		if uint64(dir) >= uint64(len(dirs)) || len(dirs[dir])+len(name) > 4096 {
			continue
		}
		full = append(append(full[:0], dirs[dir]...), name...)
		match(full)
	}
}

// readRPMNDB reads the package database of rpm's own format: a table of slots, each of which says where a package's header is.
func readRPMNDB(r *rpmReader, take func(header []byte)) error {
	const page, block, slotSize = 4096, 16, 16
	var head [32]byte
	if err := r.at(head[:], 0); err != nil {
		return err
	}
	order := binary.LittleEndian
	pages := order.Uint32(head[12:])
	if string(head[:4]) != "RpmP" || order.Uint32(head[4:]) != 0 || pages == 0 || pages > 4096 {
		return errNotRPM
	}
	table := make([]byte, page)
	for n := range int64(pages) {
		if err := r.at(table, n*page); err != nil {
			return err
		}
		slots := table
		if n == 0 {
			slots = slots[len(head):]
		}
		for ; len(slots) >= slotSize; slots = slots[slotSize:] {
			if string(slots[:4]) != "Slot" {
				return errNotRPM
			}
			index, at := order.Uint32(slots[4:]), int64(order.Uint32(slots[8:]))*block
			if index == 0 {
				continue
			}
			var blob [16]byte
			if err := r.at(blob[:], at); err != nil {
				return err
			}
			if string(blob[:4]) != "BlbS" || order.Uint32(blob[4:]) != index {
				return errNotRPM
			}
			text, err := r.room(uint64(order.Uint32(blob[12:])))
			if err != nil {
				return err
			}
			if err := r.at(text, at+int64(len(blob))); err != nil {
				return err
			}
			take(text)
		}
	}
	return nil
}

// Pages of a hash table of Berkeley DB (db_page.h).
const (
	berkeleyMagic    = 0x061561
	berkeleyMetaPage = 8
	berkeleyHashOld  = 2
	berkeleyHash     = 13
	berkeleyOverflow = 7
	berkeleyHead     = 26
	berkeleyInline   = 1
	berkeleyOffPage  = 3
)

// readRPMBerkeley reads every page of a hash table: on those of entries, each second one is a value, a header or the pages of one.
func readRPMBerkeley(r *rpmReader, take func(header []byte)) error {
	var meta [512]byte
	if err := r.at(meta[:], 0); err != nil {
		return err
	}
	var order binary.ByteOrder = binary.LittleEndian
	if order.Uint32(meta[12:]) != berkeleyMagic {
		order = binary.BigEndian
	}
	size, last := order.Uint32(meta[20:]), order.Uint32(meta[32:])
	if order.Uint32(meta[12:]) != berkeleyMagic || meta[24] != 0 || meta[25] != berkeleyMetaPage ||
		size < 512 || size > 64<<10 || size&(size-1) != 0 {
		return errNotRPM
	}
	page, overflow := make([]byte, size), make([]byte, size)
	for n := int64(1); n <= int64(last); n++ {
		if err := r.at(page, n*int64(size)); err != nil {
			return err
		}
		if page[25] != berkeleyHash && page[25] != berkeleyHashOld {
			continue
		}
		entries := int(order.Uint16(page[20:]))
		if berkeleyHead+2*entries > len(page) {
			return errNotRPM
		}
		offset := func(i int) int { return int(order.Uint16(page[berkeleyHead+2*i:])) }
		for i := 1; i < entries; i += 2 {
			at, end := offset(i), offset(i-1) // items grow down from the end of the page
			if at >= end || end > len(page) {
				return errNotRPM
			}
			item := page[at:end]
			switch {
			case item[0] == berkeleyInline:
				if err := r.charge(len(item)); err != nil {
					return err
				}
				take(item[1:])
			case item[0] == berkeleyOffPage && len(item) >= 12:
				text, err := r.berkeleyPages(order, overflow, order.Uint32(item[4:]), order.Uint32(item[8:]))
				if err != nil {
					return err
				}
				take(text)
			default:
				return errNotRPM
			}
		}
	}
	return nil
}

// berkeleyPages puts a value together that is on pages of its own.
func (r *rpmReader) berkeleyPages(order binary.ByteOrder, page []byte, first, length uint32) ([]byte, error) {
	text, err := r.room(uint64(length))
	if err != nil {
		return nil, err
	}
	n := 0
	for at := first; n < len(text); at = order.Uint32(page[16:]) {
		if at == 0 {
			return nil, errNotRPM
		}
		if err := r.at(page, int64(at)*int64(len(page))); err != nil {
			return nil, err
		}
		used := int(order.Uint16(page[22:]))
		if page[25] != berkeleyOverflow || used == 0 || berkeleyHead+used > len(page) {
			return nil, errNotRPM
		}
		n += copy(text[n:], page[berkeleyHead:][:used])
	}
	return text, nil
}
