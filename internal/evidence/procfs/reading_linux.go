// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bytes"
	"errors"
	"hash/maphash"
	"io"
	"math"
	"path"

	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// maxMapsText is how much of a maps file is held at once. What is longer is read in parts, and not remembered.
const maxMapsText = 256 << 10

// mappings finds out what the process has mapped: as it was, if the kernel gives the same spans, or from the text of maps. news:
// it is to be remembered. cut: there are more than are read.
func (l *look) mappings(p *process) (news, cut bool, err error) {
	maps, err := p.open("maps")
	if err != nil {
		return false, false, err
	}
	defer func() { _ = unix.Close(maps) }()
	if p.known.mapped && !l.sampler.noSpans.Load() {
		sum, err := spansOf(maps)
		if err == nil && sum == p.known.spans {
			p.mappings, p.unnamed = p.known.mappings, true
			return false, false, nil
		}
		if errors.Is(err, unix.ENOTTY) {
			l.sampler.noSpans.Store(true)
		}
	}
	return l.readMappings(p, maps)
}

// readMappings reads the text of maps, and takes it apart unless it is what it was.
func (l *look) readMappings(p *process, maps int) (news, cut bool, err error) {
	text, err := p.whole(maps, maxMapsText)
	if err != nil && !errors.Is(err, errEmpty) {
		return false, false, err
	}
	whole := len(text) < maxMapsText
	sum := maphash.Bytes(seed, text)
	if whole && p.known.mapped && p.known.text == sum {
		p.mappings = p.known.mappings
		return false, false, nil
	}
	var from io.Reader = bytes.NewReader(text)
	if !whole {
		from = io.MultiReader(from, io.NewSectionReader(descriptor(maps), maxMapsText, math.MaxInt64-maxMapsText))
	}
	p.maps.Reset(from)
	found, err := readMaps(p.maps, l.sampler.config.Limits.Mappings)
	if cut = errors.Is(err, errMapsTruncated); err != nil && !cut {
		return false, false, err
	}
	p.mappings = found.code
	if p.known.mapped = whole && !cut; p.known.mapped {
		p.known.spans, p.known.text, p.known.mappings = found.spans, sum, found.code
	}
	return p.known.mapped, cut, nil
}

// renamed gives a mapping anew whose file is not where it was remembered to be; ok is false when its name is what it was.
func (l *look) renamed(p *process, m mapping) (now mapping, ok bool) {
	if p.unnamed {
		p.unnamed = false
		l.do(func() {
			maps, err := p.open("maps")
			if err != nil {
				return
			}
			defer func() { _ = unix.Close(maps) }()
			if news, _, err := l.readMappings(p, maps); err == nil && news && p.unchanged(l.member) {
				l.sampler.recall.put(p.key(), p.known)
			}
		})
	}
	for _, now := range p.mappings {
		if now.start == m.start && now.device == m.device && now.inode == m.inode {
			return now, now.raw != m.raw
		}
	}
	return m, false
}

// openFile is a descriptor of a process that is worth a look.
type openFile struct {
	descriptor string // its number
	path       string
	kind       evidence.Kind
}

// openFiles looks through the descriptors for jars, assemblies and the script. Links that lead to no path are pipes and the like.
func (l *look) openFiles(p *process, script string) (found []openFile, count evidence.Datum[int]) {
	dir, err := openRetry(func() (int, error) {
		return unix.Openat(p.dir, "fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	})
	if err != nil {
		return nil, evidence.Unknown[int](reasonOf(err))
	}
	defer func() { _ = unix.Close(dir) }()
	seen, limit := 0, l.sampler.config.Limits.OpenFiles
	var names []string
	for seen < limit {
		n, err := unix.ReadDirent(dir, p.dirent)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			break // it has ended; what was seen before counts
		}
		_, _, names = unix.ParseDirent(p.dirent[:n], -1, names[:0])
		for _, name := range names[:min(len(names), limit-seen)] {
			seen++
			target, err := p.readLink(dir, name)
			if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
				return nil, evidence.Unknown[int](evidence.ReasonPermission) // the names alone need less than the links
			}
			if err != nil || len(target) == 0 || target[0] != '/' {
				continue
			}
			target = bytes.TrimSuffix(target, []byte(deletedMark))
			kind := managedKind(lastFour(target))
			if standard := name == "0" || name == "1" || name == "2"; kind == "" && script != "" && !standard && path.Base(string(target)) == script {
				kind = evidence.KindScript
			}
			if kind != "" {
				found = append(found, openFile{descriptor: name, path: string(target), kind: kind})
			}
		}
	}
	return found, evidence.Present(seen)
}
