// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"encoding/binary"
	"math"
)

// maxSQLiteDepth is far beyond any tree's: one of depth 8 holds more pages than a file can have.
const maxSQLiteDepth = 16

// sqlite reads the rows of a table by SQLite's file format (sqlite.org/fileformat.html).
type sqlite struct {
	*rpmReader
	page   int64 // its size
	usable int   // of it, less what extensions reserve
	pages  int64 // that may still be visited: no tree has more than the file
}

// Kinds of pages of a table's tree.
const (
	sqliteInterior = 0x05
	sqliteLeaf     = 0x0d
)

// readRPMSQLite reads the table Packages (hnum, blob).
func readRPMSQLite(r *rpmReader, take func(header []byte)) error {
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
	err := db.rows(1, 0, func(row []byte) {
		values := columns(row)
		if len(values) >= 4 && string(values[0].bytes) == "table" && string(values[1].bytes) == "Packages" {
			root = values[3].number()
		}
	})
	if err != nil {
		return err
	}
	if root <= 1 {
		return ErrFormat
	}
	return db.rows(root, 0, func(row []byte) {
		if values := columns(row); len(values) >= 2 {
			take(values[1].bytes)
		}
	})
}

// rows gives the rows below a page of a table's tree, in order.
func (db *sqlite) rows(number int64, depth int, take func(row []byte)) error {
	if db.pages--; db.pages < 0 || depth > maxSQLiteDepth || number < 1 || number > math.MaxUint32 {
		return ErrFormat
	}
	page := make([]byte, db.page)
	if err := db.at(page, (number-1)*db.page); err != nil {
		return err
	}
	head := page
	if number == 1 {
		head = page[100:]
	}
	cells := int(binary.BigEndian.Uint16(head[3:]))
	switch head[0] {
	case sqliteInterior:
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
	case sqliteLeaf:
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
			take(row)
		}
		return nil
	}
	return ErrFormat
}

// row puts a row together: what of it is in the cell, and the rest on pages of its own.
func (db *sqlite) row(cell []byte) ([]byte, error) {
	size, n := varint(cell)
	if n == 0 {
		return nil, ErrFormat
	}
	_, k := varint(cell[n:]) // its number
	if k == 0 {
		return nil, ErrFormat
	}
	cell = cell[n+k:]
	row, err := db.room(size)
	if err != nil {
		return nil, err
	}
	here := len(row)
	if most := db.usable - 35; here > most {
		least := (db.usable-12)*32/255 - 23
		if here = least + (len(row)-least)%(db.usable-4); here > most {
			here = least
		}
	}
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
	next := binary.BigEndian.Uint32(cell[here:])
	for rest := row[here:]; len(rest) > 0; {
		if next == 0 {
			return nil, ErrFormat
		}
		at := (int64(next) - 1) * db.page
		var link [4]byte
		if err := db.at(link[:], at); err != nil {
			return nil, err
		}
		part := rest[:min(len(rest), db.usable-4)]
		if err := db.at(part, at+4); err != nil {
			return nil, err
		}
		next, rest = binary.BigEndian.Uint32(link[:]), rest[len(part):]
	}
	return row, nil
}

// column is a value of a row; its bytes are a part of the row.
type column struct {
	integer bool
	bytes   []byte
}

// number gives an integer of at most 48 bits; 0 = it is none.
func (c column) number() (n int64) {
	if !c.integer || len(c.bytes) > 6 {
		return 0
	}
	for _, b := range c.bytes {
		n = n<<8 | int64(b)
	}
	return n
}

// columns takes the first columns of a row apart.
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

// varint reads a number of one to nine bytes; n = 0: there is none.
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
