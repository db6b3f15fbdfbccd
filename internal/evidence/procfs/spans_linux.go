// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxSpans is how many mappings are requested one by one. Of a process with more, the text is read.
const maxSpans = 4_096

// procmapQuery is PROCMAP_QUERY of linux/fs.h (Linux 6.11): a mapping of a process by address, through its maps file.
const procmapQuery = 0xc0686611

// The request: the mapping at the address or the next one, of those of files.
const (
	coveringOrNext = 0x10
	fileBacked     = 0x20
)

// procmap is struct procmap_query.
type procmap struct {
	size, flags, addr           uint64
	start, end, access          uint64
	pageSize, offset, inode     uint64
	major, minor                uint32
	nameSize, buildIDSize       uint32
	nameAddress, buildIDAddress uint64
}

// errManySpans means that there are more mappings of files than are requested one by one.
var errManySpans = errors.New("more mappings of files than are requested one by one")

// spansOf returns the sum of the mappings of files of an open maps file. The kernel does not format their names for it, which is most of the
// cost of reading the text. The error is ENOTTY if the kernel does not have PROCMAP_QUERY.
func spansOf(maps int) (sum spanSum, err error) {
	query := procmap{flags: coveringOrNext | fileBacked}
	query.size = uint64(unsafe.Sizeof(query))
	for range maxSpans {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(maps), procmapQuery, uintptr(unsafe.Pointer(&query))) //nolint:gosec // there is no other way to pass a struct to the kernel
		switch {
		case errors.Is(errno, unix.EINTR):
			continue
		case errors.Is(errno, unix.ENOENT):
			return sum, nil
		case errno != 0:
			return 0, errno
		}
		if query.inode != 0 {
			sum.add(span{
				start: query.start, end: query.end, offset: query.offset, inode: query.inode,
				device: device{query.major, query.minor}, flags: query.access,
			})
		}
		query.addr = query.end
	}
	return 0, errManySpans
}
