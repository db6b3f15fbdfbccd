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
				w.parseAPK(text, func(path string, p installed) { owners[path] = dist.purl("apk", p.name, p.version, p.arch) })
			}
		})
		if err == nil {
			return true, ""
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			return dpkg, databaseReason(err)
		}
	}
	return dpkg, ""
}

// errDatabaseTooLarge: more than any distribution's.
var errDatabaseTooLarge = errors.New("the package database is too large")

func databaseReason(err error) Reason {
	switch {
	case errors.Is(err, errDatabaseTooLarge):
		return ReasonTooLarge
	case errors.Is(err, errOver):
		return ReasonBudget
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
				w.parseDpkgList(text, func(path string) { owners[path] = dist.purl("deb", p.name, p.version, p.arch) })
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
				owners[path] = dist.purl("deb", p.name, p.version, p.arch)
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

// readInRoot reads a regular file below a root directory, following links in it that stay there.
func readInRoot(root int, name string, limit int64) ([]byte, error) {
	fd, err := inRoot(root, name, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	found, err := locate(fd)
	if err != nil {
		return nil, err
	}
	defer found.close()
	if !found.regular() {
		return nil, unix.ENXIO
	}
	if found.stat.Size > limit {
		return nil, errDatabaseTooLarge
	}
	open, err := found.reopen()
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(open), name)
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, limit))
}
