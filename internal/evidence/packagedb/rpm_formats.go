// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import "encoding/binary"

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
		return ErrFormat
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
				return ErrFormat
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
				return ErrFormat
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
		return ErrFormat
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
			return ErrFormat
		}
		offset := func(i int) int { return int(order.Uint16(page[berkeleyHead+2*i:])) }
		for i := 1; i < entries; i += 2 {
			at, end := offset(i), offset(i-1) // items grow down from the end of the page
			if at >= end || end > len(page) {
				return ErrFormat
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
				return ErrFormat
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
			return nil, ErrFormat
		}
		if err := r.at(page, int64(at)*int64(len(page))); err != nil {
			return nil, err
		}
		used := int(order.Uint16(page[22:]))
		if page[25] != berkeleyOverflow || used == 0 || berkeleyHead+used > len(page) {
			return nil, ErrFormat
		}
		n += copy(text[n:], page[berkeleyHead:][:used])
	}
	return text, nil
}
