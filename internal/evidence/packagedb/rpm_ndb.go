// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import "encoding/binary"

// Layout of rpm's own format, ndb: pages of slots at the beginning of the file, then blobs. A slot says where the blob with a package's
// header is.
const (
	ndbPageSize  = 4096
	ndbBlockSize = 16 // unit of the offset of a blob
	ndbSlotSize  = 16
	ndbHeadSize  = 32
	ndbMaxPages  = 4096 // for a million packages
)

// readRPMNDB reads a database in rpm's own format.
func readRPMNDB(r *rpmReader, take func(header []byte) error) error {
	var head [ndbHeadSize]byte
	if err := r.at(head[:], 0); err != nil {
		return err
	}
	order := binary.LittleEndian
	version, pages := order.Uint32(head[4:]), order.Uint32(head[12:])
	if string(head[:4]) != "RpmP" || version != 0 || pages == 0 || pages > ndbMaxPages {
		return ErrFormat
	}
	page := make([]byte, ndbPageSize)
	for n := range int64(pages) {
		if err := r.at(page, n*ndbPageSize); err != nil {
			return err
		}
		slots := page
		if n == 0 {
			slots = page[ndbHeadSize:]
		}
		if err := r.ndbSlots(slots, take); err != nil {
			return err
		}
	}
	return nil
}

// ndbSlots reads the packages of a page of slots.
func (r *rpmReader) ndbSlots(slots []byte, take func(header []byte) error) error {
	order := binary.LittleEndian
	for ; len(slots) >= ndbSlotSize; slots = slots[ndbSlotSize:] {
		if string(slots[:4]) != "Slot" {
			return ErrFormat
		}
		number := order.Uint32(slots[4:])
		if number == 0 {
			continue // the slot is free
		}
		header, err := r.ndbBlob(number, int64(order.Uint32(slots[8:]))*ndbBlockSize)
		if err != nil {
			return err
		}
		if err := take(header); err != nil {
			return err
		}
	}
	return nil
}

// ndbBlob reads the blob of a package, which repeats the package's number.
func (r *rpmReader) ndbBlob(number uint32, at int64) ([]byte, error) {
	var head [16]byte
	if err := r.at(head[:], at); err != nil {
		return nil, err
	}
	order := binary.LittleEndian
	if string(head[:4]) != "BlbS" || order.Uint32(head[4:]) != number {
		return nil, ErrFormat
	}
	header, err := r.buffer(uint64(order.Uint32(head[12:])))
	if err != nil {
		return nil, err
	}
	return header, r.at(header, at+int64(len(head)))
}
