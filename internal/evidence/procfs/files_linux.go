// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/evidence/buildid"
)

const (
	// chunk is how much is read and hashed in one step. At 300 MB/s, a slow core without instructions for SHA-256, that is 1 ms.
	chunk = 256 << 10
	// settled is how long a file must have been left alone before its hash is remembered: a change within the grain of the file
	// system's clock leaves no trace in its times.
	settled = 2 * time.Second
)

// executable is the program of a process.
type executable struct {
	file    *located // nil = it cannot be had
	name    string
	deleted bool
}

// filesOf goes after the files of a process. Each is drafted before any is touched, so that one that hangs hides none.
func (l *look) filesOf(p *process, running executable, open []openFile, roots []rootDir) {
	exe := running.file
	type todo struct {
		draft *fileDraft
		m     mapping
	}
	files := make([]todo, 0, len(p.mappings))
	var own *fileDraft
	for _, m := range p.mappings {
		name := inside(roots, m.path)
		kind, deleted := mappedKind(name), m.deleted
		isExe := exe != nil && own == nil && (name == running.name || inside(roots, m.raw) == running.name) && exe.is(m)
		if isExe {
			name, kind, deleted = running.name, evidence.KindExecutable, running.deleted
		}
		d := l.draft(fileKey{m.device, m.inode, name}, kind, deleted, evidence.Use{PID: p.pid, LoadBase: m.base})
		switch {
		case isExe:
			own = d
		case d != nil && !d.started:
			files = append(files, todo{d, m})
		}
	}
	if exe != nil {
		if own == nil { // it has no executable mapping of its own, or there are too many files
			own = l.draft(fileKey{exe.device(), exe.stat.Ino, running.name}, evidence.KindExecutable, running.deleted, evidence.Use{PID: p.pid})
		}
		if own != nil && !own.started {
			own.started = true
			l.content(own, *exe)
		}
	}
	for _, f := range files {
		if l.over() {
			return
		}
		f.draft.started = true
		l.mapped(p, f.draft, f.m, roots)
	}
	for _, o := range open {
		if l.over() {
			return
		}
		o.path = inside(roots, o.path)
		l.opened(p, o)
	}
}

// mapped goes after a mapped file.
func (l *look) mapped(p *process, d *fileDraft, m mapping, roots []rootDir) {
	var (
		found   located
		name    string
		deleted bool
		err     error
	)
	l.do(func() { found, name, deleted, err = l.sampler.locateMapping(p, m, roots) })
	if err != nil || deleted {
		if now, ok := l.renamed(p, m); ok {
			if err == nil {
				found.close()
			}
			if d = l.rename(d, fileKey{now.device, now.inode, inside(roots, now.path)}); d != nil {
				l.mapped(p, d, now, roots) // not again, as its name has been read by now
			}
			return
		}
	}
	if d.Path != name || d.Deleted != deleted {
		l.publish(func(*evidence.Sample) { d.Path, d.Deleted = name, deleted })
	}
	if err != nil {
		reason := fileReason(err)
		l.settle(d, evidence.Unknown[int64](reason), unreadable(reason))
		return
	}
	defer found.close()
	l.content(d, found)
}

// opened goes after a file that is open.
func (l *look) opened(p *process, o openFile) {
	use := evidence.Use{PID: p.pid}
	l.publish(func(*evidence.Sample) {
		l.opening = &evidence.File{Path: o.path, Kind: o.kind, Uses: []evidence.Use{use}}
	})
	var found located
	var err error
	l.do(func() { found, err = p.locateLink("fd/" + o.descriptor) })
	l.publish(func(*evidence.Sample) { l.opening = nil })
	if err != nil {
		return // closed since
	}
	defer found.close()
	if found.stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		return // web applications are unpacked into directories of such names
	}
	d := l.draft(l.keyOf(found, o.path), o.kind, found.stat.Nlink == 0, use)
	if d == nil || d.started {
		return
	}
	d.started = true
	l.content(d, found)
}

// keyOf gives the key of a file that is open, which is that of its mapping when it has one: an overlay may tell maps other numbers.
func (l *look) keyOf(found located, path string) fileKey {
	key := fileKey{found.device(), found.stat.Ino, path}
	if _, known := l.index[key]; known {
		return key
	}
	for _, d := range l.files {
		if d.Path == path && found.is(mapping{inode: d.Inode}) {
			var dev device
			for k := range l.index {
				if l.index[k] == d {
					dev = k.device
				}
			}
			return fileKey{dev, d.Inode, path}
		}
	}
	return key
}

// content reads what a file holds, or remembers it.
func (l *look) content(d *fileDraft, found located) {
	if !found.regular() {
		l.settle(d, evidence.Unknown[int64](evidence.ReasonNotRegular), unreadable(evidence.ReasonNotRegular))
		return
	}
	size := evidence.Present(found.stat.Size)
	key := found.key()
	known, ok := l.sampler.contents.get(key)
	if !ok { // it may be known by what it is below an overlay
		var shared contentKey
		var below bool
		l.do(func() { shared, below = found.sharedKey(l.imageUntil()) })
		if below {
			l.sampler.contents.alias(key, shared)
			known, ok = l.sampler.contents.get(shared)
			key = shared
		}
	}
	if ok {
		l.settle(d, size, *known)
		l.publish(func(s *evidence.Sample) { s.Coverage.FromCache++ })
		return
	}
	if l.over() {
		l.settle(d, size, unreadable(evidence.ReasonBudget))
		return
	}
	var fd int
	var err error
	l.do(func() { fd, err = found.reopen() })
	if err != nil {
		l.settle(d, size, unreadable(fileReason(err)))
		return
	}
	defer func() { l.do(func() { _ = unix.Close(fd) }) }()
	var c content
	l.do(func() { c.Metadata, err = buildid.Read(descriptor(fd)) })
	if err != nil {
		l.settle(d, size, unreadable(fileReason(err)))
		return
	}
	c.sha256 = l.hash(fd, found.stat)
	l.settle(d, size, c)
	var kind int64
	l.do(func() { kind = found.fileSystem() })
	if memorable(kind, key, &c, time.Now()) {
		l.sampler.contents.add(key, &c)
	}
}

// memorable says whether what a file holds is remembered by its key: if it was read, and if another content has another key.
func memorable(fileSystem int64, key contentKey, c *content, now time.Time) bool {
	old := now.Sub(time.Unix(0, max(key.ctime, key.mtime))) > settled
	// The program that serves a FUSE file system makes up times and inodes, and when it is unmounted the kernel gives its device number
	// to the next one, which may be the overlay of another container.
	return old && fileSystem != unix.FUSE_SUPER_MAGIC && (c.sha256.Status == evidence.StatusPresent || c.sha256.Reason == evidence.ReasonTooLarge)
}

// imageUntil is since when the container may have changed its files: since it was made, or else since its main process began.
func (l *look) imageUntil() time.Time {
	if made := l.target.CreatedAt; !made.IsZero() && made.Before(l.mainAt) {
		return made
	}
	return l.mainAt
}

// hash reads the whole file, unless a limit forbids it before it begins.
func (l *look) hash(fd int, before unix.Stat_t) evidence.Datum[string] {
	limits := l.sampler.config.Limits
	size := before.Size
	if size > limits.FileBytes {
		return evidence.Unknown[string](evidence.ReasonTooLarge)
	}
	if size > l.left || (size > 0 && !l.sampler.bytes.AllowN(time.Now(), int(size))) {
		return evidence.Unknown[string](evidence.ReasonBudget)
	}
	if l.buffer == nil {
		l.buffer = new([chunk]byte)
	}
	sum := sha256.New()
	var at int64
	for at <= size {
		if l.over() {
			return evidence.Unknown[string](evidence.ReasonBudget)
		}
		var n int
		var err error
		l.do(func() { n, err = l.chunk(fd, sum) })
		if err != nil {
			return evidence.Unknown[string](fileReason(err))
		}
		at += int64(n)
		if n == 0 {
			break
		}
	}
	l.left -= at
	l.sampler.read.Add(uint64(at))
	l.publish(func(s *evidence.Sample) { s.Coverage.BytesRead += at })
	var after unix.Stat_t
	var err error
	l.do(func() { err = unix.Fstat(fd, &after) })
	if err != nil {
		return evidence.Unknown[string](fileReason(err))
	}
	if at != size || after.Size != size || after.Mtim != before.Mtim || after.Ctim != before.Ctim {
		return evidence.Unknown[string](evidence.ReasonDeletedFile) // it is not what was mapped, nor any one thing
	}
	l.sampler.hashed.Add(1)
	return evidence.Present(hex.EncodeToString(sum.Sum(nil)))
}

// chunk hashes what comes next.
func (l *look) chunk(fd int, sum hash.Hash) (n int, err error) {
	for {
		n, err = unix.Read(fd, l.buffer[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n > 0 {
			sum.Write(l.buffer[:n])
		}
		return max(n, 0), err
	}
}
