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
	"strings"
)

// maxDatabaseBytes bounds a database that is one text: dpkg's status, or apk's installed.
const maxDatabaseBytes = 16 << 20

var (
	// ErrTooLarge means that a database is larger than any distribution's.
	ErrTooLarge = errors.New("the package database is too large")
	// ErrFormat means that an rpm database does not have the format that its name promises.
	ErrFormat = errors.New("not an rpm database")
	// ErrIncomplete means that a database is being written, or a part of it is missing.
	ErrIncomplete = errors.New("the package database is being written, or a part of it is missing")
	// ErrStopped is what a Root returns to end the search: its time is over.
	ErrStopped = errors.New("the time for the sample is over")
)

// Root reads files below the root directory of a container. Names are absolute. Its methods return fs.ErrNotExist for what does not
// exist.
type Root interface {
	// ReadFile reads a regular file; larger ones than limit are ErrTooLarge.
	ReadFile(name string, limit int64) ([]byte, error)
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
// it returns what was found before.
func Owners(root Root, paths []string) (map[string]string, error) {
	s := &search{root: root, wanted: wanted{}, owners: map[string]string{}}
	for _, path := range paths {
		s.wanted.add(path)
	}
	return s.owners, s.run()
}

// search is one run of Owners.
type search struct {
	root   Root
	distro distro
	wanted wanted
	owners map[string]string
}

func (s *search) run() error {
	text, err := s.root.ReadFile("/usr/lib/os-release", 64<<10)
	if err != nil {
		text, _ = s.root.ReadFile("/etc/os-release", 64<<10)
	}
	s.distro = parseOSRelease(text)
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

// own records the owner of a file.
func (s *search) own(path, kind string, p installed) { s.owners[path] = s.distro.purl(kind, p) }

// installed is one package of a database.
type installed struct{ name, version, arch, epoch string }

// wanted has the paths to find owners for: in each spelling that a database may use, by the spelling of the kernel.
type wanted map[string]string

// add adds a path. Where /lib is a link to /usr/lib, the kernel uses the one spelling and many packages still use the other.
func (w wanted) add(path string) {
	w[path] = path
	if rest, ok := strings.CutPrefix(path, "/usr/"); ok {
		w["/"+rest] = path
	} else {
		w["/usr"+path] = path
	}
}
