// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"bytes"
	"errors"
	"io/fs"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// readAPK reads the first of apk's databases that exists. The error is fs.ErrNotExist if none does.
func (s *search) readAPK() (err error) {
	for _, name := range []string{"/lib/apk/db/installed", "/usr/lib/apk/db/installed"} {
		var text []byte
		if text, err = s.root.ReadFile(name, maxDatabaseBytes); err == nil {
			s.wanted.parseAPK(text, func(path string, p installed) { s.own(path, "apk", p) })
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// parseAPK finds wanted paths in apk's database: P name, V version, A architecture, F directory, R file in it.
func (w wanted) parseAPK(text []byte, found func(path string, p installed)) {
	var p installed
	dir := ""
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			p, dir = installed{}, ""
			continue
		}
		if len(line) < 2 || line[1] != ':' {
			continue
		}
		value := string(line[2:])
		switch line[0] {
		case 'P':
			p.name = evidence.ShortText(value)
		case 'V':
			p.version = evidence.ShortText(value)
		case 'A':
			p.arch = evidence.ShortText(value)
		case 'F':
			dir = value
		case 'R':
			name := "/" + dir + "/" + value
			if dir == "" {
				name = "/" + value
			}
			if path, ok := w[name]; ok {
				found(path, p)
			}
		}
	}
}
