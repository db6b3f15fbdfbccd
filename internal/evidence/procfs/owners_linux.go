// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/evidence/packagedb"
	"github.com/zastava-otel/zastava/internal/limit"
)

// findOwners finds the distribution package that owns each file.
func (in *inspection) findOwners() {
	var root rootDir
	var err error
	in.do(func() {
		var main *process
		if main, err = openProcess(in.sampler.config.ProcRoot, in.target.PID, in.scratch); err == nil {
			defer main.close()
			root, err = main.root()
		}
	})
	if err != nil {
		in.settleOwners(reasonOf(err))
		return
	}
	defer root.close()
	var paths []string
	for _, d := range in.files { // only this thread changes the list
		if !d.Deleted {
			paths = append(paths, d.Path)
		}
	}
	database := containerRoot{in: in, fd: root.fd, began: time.Now(), key: new(contentKey)}
	owners, err := packagedb.Owners(database, paths)
	database.remember(err)
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.sealed {
		return
	}
	for _, d := range in.files {
		switch owner := owners[d.Path]; {
		case owner != "" && !d.Deleted:
			d.Package = evidence.Present(owner)
		case err != nil:
			d.Package = evidence.Unknown[string](databaseReason(err))
		case d.Deleted:
			d.Package = evidence.Unknown[string](evidence.ReasonDeletedFile)
		default: // also where no database of a known kind exists, so that none lists it
			d.Package = evidence.Absent[string]()
		}
	}
}

func (in *inspection) settleOwners(reason evidence.Reason) {
	in.publish(func(*evidence.Sample) {
		for _, d := range in.files {
			d.Package = evidence.Unknown[string](reason)
		}
	})
}

func databaseReason(err error) evidence.Reason {
	switch {
	case isLimit(err), errors.Is(err, packagedb.ErrStopped):
		return evidence.ReasonBudget
	case errors.Is(err, packagedb.ErrFormat):
		return evidence.ReasonNotELF
	case errors.Is(err, packagedb.ErrIncomplete):
		return evidence.ReasonDeletedFile
	}
	return fileReason(err)
}

func isLimit(err error) bool {
	_, exceeded := errors.AsType[*limit.Error](err)
	return exceeded
}

// containerRoot is a packagedb.Root: it reads files below the root directory of a container, each in a step of its own.
type containerRoot struct {
	in    *inspection
	fd    int
	began time.Time
	key   *contentKey // of the database, once a part of it was opened
}

// ReadNames is packagedb.Root's.
func (r containerRoot) ReadNames(dir string, most int) (names []string, err error) {
	err = r.step(func() error {
		fd, err := inRoot(r.fd, dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), dir)
		defer func() { _ = f.Close() }()
		var l located
		if l.fd, err = fd, unix.Fstat(fd, &l.stat); err != nil {
			return err
		}
		if err := r.known(l); err != nil {
			return err
		}
		if names, err = f.Readdirnames(most); errors.Is(err, io.EOF) {
			err = nil // it is empty
		}
		return err
	})
	return names, err
}

// Open is packagedb.Root's.
func (r containerRoot) Open(name string) (packagedb.File, error) {
	f := openFileInRoot{containerRoot: r}
	err := r.step(func() (err error) {
		f.open, f.size, err = openInRoot(r.fd, name, r.known)
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// step takes a step, unless the time for the sample is over. What does not exist is fs.ErrNotExist.
func (r containerRoot) step(do func() error) (err error) {
	if r.in.over() {
		return packagedb.ErrStopped
	}
	r.in.do(func() { err = do() })
	if errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}

// openFileInRoot is a packagedb.File.
type openFileInRoot struct {
	containerRoot
	open int
	size int64
}

func (f openFileInRoot) ReadAt(p []byte, at int64) (n int, err error) {
	err = f.step(func() (err error) {
		n, err = descriptor(f.open).ReadAt(p, at)
		return err
	})
	return n, err
}

func (f openFileInRoot) Close() (err error) {
	f.in.do(func() { err = unix.Close(f.open) })
	return err
}

func (f openFileInRoot) Size() int64 { return f.size }

// openInRoot opens a regular file below a root directory for reading, following links in it that stay there, unless check refuses it.
func openInRoot(root int, name string, check func(located) error) (open int, size int64, err error) {
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
	if err := check(found); err != nil {
		return -1, 0, err
	}
	open, err = found.reopen()
	return open, found.stat.Size, err
}
