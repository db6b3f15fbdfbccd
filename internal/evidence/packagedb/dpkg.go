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
)

// Bounds on a dpkg database. A Debian with 2,000 packages has a status of 2 MiB and lists of 20 MiB together.
const (
	maxListBytes  = 4 << 20  // of one package's list of files
	maxListsBytes = 64 << 20 // of all
	maxLists      = 16_384
)

// readDpkg reads dpkg's database, or that of an image without dpkg. The error is fs.ErrNotExist if there is neither.
func (s *search) readDpkg() error {
	text, err := s.root.ReadFile("/var/lib/dpkg/status", maxDatabaseBytes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	packages := parseDpkgStatus(text)
	if len(packages) > 0 {
		err = s.readLists("/var/lib/dpkg/info", ".list", func(name string, text []byte) {
			if p, ok := packages[name]; ok {
				s.wanted.parseDpkgList(text, func(path string) { s.own(path, "deb", p) })
			}
		})
		if errors.Is(err, fs.ErrNotExist) {
			return ErrIncomplete
		}
		return err
	}
	return s.readStatusDir("/var/lib/dpkg/status.d")
}

// readStatusDir reads a database of images without dpkg: for each package a file with its stanza of status, and one with the sums of
// its files beside it.
func (s *search) readStatusDir(dir string) error {
	return s.readLists(dir, ".md5sums", func(name string, text []byte) {
		var paths []string
		s.wanted.parseMD5Sums(text, func(path string) { paths = append(paths, path) })
		if len(paths) == 0 {
			return
		}
		stanza, err := s.root.ReadFile(path.Join(dir, name), maxListBytes)
		if err != nil {
			return
		}
		for _, p := range parseDpkgStatus(stanza) {
			for _, path := range paths {
				s.own(path, "deb", p)
			}
		}
	})
}

// readLists reads the files of a directory that have a suffix, and passes each with the rest of its name. A file that cannot be read
// does not end the reading.
func (s *search) readLists(dir, suffix string, take func(name string, text []byte)) error {
	names, err := s.root.ReadNames(dir, maxLists)
	if err != nil {
		return err
	}
	var failures error
	total := 0
	for _, name := range names {
		bare, ok := strings.CutSuffix(name, suffix)
		if !ok {
			continue
		}
		text, err := s.root.ReadFile(path.Join(dir, name), maxListBytes)
		if errors.Is(err, ErrStopped) {
			return err
		}
		if err != nil {
			failures = errors.Join(failures, err)
			continue
		}
		if total += len(text); total > maxListsBytes {
			return ErrTooLarge
		}
		take(bare, text)
	}
	return failures
}

// parseDpkgStatus returns the installed packages of a dpkg status file, each by its name and by name:arch: lists of files are named both
// ways.
func parseDpkgStatus(text []byte) map[string]installed {
	packages := map[string]installed{}
	var p installed
	status := ""
	end := func() {
		// Stanzas in status.d of images without dpkg have no Status field.
		if p.name != "" && (status == "" || strings.HasSuffix(status, " installed")) {
			packages[p.name], packages[p.name+":"+p.arch] = p, p
		}
		p, status = installed{}, ""
	}
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			end()
			continue
		}
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || line[0] == ' ' {
			continue
		}
		switch string(key) {
		case "Package":
			p.name = evidence.ShortText(string(bytes.TrimSpace(value)))
		case "Version":
			p.version = evidence.ShortText(string(bytes.TrimSpace(value)))
		case "Architecture":
			p.arch = evidence.ShortText(string(bytes.TrimSpace(value)))
		case "Status":
			status = evidence.ShortText(string(bytes.TrimSpace(value)))
		}
	}
	end()
	return packages
}

// parseDpkgList finds wanted paths in a list of files: one a line.
func (w wanted) parseDpkgList(text []byte, found func(path string)) {
	for line := range bytes.Lines(text) {
		if path, ok := w[string(bytes.TrimRight(line, "\r\n"))]; ok {
			found(path)
		}
	}
}

// parseMD5Sums finds wanted paths in a list of sums: sum, two blanks, path without the slash before it.
func (w wanted) parseMD5Sums(text []byte, found func(path string)) {
	for line := range bytes.Lines(text) {
		_, name, ok := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte("  "))
		if !ok {
			continue
		}
		if path, ok := w["/"+strings.TrimPrefix(string(name), "./")]; ok {
			found(path)
		}
	}
}
