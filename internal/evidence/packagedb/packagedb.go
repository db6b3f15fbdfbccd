// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package packagedb looks up which distribution package owns a file, in the databases of dpkg, apk and rpm.
//
// The databases belong to a container and may be hostile. Every read has a bound, no number in a file decides how much memory is
// allocated, and no file is opened but through the Root that the caller implements.
package packagedb

import (
	"errors"
	"io"
	"io/fs"
	"runtime"
	"time"

	"github.com/zastava-otel/zastava/internal/limit"
)

// limits bound one search. A Debian with 2,000 packages has a status of 2 MiB and lists of 20 MiB together, 400,000 lines; a server with as
// many packages 60 to 100 MiB of rpm, and a million files. Either takes less than a second of CPU time on a slow core.
var limits = limit.Limits{Bytes: maxRPMBytes, Items: 4 << 20, CPU: 3 * time.Second}

// maxDatabaseBytes bounds a database that is one text: dpkg's status, or apk's installed.
const maxDatabaseBytes = 16 << 20

var (
	// ErrFormat means that an rpm database does not have the format that its name promises.
	ErrFormat = errors.New("not an rpm database")
	// ErrIncomplete means that a database is being written, or a part of it is missing.
	ErrIncomplete = errors.New("the package database is being written, or a part of it is missing")
	// ErrStopped is what a Root returns to end the search: its time is over, or an earlier search of the same database reached a limit.
	ErrStopped = errors.New("the time for the sample is over")
)

// Root reads files below the root directory of a container. Names are absolute. Its methods return fs.ErrNotExist for what does not
// exist. The first file or directory that one of them opens for a search is a part of the database.
type Root interface {
	// ReadNames returns the names in a directory, at most limit of them, in no order.
	ReadNames(dir string, limit int) ([]string, error)
	// Open opens a regular file.
	Open(name string) (File, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Owners returns the package URL of the package that owns each of the files, by path. Paths without an owner are left out. On an error
// it returns what was found before; a *limit.Error says that the databases are larger, or more expensive to read, than any distribution's.
func Owners(root Root, paths []string) (map[string]string, error) {
	runtime.LockOSThread() // the CPU time that is bounded is the thread's
	defer runtime.UnlockOSThread()
	s := newSearch(root, limits)
	for _, path := range paths {
		s.wanted.add(path)
	}
	err := s.run()
	return s.purls(), err
}

// search is one run of Owners. Its memory is bounded by the number of wanted paths, whatever the databases have.
type search struct {
	root   Root
	budget *limit.Budget
	wanted wanted
	owners map[string]owner
	text   lineReader
}

// owner is a package of a database.
type owner struct {
	kind string // deb, apk or rpm
	installed
}

func newSearch(root Root, limits limit.Limits) *search {
	return &search{root: root, budget: limit.New(limits), wanted: wanted{}, owners: map[string]owner{}}
}

func (s *search) run() error {
	dpkgErr := s.readDpkg()
	if dpkgErr != nil && !errors.Is(dpkgErr, fs.ErrNotExist) {
		return dpkgErr
	}
	if err := s.readAPK(); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if dpkgErr == nil { // dpkg's system can have rpm installed, for other packages than its own
		return nil
	}
	return s.readRPM()
}

// own records the owner of a file. The first one stays: a hostile database has a million for each.
func (s *search) own(path, kind string, p installed) {
	if _, known := s.owners[path]; !known {
		s.owners[path] = owner{kind, p}
	}
}

// purls returns the package URLs of the owners that were found.
func (s *search) purls() map[string]string {
	if len(s.owners) == 0 {
		return nil
	}
	d := s.distro()
	purls := make(map[string]string, len(s.owners))
	for path, o := range s.owners {
		purls[path] = d.purl(o.kind, o.installed)
	}
	return purls
}

// installed is one package of a database.
type installed struct{ name, version, arch, epoch string }
