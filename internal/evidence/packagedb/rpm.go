// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"errors"
	"io"
	"io/fs"

	"github.com/zastava-otel/zastava/internal/limit"
)

// Bounds on an rpm database. A Fedora image has 12 MiB of it, a server with 2,000 packages 60 to 100 MiB.
const (
	maxRPMBytes  = 128 << 20 // read and parsed of one, for one sample
	maxRPMHeader = 16 << 20  // of one package
	maxRPMTags   = 4_096
	maxRPMDirs   = 65_536 // of one package
)

// rpmFormat reads the headers of all packages of a database, in no order, until take returns an error. The slice that
// take receives is valid until it returns.
type rpmFormat func(r *rpmReader, take func(header []byte) error) error

// rpmDatabases are the places and formats of rpm's database: SQLite since rpm 4.16 (Fedora 33, RHEL 9), ndb (SUSE), hash tables of
// Berkeley DB before (RHEL 8, Amazon Linux 2). Each format is implemented as far as this one table needs it; why not by a library is in
// docs/decisions/0002-own-readers-of-rpm-and-elf.md.
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

// readRPM reads the first of rpm's databases that exists.
func (s *search) readRPM() error {
	for _, database := range rpmDatabases {
		file, err := s.root.Open(database.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = database.read(&rpmReader{r: file, budget: s.budget}, func(header []byte) error {
			return s.wanted.parseRPM(s.budget, header, func(path string, p installed) { s.own(path, "rpm", p) })
		})
		_ = file.Close() // nothing was written
		if err == nil && s.writtenAhead(database.path) {
			return ErrIncomplete
		}
		return err
	}
	return nil
}

// writtenAhead reports whether SQLite has changes beside a database that are not in it yet: rpm is at work, or was ended while it was.
func (s *search) writtenAhead(name string) bool {
	log, err := s.root.Open(name + "-wal")
	if err != nil {
		return false
	}
	_ = log.Close()
	return log.Size() > 0
}

// rpmReader reads a database at offsets, within a budget.
type rpmReader struct {
	r      io.ReaderAt
	budget *limit.Budget
	buf    []byte // for headers
}

// at fills p from an offset. The end of the file within it is ErrFormat.
func (r *rpmReader) at(p []byte, at int64) error {
	if err := r.charge(len(p)); err != nil {
		return err
	}
	if at < 0 {
		return ErrFormat
	}
	n, err := r.r.ReadAt(p, at)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		return ErrFormat
	}
	return err
}

// charge counts an item, and the bytes of it that are read or parsed. A part counts each time: a file can refer to it again and again.
func (r *rpmReader) charge(n int) error {
	if err := r.budget.Take(int64(n)); err != nil {
		return err
	}
	return r.budget.Item(1)
}

// buffer returns the buffer for a header. It is reused for the next.
func (r *rpmReader) buffer(size uint64) ([]byte, error) {
	switch {
	case size > maxRPMHeader:
		return nil, &limit.Error{Kind: limit.Bytes, Max: maxRPMHeader}
	case size > uint64(cap(r.buf)):
		r.buf = make([]byte, size)
	}
	return r.buf[:size], nil
}
