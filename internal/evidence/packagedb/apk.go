// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"errors"
	"io/fs"
)

// readAPK reads the first of apk's databases that exists. The error is fs.ErrNotExist if none does.
func (s *search) readAPK() (err error) {
	for _, name := range []string{"/lib/apk/db/installed", "/usr/lib/apk/db/installed"} {
		stanza := apkStanza{wanted: s.wanted, found: func(path string, p installed) { s.own(path, "apk", p) }}
		if err = s.eachLineOf(name, maxDatabaseBytes, stanza.line); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// apkStanza is the part of apk's database about one package: P name, V version, A architecture, F directory, R file in it.
type apkStanza struct {
	installed
	wanted wanted
	dir    []byte
	names  names // wanted, in the directory
	found  func(path string, p installed)
}

// line adds a line; an empty one ends the stanza.
func (a *apkStanza) line(line []byte) (more bool) {
	if len(line) == 0 {
		a.installed = installed{}
		a.enter(nil)
		return true
	}
	if len(line) < 2 || line[1] != ':' {
		return true
	}
	value := line[2:]
	switch line[0] {
	case 'P':
		a.name = shortValue(value)
	case 'V':
		a.version = shortValue(value)
	case 'A':
		a.arch = shortValue(value)
	case 'F':
		a.enter(value)
	case 'R':
		if path, ok := a.names.find(value); ok {
			a.found(path, a.installed)
		}
	}
	return true
}

// enter sets the directory of the next files, empty for the root.
func (a *apkStanza) enter(dir []byte) {
	a.dir = append(a.dir[:0], '/')
	if len(dir) > 0 {
		a.dir = append(append(a.dir, dir...), '/')
	}
	a.names = a.wanted.in(a.dir)
}
