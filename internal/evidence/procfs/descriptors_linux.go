// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bytes"
	"errors"
	"path"

	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// openFile is a descriptor of a process that refers to code.
type openFile struct {
	descriptor string // its number
	path       string
	kind       evidence.Kind
}

// openFiles searches the descriptors of a process for jars, assemblies and its script.
func (in *inspection) openFiles(p *process, script string) (found []openFile, count evidence.Datum[int]) {
	dir, err := openRetry(func() (int, error) {
		return unix.Openat(p.dir, "fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	})
	if err != nil {
		return nil, evidence.Unknown[int](reasonOf(err))
	}
	defer func() { _ = unix.Close(dir) }()
	seen, limit := 0, in.sampler.config.Limits.OpenFiles
	var names []string
	for seen < limit {
		n, err := unix.ReadDirent(dir, p.dirent)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			break // on an error the process has ended; what was seen before counts
		}
		_, _, names = unix.ParseDirent(p.dirent[:n], -1, names[:0])
		for _, name := range names[:min(len(names), limit-seen)] {
			seen++
			file, err := p.openFile(dir, name, script)
			if err != nil {
				return nil, evidence.Unknown[int](evidence.ReasonPermission) // reading the links needs more than reading the names
			}
			if file.kind != "" {
				found = append(found, file)
			}
		}
	}
	return found, evidence.Present(seen)
}

// openFile reads one descriptor; the kind is "" if it refers to no code. Links that are no path are pipes and the like. The error is one of
// permission.
func (p *process) openFile(dir int, name, script string) (file openFile, err error) {
	target, err := p.readLink(dir, name)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return file, err
	}
	if err != nil || len(target) == 0 || target[0] != '/' {
		return file, nil //nolint:nilerr // it was closed since
	}
	target = bytes.TrimSuffix(target, []byte(deletedMark))
	kind := managedKind(lastFour(target))
	standard := name == "0" || name == "1" || name == "2"
	if kind == "" && script != "" && !standard && path.Base(string(target)) == script {
		kind = evidence.KindScript
	}
	if kind == "" {
		return file, nil
	}
	return openFile{descriptor: name, path: string(target), kind: kind}, nil
}
