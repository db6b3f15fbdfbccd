// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/evidence/buildid"
)

const (
	// chunk is how many bytes are read and hashed in one step. At 300 MB/s, a slow core without instructions for SHA-256, that is 1 ms.
	chunk = 256 << 10
	// settled is how long a file must be unchanged before its hash is remembered: two changes within the resolution of the file system's
	// clock have the same times.
	settled = 2 * time.Second
)

// executable is the program of a process.
type executable struct {
	file    *located // nil if it cannot be opened
	name    string
	deleted bool
}

// mappedFile is a mapping whose file is drafted and not read.
type mappedFile struct {
	draft   *fileDraft
	mapping mapping
}

// readFiles reads the files of a process that no process before it uses. Each is drafted before any is opened, so that one that hangs hides
// none.
func (in *inspection) readFiles(p *process, running executable, open []openFile, roots []rootDir) {
	program, files := in.draftMappings(p, running, roots)
	if exe := running.file; exe != nil {
		if program == nil { // it has no executable mapping of its own, or there are too many files
			key := fileKey{exe.device(), exe.stat.Ino, running.name}
			program = in.draft(key, evidence.KindExecutable, running.deleted, evidence.Use{PID: p.pid})
		}
		if program != nil && !program.started {
			program.started = true
			in.readContent(program, *exe)
		}
	}
	for _, f := range files {
		if in.over() {
			return
		}
		f.draft.started = true
		in.readMapped(p, f.draft, f.mapping, roots)
	}
	for _, o := range open {
		if in.over() {
			return
		}
		o.path = inside(roots, o.path)
		in.readOpen(p, o)
	}
}

// draftMappings drafts the files that the process has mapped. It returns the draft of its program, nil if that is not mapped or not
// drafted, and the other files to read.
func (in *inspection) draftMappings(p *process, running executable, roots []rootDir) (program *fileDraft, files []mappedFile) {
	files = make([]mappedFile, 0, len(p.mappings))
	for _, m := range p.mappings {
		name := inside(roots, m.path)
		kind, deleted := mappedKind(name), m.deleted
		isProgram := program == nil && running.isMapped(m, name, inside(roots, m.raw))
		if isProgram {
			name, kind, deleted = running.name, evidence.KindExecutable, running.deleted
		}
		d := in.draft(fileKey{m.device, m.inode, name}, kind, deleted, evidence.Use{PID: p.pid, LoadBase: m.base})
		switch {
		case isProgram:
			program = d
		case d != nil && !d.started:
			files = append(files, mappedFile{d, m})
		}
	}
	return program, files
}

// isMapped reports whether a mapping is of the program. names are what the file of the mapping may be called.
func (e executable) isMapped(m mapping, names ...string) bool {
	return e.file != nil && slices.Contains(names, e.name) && e.file.is(m)
}

// readMapped finds and reads a mapped file.
func (in *inspection) readMapped(p *process, d *fileDraft, m mapping, roots []rootDir) {
	var (
		found   located
		name    string
		deleted bool
		err     error
	)
	in.do(func() { found, name, deleted, err = in.sampler.locateMapping(p, m, roots) })
	if err != nil || deleted {
		if now, ok := in.renamed(p, m); ok {
			if err == nil {
				found.close()
			}
			if d = in.rename(d, fileKey{now.device, now.inode, inside(roots, now.path)}); d != nil {
				in.readMapped(p, d, now, roots) // not again, as its name has been read by now
			}
			return
		}
	}
	if d.Path != name || d.Deleted != deleted {
		in.publish(func(*evidence.Sample) { d.Path, d.Deleted = name, deleted })
	}
	if err != nil {
		reason := fileReason(err)
		in.settle(d, evidence.Unknown[int64](reason), unreadable(reason))
		return
	}
	defer found.close()
	in.readContent(d, found)
}

// readOpen finds and reads an open file.
func (in *inspection) readOpen(p *process, o openFile) {
	use := evidence.Use{PID: p.pid}
	in.publish(func(*evidence.Sample) {
		in.opening = &evidence.File{Path: o.path, Kind: o.kind, Uses: []evidence.Use{use}}
	})
	var found located
	var err error
	in.do(func() { found, err = p.locateLink("fd/" + o.descriptor) })
	in.publish(func(*evidence.Sample) { in.opening = nil })
	if err != nil {
		return // it was closed since
	}
	defer found.close()
	if found.stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		return // web applications are unpacked into directories of such names
	}
	d := in.draft(in.keyOf(found, o.path), o.kind, found.stat.Nlink == 0, use)
	if d == nil || d.started {
		return
	}
	d.started = true
	in.readContent(d, found)
}

// keyOf returns the key of an open file. If the file is mapped too it is that of the mapping: in maps an overlay may have other numbers.
func (in *inspection) keyOf(found located, path string) fileKey {
	key := fileKey{found.device(), found.stat.Ino, path}
	if _, known := in.index[key]; known {
		return key
	}
	for _, d := range in.files {
		if d.Path == path && found.is(mapping{inode: d.Inode}) {
			var dev device
			for k := range in.index {
				if in.index[k] == d {
					dev = k.device
				}
			}
			return fileKey{dev, d.Inode, path}
		}
	}
	return key
}

// readContent records what a file holds: from the cache, or by reading it.
func (in *inspection) readContent(d *fileDraft, found located) {
	if !found.regular() {
		in.settle(d, evidence.Unknown[int64](evidence.ReasonNotRegular), unreadable(evidence.ReasonNotRegular))
		return
	}
	size := evidence.Present(found.stat.Size)
	key := found.key()
	known, ok := in.sampler.contents.get(key)
	if !ok { // the file below an overlay may be known
		var shared contentKey
		var below bool
		in.do(func() { shared, below = found.sharedKey(in.imageUntil()) })
		if below {
			in.sampler.contents.alias(key, shared)
			known, ok = in.sampler.contents.get(shared)
			key = shared
		}
	}
	if ok {
		in.settle(d, size, *known)
		in.publish(func(s *evidence.Sample) { s.Coverage.FromCache++ })
		return
	}
	if in.over() {
		in.settle(d, size, unreadable(evidence.ReasonBudget))
		return
	}
	var fd int
	var err error
	in.do(func() { fd, err = found.reopen() })
	if err != nil {
		in.settle(d, size, unreadable(fileReason(err)))
		return
	}
	defer func() { in.do(func() { _ = unix.Close(fd) }) }()
	var c content
	in.do(func() { c.Metadata, err = buildid.Read(descriptor(fd)) })
	if err != nil {
		in.settle(d, size, unreadable(fileReason(err)))
		return
	}
	c.sha256 = in.hash(fd, found.stat)
	in.settle(d, size, c)
	var kind int64
	in.do(func() { kind = found.fileSystem() })
	if memorable(kind, key, &c, time.Now()) {
		in.sampler.contents.add(key, &c)
	}
}

// memorable reports whether what a file holds may be remembered by its key: it was read, and another content has another key.
func memorable(fileSystem int64, key contentKey, c *content, now time.Time) bool {
	old := now.Sub(time.Unix(0, max(key.ctime, key.mtime))) > settled
	// The server of a FUSE file system invents times and inodes, and after an unmount the kernel assigns its device number to the next file
	// system, which may be the overlay of another container.
	return old && fileSystem != unix.FUSE_SUPER_MAGIC && (c.sha256.Status == evidence.StatusPresent || c.sha256.Reason == evidence.ReasonTooLarge)
}

// imageUntil returns since when the container may have changed its files: since its creation, or else since its main process started.
func (in *inspection) imageUntil() time.Time {
	if made := in.target.CreatedAt; !made.IsZero() && made.Before(in.mainAt) {
		return made
	}
	return in.mainAt
}

// hash reads the whole file, unless a limit forbids it.
func (in *inspection) hash(fd int, before unix.Stat_t) evidence.Datum[string] {
	limits := in.sampler.config.Limits
	size := before.Size
	if size > limits.FileBytes {
		return evidence.Unknown[string](evidence.ReasonTooLarge)
	}
	if size > in.bytesLeft || (size > 0 && !in.sampler.bytes.AllowN(time.Now(), int(size))) {
		return evidence.Unknown[string](evidence.ReasonBudget)
	}
	if in.buffer == nil {
		in.buffer = new([chunk]byte)
	}
	sum := sha256.New()
	var at int64
	for at <= size {
		if in.over() {
			return evidence.Unknown[string](evidence.ReasonBudget)
		}
		var n int
		var err error
		in.do(func() { n, err = in.hashChunk(fd, sum) })
		if err != nil {
			return evidence.Unknown[string](fileReason(err))
		}
		at += int64(n)
		if n == 0 {
			break
		}
	}
	in.bytesLeft -= at
	in.sampler.counters.read.Add(uint64(at))
	in.publish(func(s *evidence.Sample) { s.Coverage.BytesRead += at })
	var after unix.Stat_t
	var err error
	in.do(func() { err = unix.Fstat(fd, &after) })
	if err != nil {
		return evidence.Unknown[string](fileReason(err))
	}
	if at != size || after.Size != size || after.Mtim != before.Mtim || after.Ctim != before.Ctim {
		return evidence.Unknown[string](evidence.ReasonDeletedFile) // what was read is not what was mapped
	}
	in.sampler.counters.hashed.Add(1)
	return evidence.Present(hex.EncodeToString(sum.Sum(nil)))
}

// hashChunk hashes the next chunk.
func (in *inspection) hashChunk(fd int, sum hash.Hash) (n int, err error) {
	for {
		n, err = unix.Read(fd, in.buffer[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n > 0 {
			sum.Write(in.buffer[:n])
		}
		return max(n, 0), err
	}
}
