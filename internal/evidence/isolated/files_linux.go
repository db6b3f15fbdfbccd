// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence/procfs"
)

// maxFileMemory bounds what one process hands to the next: 8,192 files with their hashes are some 4 MiB.
const maxFileMemory = 16 << 20

// fileMemoryFD is the descriptor under which a process finds it: the first after the standard ones.
const fileMemoryFD = 3

// fileMemory is what a sampler process knows of files when it ends (hashes and build-ids by device, inode and times), for the process that
// starts next. It is memory of the kernel, charged to the collector, and nothing on disk.
type fileMemory struct {
	file *os.File // nil if there is none: each process starts with nothing
}

func newFileMemory() *fileMemory {
	fd, err := unix.MemfdCreate("zastava-sampler-files", unix.MFD_CLOEXEC)
	if err != nil {
		return &fileMemory{}
	}
	return &fileMemory{file: os.NewFile(uintptr(fd), "sampler files")}
}

// inheritedFiles returns the memory that the parent handed over, empty if it handed none.
func inheritedFiles() *fileMemory {
	var stat unix.Stat_t
	if unix.Fstat(fileMemoryFD, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return &fileMemory{}
	}
	unix.CloseOnExec(fileMemoryFD)
	return &fileMemory{file: os.NewFile(fileMemoryFD, "sampler files")}
}

// load gives the sampler what the last process knew. What cannot be read is not known: the files are read again.
func (m *fileMemory) load(sampler *procfs.Sampler) {
	if m.file == nil {
		return
	}
	_ = sampler.LoadFiles(io.NewSectionReader(m.file, 0, maxFileMemory))
}

// save replaces what is kept. A part is as good as nothing, so a failed write leaves nothing. All processes have one descriptor with one offset,
// so none is used: the next process may read while this one writes.
func (m *fileMemory) save(sampler *procfs.Sampler) {
	if m.file == nil {
		return
	}
	if m.file.Truncate(0) != nil {
		return
	}
	if sampler.SaveFiles(io.NewOffsetWriter(m.file, 0), maxFileMemory) != nil {
		_ = m.file.Truncate(0)
	}
}

// clear forgets what is kept.
func (m *fileMemory) clear() {
	if m.file != nil {
		_ = m.file.Truncate(0)
	}
}

// Close frees the memory.
func (m *fileMemory) Close() error {
	if m.file == nil {
		return nil
	}
	return m.file.Close()
}
