// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import "encoding/binary"

// Pages of a hash table of Berkeley DB (db_page.h).
const (
	berkeleyMagic    = 0x061561
	berkeleyMetaPage = 8
	berkeleyHashOld  = 2
	berkeleyHash     = 13
	berkeleyOverflow = 7
	berkeleyHead     = 26 // bytes before the offsets of the items
	berkeleyInline   = 1
	berkeleyOffPage  = 3
)

// berkeley reads a hash table of Berkeley DB page by page.
type berkeley struct {
	*rpmReader
	order    binary.ByteOrder // of the machine that wrote it
	pageSize int64
	lastPage int64
	page     []byte // of items
	overflow []byte // of a value
}

// readRPMBerkeley reads every page of the table: the items of a page are keys and values by turns, and each value is a header, or refers to
// overflow pages that have one.
func readRPMBerkeley(r *rpmReader, take func(header []byte) error) error {
	db := berkeley{rpmReader: r}
	if err := db.readMeta(); err != nil {
		return err
	}
	for n := int64(1); n <= db.lastPage; n++ {
		if err := db.at(db.page, n*db.pageSize); err != nil {
			return err
		}
		if kind := db.page[25]; kind != berkeleyHash && kind != berkeleyHashOld {
			continue
		}
		if err := db.values(take); err != nil {
			return err
		}
	}
	return nil
}

// readMeta reads the first page.
func (db *berkeley) readMeta() error {
	var meta [512]byte
	if err := db.at(meta[:], 0); err != nil {
		return err
	}
	db.order = binary.LittleEndian
	if db.order.Uint32(meta[12:]) != berkeleyMagic {
		db.order = binary.BigEndian
	}
	size := db.order.Uint32(meta[20:])
	encrypted, kind := meta[24] != 0, meta[25]
	switch {
	case db.order.Uint32(meta[12:]) != berkeleyMagic, kind != berkeleyMetaPage, encrypted:
		return ErrFormat
	case size < 512, size > 64<<10, size&(size-1) != 0:
		return ErrFormat
	}
	db.pageSize, db.lastPage = int64(size), int64(db.order.Uint32(meta[32:]))
	db.page, db.overflow = make([]byte, size), make([]byte, size)
	return nil
}

// values passes the values of the page of items.
func (db *berkeley) values(take func(header []byte) error) error {
	items := int(db.order.Uint16(db.page[20:]))
	if berkeleyHead+2*items > len(db.page) {
		return ErrFormat
	}
	offset := func(i int) int { return int(db.order.Uint16(db.page[berkeleyHead+2*i:])) }
	for i := 1; i < items; i += 2 {
		start, end := offset(i), offset(i-1) // items grow down from the end of the page
		if start >= end || end > len(db.page) {
			return ErrFormat
		}
		header, err := db.value(db.page[start:end])
		if err != nil {
			return err
		}
		if err := take(header); err != nil {
			return err
		}
	}
	return nil
}

func (db *berkeley) value(item []byte) ([]byte, error) {
	switch {
	case item[0] == berkeleyInline:
		return item[1:], db.charge(len(item))
	case item[0] == berkeleyOffPage && len(item) >= 12:
		return db.overflowValue(db.order.Uint32(item[4:]), db.order.Uint32(item[8:]))
	}
	return nil, ErrFormat
}

// overflowValue joins a value that has pages of its own, each of which has the number of the next.
func (db *berkeley) overflowValue(first, length uint32) ([]byte, error) {
	value, err := db.buffer(uint64(length))
	if err != nil {
		return nil, err
	}
	n := 0
	for number := first; n < len(value); number = db.order.Uint32(db.overflow[16:]) {
		if number == 0 {
			return nil, ErrFormat
		}
		if err := db.at(db.overflow, int64(number)*db.pageSize); err != nil {
			return nil, err
		}
		used := int(db.order.Uint16(db.overflow[22:]))
		if db.overflow[25] != berkeleyOverflow || used == 0 || berkeleyHead+used > len(db.overflow) {
			return nil, ErrFormat
		}
		n += copy(value[n:], db.overflow[berkeleyHead:][:used])
	}
	return value, nil
}
