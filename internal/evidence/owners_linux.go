// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"errors"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Bounds on a package database. A Debian with 2,000 packages has a status of 2 MiB and lists of 20 MiB together.
const (
	maxDatabaseBytes = 16 << 20 // of status, or of apk's installed
	maxListBytes     = 4 << 20  // of one package's list of files
	maxListsBytes    = 64 << 20 // of all
	maxLists         = 16_384
	listsAStep       = 16
)

// packages looks up which distribution package owns each file.
func (l *look) packages() {
	var root rootDir
	var err error
	l.do(func() {
		var main *process
		if main, err = openProcess(l.sampler.config.ProcRoot, l.target.PID, l.scratch); err == nil {
			defer main.close()
			root, err = main.root()
		}
	})
	if err != nil {
		l.settleOwners(reasonOf(err))
		return
	}
	defer root.close()
	w := wanted{}
	for _, d := range l.files { // only this thread changes the list
		if !d.Deleted {
			w.add(d.Path)
		}
	}
	owners := map[string]string{}
	known, reason := l.readDatabases(root.fd, w, owners)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sealed {
		return
	}
	for _, d := range l.files {
		owner := owners[d.Path]
		switch {
		case owner != "" && !d.Deleted:
			d.Package = Present(owner)
		case reason != "":
			d.Package = Unknown[string](reason)
		case known && !d.Deleted:
			d.Package = Absent[string]()
		case d.Deleted:
			d.Package = Unknown[string](ReasonDeletedFile)
		default:
			d.Package = Absent[string]() // no database of a kind that is read, so none that lists it
		}
	}
}

func (l *look) settleOwners(reason Reason) {
	l.publish(func(*Sample) {
		for _, d := range l.files {
			d.Package = Unknown[string](reason)
		}
	})
}

// readDatabases fills in the owners. A database that is there and cannot be read is a reason.
func (l *look) readDatabases(root int, w wanted, owners map[string]string) (known bool, reason Reason) {
	var dist distro
	l.do(func() {
		text, err := readInRoot(root, "/usr/lib/os-release", 64<<10)
		if err != nil {
			text, _ = readInRoot(root, "/etc/os-release", 64<<10)
		}
		dist = parseOSRelease(text)
	})
	dpkg, err := l.readDpkg(root, dist, w, owners)
	if err != nil {
		return dpkg, databaseReason(err)
	}
	for _, name := range []string{"/lib/apk/db/installed", "/usr/lib/apk/db/installed"} {
		var text []byte
		l.do(func() {
			if text, err = readInRoot(root, name, maxDatabaseBytes); err == nil {
				w.parseAPK(text, func(path string, p installed) { owners[path] = dist.purl("apk", p) })
			}
		})
		if err == nil {
			return true, ""
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			return dpkg, databaseReason(err)
		}
	}
	if dpkg { // which can have rpm installed, for other packages than its own
		return true, ""
	}
	return l.readRPM(root, dist, w, owners)
}

func databaseReason(err error) Reason {
	switch {
	case errors.Is(err, errDatabaseTooLarge):
		return ReasonTooLarge
	case errors.Is(err, errOver):
		return ReasonBudget
	case errors.Is(err, errNotRPM):
		return ReasonNotELF
	}
	return fileReason(err)
}

// errOver: the look's time is over.
var errOver = errors.New("the time for the sample is over")

func (l *look) readDpkg(root int, dist distro, w wanted, owners map[string]string) (known bool, err error) {
	var packages map[string]installed
	l.do(func() {
		var text []byte
		if text, err = readInRoot(root, "/var/lib/dpkg/status", maxDatabaseBytes); err == nil {
			packages = parseDpkgStatus(text)
		}
	})
	switch {
	case err == nil && len(packages) > 0:
		return true, l.readLists(root, "/var/lib/dpkg/info", ".list", func(name string, text []byte) {
			if p, ok := packages[name]; ok {
				w.parseDpkgList(text, func(path string) { owners[path] = dist.purl("deb", p) })
			}
		})
	case err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR):
		return false, err
	}
	// Images without dpkg keep what the packages said of themselves in status.d, a file each, with their sums beside it.
	err = l.readLists(root, "/var/lib/dpkg/status.d", ".md5sums", func(name string, text []byte) {
		var paths []string
		w.parseMD5Sums(text, func(path string) { paths = append(paths, path) })
		if len(paths) == 0 {
			return
		}
		stanza, err := readInRoot(root, path.Join("/var/lib/dpkg/status.d", name), maxListBytes)
		if err != nil {
			return
		}
		for _, p := range parseDpkgStatus(stanza) {
			for _, path := range paths {
				owners[path] = dist.purl("deb", p)
			}
		}
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	return true, err
}

// readLists reads the files of a directory whose names end so, a few in a step, and gives each with the rest of its name.
func (l *look) readLists(root int, dir, suffix string, take func(name string, text []byte)) error {
	var names []string
	var err error
	l.do(func() {
		var fd int
		if fd, err = inRoot(root, dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0); err != nil {
			return
		}
		f := os.NewFile(uintptr(fd), dir)
		defer func() { _ = f.Close() }()
		if names, err = f.Readdirnames(maxLists); errors.Is(err, io.EOF) {
			err = nil
		}
	})
	if err != nil {
		return err
	}
	total := 0
	for len(names) > 0 {
		if l.over() {
			return errOver
		}
		some := names[:min(listsAStep, len(names))]
		names = names[len(some):]
		l.do(func() {
			for _, name := range some {
				bare, ok := strings.CutSuffix(name, suffix)
				if !ok {
					continue
				}
				text, readErr := readInRoot(root, path.Join(dir, name), maxListBytes)
				if readErr != nil {
					err = errors.Join(err, readErr)
					continue
				}
				total += len(text)
				take(bare, text)
			}
		})
		if total > maxListsBytes {
			return errDatabaseTooLarge
		}
	}
	return err
}

// openInRoot opens a regular file below a root directory for reading, following links in it that stay there.
func openInRoot(root int, name string) (open int, size int64, err error) {
	fd, err := inRoot(root, name, unix.O_PATH, 0)
	if err != nil {
		return -1, 0, err
	}
	found, err := locate(fd)
	if err != nil {
		return -1, 0, err
	}
	defer found.close()
	if !found.regular() {
		return -1, 0, unix.ENXIO
	}
	open, err = found.reopen()
	return open, found.stat.Size, err
}

// readInRoot reads a regular file below a root directory.
func readInRoot(root int, name string, limit int64) ([]byte, error) {
	open, size, err := openInRoot(root, name)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(open), name)
	defer func() { _ = f.Close() }()
	if size > limit {
		return nil, errDatabaseTooLarge
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// readRPM reads the first of rpm's databases that is there.
func (l *look) readRPM(root int, dist distro, w wanted, owners map[string]string) (known bool, reason Reason) {
	for _, database := range rpmDatabases {
		var open int
		var err error
		l.do(func() { open, _, err = openInRoot(root, database.path) })
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return true, databaseReason(err)
		}
		r := &rpmReader{r: steps{l, open}, left: maxRPMBytes}
		err = database.read(r, func(header []byte) {
			w.parseRPM(header, func(path string, p installed) { owners[path] = dist.purl("rpm", p) })
		})
		l.do(func() {
			_ = unix.Close(open)
			if err == nil && writtenAhead(root, database.path) {
				err = unix.ESTALE
			}
		})
		if err != nil {
			return true, databaseReason(err)
		}
		return true, ""
	}
	return false, ""
}

// writtenAhead says whether SQLite has changes beside a database that are not in it yet: rpm is at work, or was ended there.
func writtenAhead(root int, name string) bool {
	log, size, err := openInRoot(root, name+"-wal")
	if err == nil {
		_ = unix.Close(log)
	}
	return err == nil && size > 0
}

// steps reads an open file at offsets, each time in a step of its own.
type steps struct {
	l  *look
	fd int
}

func (s steps) ReadAt(p []byte, at int64) (n int, err error) {
	if s.l.over() {
		return 0, errOver
	}
	s.l.do(func() { n, err = descriptor(s.fd).ReadAt(p, at) })
	return n, err
}
