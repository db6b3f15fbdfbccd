// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"bytes"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/limit"
)

// Bounds on a dpkg database.
const (
	maxListBytes = 4 << 20 // of one package's list of files
	maxLists     = 16_384
	// maxListings is how many lists are remembered that have the same file: those of one package for several architectures, and of packages
	// that are not installed.
	maxListings = 8
)

const (
	dpkgStatus    = "/var/lib/dpkg/status"
	dpkgStatusDir = "/var/lib/dpkg/status.d"
	dpkgInfo      = "/var/lib/dpkg/info"
)

// readDpkg reads dpkg's database, or that of an image without dpkg. The error is fs.ErrNotExist if there is neither. The lists of files are
// read first, so that of the packages only those are kept that own a wanted file.
func (s *search) readDpkg() error {
	status, err := s.root.Open(dpkgStatus)
	if err == nil {
		err = status.Close()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s.readStatusDir()
	case err != nil:
		return err
	case status.Size() > maxDatabaseBytes:
		return &limit.Error{Kind: limit.Bytes, Max: maxDatabaseBytes}
	}
	listings := map[string][]string{} // the lists that have a path
	listErr := s.readLists(dpkgInfo, ".list", func(list string, line []byte) {
		if path, ok := s.wanted.find(line); ok && len(listings[path]) < maxListings {
			listings[path] = append(listings[path], list)
		}
	}, nil)
	found, err := s.ownListed(listings)
	switch {
	case err != nil:
		return err
	case !found:
		return s.readStatusDir()
	case errors.Is(listErr, fs.ErrNotExist):
		return ErrIncomplete
	}
	return listErr
}

// ownListed finds the packages of lists in dpkg's status, and makes them the owners of the paths. It reports whether the status has any
// package. With an error, what was found before it counts.
func (s *search) ownListed(listings map[string][]string) (found bool, err error) {
	packages := map[string]installed{} // by the names of their lists
	for _, lists := range listings {
		for _, list := range lists {
			packages[list] = installed{}
		}
	}
	err = s.eachPackageOf(dpkgStatus, maxDatabaseBytes, func(p installed) bool {
		found = true
		for _, list := range []string{p.name, p.name + ":" + p.arch} { // lists are named both ways
			if _, ok := packages[list]; ok {
				packages[list] = p
			}
		}
		return true
	})
	for path, lists := range listings {
		for _, list := range lists {
			if p := packages[list]; p.name != "" {
				s.own(path, "deb", p)
			}
		}
	}
	return found, err
}

// readStatusDir reads a database of images without dpkg: for each package a file with its stanza of status, and one with the sums of
// its files beside it.
func (s *search) readStatusDir() error {
	found := map[string]struct{}{} // of one package
	return s.readLists(dpkgStatusDir, ".md5sums", func(_ string, line []byte) {
		if path, ok := s.wanted.findSum(line); ok && s.owners[path].name == "" {
			found[path] = struct{}{}
		}
	}, func(list string) error {
		if len(found) == 0 {
			return nil
		}
		defer clear(found)
		return s.eachPackageOf(path.Join(dpkgStatusDir, list), maxListBytes, func(p installed) bool {
			for path := range found {
				s.own(path, "deb", p)
			}
			return false // the file is of one package
		})
	})
}

// readLists reads the files of a directory that have a suffix. It passes each line with the rest of the file's name, and calls end after each
// file, if it is not nil. A file that cannot be read does not end the reading; the error is that of the first.
func (s *search) readLists(dir, suffix string, take func(list string, line []byte), end func(list string) error) error {
	names, err := s.root.ReadNames(dir, maxLists+1)
	if err != nil {
		return err
	}
	var failure error
	for _, name := range names[:min(len(names), maxLists)] {
		list, ok := strings.CutSuffix(name, suffix)
		if !ok {
			continue
		}
		err := s.eachLineOf(path.Join(dir, name), maxListBytes, func(line []byte) bool {
			take(list, line)
			return true
		})
		if err == nil && end != nil {
			err = end(list)
		}
		if errors.Is(err, ErrStopped) || s.budget.Err() != nil {
			return err
		}
		if failure == nil {
			failure = err
		}
	}
	if len(names) > maxLists {
		return &limit.Error{Kind: limit.Items, Max: maxLists}
	}
	return failure
}

// eachPackageOf passes the installed packages of a status file until take returns false.
func (s *search) eachPackageOf(name string, maximum int64, take func(p installed) (more bool)) error {
	stanza := dpkgStanza{take: take}
	err := s.eachLineOf(name, maximum, stanza.line)
	if err == nil && !stanza.done {
		stanza.end()
	}
	return err
}

// dpkgStanza is the part of a status file about one package.
type dpkgStanza struct {
	installed
	status string
	take   func(p installed) (more bool)
	done   bool // take wants no more
}

// line adds a line; an empty one ends the stanza.
func (d *dpkgStanza) line(line []byte) (more bool) {
	if len(line) == 0 {
		d.end()
		return !d.done
	}
	key, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || line[0] == ' ' {
		return true
	}
	switch string(key) {
	case "Package":
		d.name = shortValue(value)
	case "Version":
		d.version = shortValue(value)
	case "Architecture":
		d.arch = shortValue(value)
	case "Status":
		d.status = shortValue(value)
	}
	return true
}

func (d *dpkgStanza) end() {
	// Stanzas in status.d of images without dpkg have no Status field.
	if d.name != "" && (d.status == "" || strings.HasSuffix(d.status, " installed")) {
		d.done = !d.take(d.installed)
	}
	d.installed, d.status = installed{}, ""
}

func shortValue(value []byte) string {
	value = bytes.TrimSpace(value)
	return evidence.ShortText(string(value[:min(len(value), evidence.MaxTextBytes)]))
}

// findSum returns the wanted path of a line of sums: sum, two blanks, path without the slash before it.
func (w wanted) findSum(line []byte) (path string, ok bool) {
	_, name, ok := bytes.Cut(line, []byte("  "))
	if !ok {
		return "", false
	}
	return w.find(append([]byte{'/'}, bytes.TrimPrefix(name, []byte("./"))...))
}
