// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"encoding/binary"
	"math"
)

// maxSQLiteDepth is more than the depth of any tree: one of depth 8 has more pages than a file can have.
const maxSQLiteDepth = 16

// sqlite reads the rows of a table by SQLite's file format (sqlite.org/fileformat.html).
type sqlite struct {
	*rpmReader
	page   int64                      // size of a page
	usable int                        // bytes of a page, without those that extensions reserve
	pages  int64                      // how many may still be visited: no tree has more than the file
	path   [maxSQLiteDepth + 1][]byte // a page for each depth
}

// Kinds of pages of a table's tree.
const (
	sqliteInterior = 0x05
	sqliteLeaf     = 0x0d
)

// readRPMSQLite reads the table Packages (hnum, blob).
func readRPMSQLite(r *rpmReader, take func(header []byte) error) error {
	var head [100]byte
	if err := r.at(head[:], 0); err != nil {
		return err
	}
	db := sqlite{rpmReader: r, page: int64(binary.BigEndian.Uint16(head[16:]))}
	if db.page == 1 {
		db.page = 64 << 10
	}
	db.usable = int(db.page) - int(head[20])
	if string(head[:16]) != "SQLite format 3\x00" || db.page < 512 || db.page&(db.page-1) != 0 || db.usable < 480 {
		return ErrFormat
	}
	db.pages = maxRPMBytes / db.page
	root := int64(0)
	err := db.rows(1, 0, func(row []byte) error {
		values := columns(row)
		if len(values) >= 4 && string(values[0].bytes) == "table" && string(values[1].bytes) == "Packages" {
			root = values[3].number()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if root <= 1 {
		return ErrFormat
	}
	return db.rows(root, 0, func(row []byte) error {
		if values := columns(row); len(values) >= 2 {
			return take(values[1].bytes)
		}
		return nil
	})
}

// rows passes the rows below a page of a table's tree, in order.
func (db *sqlite) rows(number int64, depth int, take func(row []byte) error) error {
	if db.pages--; db.pages < 0 || depth > maxSQLiteDepth || number < 1 || number > math.MaxUint32 {
		return ErrFormat
	}
	if db.path[depth] == nil {
		db.path[depth] = make([]byte, db.page)
	}
	page := db.path[depth]
	if err := db.at(page, (number-1)*db.page); err != nil {
		return err
	}
	head := page
	if number == 1 {
		head = page[100:] // after the header of the file
	}
	switch head[0] {
	case sqliteInterior:
		return db.children(page, head, depth, take)
	case sqliteLeaf:
		return db.leaf(page, head, take)
	}
	return ErrFormat
}

// children passes the rows below an interior page: those of each cell's child, then those of the last child, which the head has.
func (db *sqlite) children(page, head []byte, depth int, take func(row []byte) error) error {
	cells := int(binary.BigEndian.Uint16(head[3:]))
	if 12+2*cells > len(head) {
		return ErrFormat
	}
	for i := range cells {
		at := int(binary.BigEndian.Uint16(head[12+2*i:]))
		if at+4 > len(page) {
			return ErrFormat
		}
		if err := db.rows(int64(binary.BigEndian.Uint32(page[at:])), depth+1, take); err != nil {
			return err
		}
	}
	return db.rows(int64(binary.BigEndian.Uint32(head[8:])), depth+1, take)
}

// leaf passes the rows of a leaf page.
func (db *sqlite) leaf(page, head []byte, take func(row []byte) error) error {
	cells := int(binary.BigEndian.Uint16(head[3:]))
	if 8+2*cells > len(head) {
		return ErrFormat
	}
	for i := range cells {
		at := int(binary.BigEndian.Uint16(head[8+2*i:]))
		if at >= db.usable {
			return ErrFormat
		}
		row, err := db.row(page[at:db.usable])
		if err != nil {
			return err
		}
		if err := take(row); err != nil {
			return err
		}
	}
	return nil
}

// row joins a row: its beginning is in the cell, the rest on overflow pages.
func (db *sqlite) row(cell []byte) ([]byte, error) {
	size, n := varint(cell)
	if n == 0 {
		return nil, ErrFormat
	}
	_, k := varint(cell[n:]) // the row's number
	if k == 0 {
		return nil, ErrFormat
	}
	cell = cell[n+k:]
	row, err := db.buffer(size)
	if err != nil {
		return nil, err
	}
	here := db.inCell(len(row))
	if here > len(cell) {
		return nil, ErrFormat
	}
	if err := db.charge(here); err != nil {
		return nil, err
	}
	copy(row, cell[:here])
	if here == len(row) {
		return row, nil
	}
	if here+4 > len(cell) {
		return nil, ErrFormat
	}
	return row, db.overflow(row[here:], binary.BigEndian.Uint32(cell[here:]))
}

// inCell returns how many bytes of a row of a size are in its cell ("Payload" of the file format).
func (db *sqlite) inCell(size int) int {
	most := db.usable - 35
	if size <= most {
		return size
	}
	least := (db.usable-12)*32/255 - 23
	if here := least + (size-least)%(db.usable-4); here <= most {
		return here
	}
	return least
}

// overflow fills rest from overflow pages, each of which begins with the number of the next.
func (db *sqlite) overflow(rest []byte, next uint32) error {
	for len(rest) > 0 {
		if next == 0 {
			return ErrFormat
		}
		at := (int64(next) - 1) * db.page
		var link [4]byte
		if err := db.at(link[:], at); err != nil {
			return err
		}
		part := rest[:min(len(rest), db.usable-4)]
		if err := db.at(part, at+4); err != nil {
			return err
		}
		next, rest = binary.BigEndian.Uint32(link[:]), rest[len(part):]
	}
	return nil
}

// column is a value of a row; its bytes are a part of the row.
type column struct {
	integer bool
	bytes   []byte
}

// number returns an integer of at most 48 bits, 0 for any other value.
func (c column) number() (n int64) {
	if !c.integer || len(c.bytes) > 6 {
		return 0
	}
	for _, b := range c.bytes {
		n = n<<8 | int64(b)
	}
	return n
}

// columns decodes the first columns of a row; nil if the row is invalid.
func columns(row []byte) (values []column) {
	size, n := varint(row)
	if n == 0 || size > uint64(len(row)) || size < uint64(n) {
		return nil
	}
	kinds, rest := row[n:size], row[size:]
	for len(kinds) > 0 && len(values) < 8 {
		kind, n := varint(kinds)
		if n == 0 {
			return nil
		}
		kinds = kinds[n:]
		var length uint64
		switch {
		case kind >= 12:
			length = (kind - 12) / 2
		case kind >= 1 && kind <= 7:
			length = [...]uint64{0, 1, 2, 3, 4, 6, 8, 8}[kind]
		}
		if length > uint64(len(rest)) {
			return nil
		}
		values = append(values, column{integer: kind >= 1 && kind <= 6, bytes: rest[:length]})
		rest = rest[length:]
	}
	return values
}

// varint decodes a number of one to nine bytes; n is 0 if there is none.
func varint(text []byte) (value uint64, n int) {
	for i := range min(len(text), 9) {
		if i == 8 {
			return value<<8 | uint64(text[i]), 9
		}
		value = value<<7 | uint64(text[i]&0x7f)
		if text[i] < 0x80 {
			return value, i + 1
		}
	}
	return 0, 0
}
