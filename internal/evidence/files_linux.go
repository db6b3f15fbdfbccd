// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// chunk is how much is read and hashed in one step. At 300 MB/s, a slow core without instructions for SHA-256, that is 3 ms.
	chunk = 1 << 20
	// settled is how long a file must have been left alone before its hash is remembered: a change within the grain of the file
	// system's clock leaves no trace in its times.
	settled = 2 * time.Second
)

// filesOf goes after the files of a process. Each is drafted before any is touched, so that one that hangs hides none.
func (l *look) filesOf(p *process, seen Process, mappings []mapping, open []openFile, mainRoot int) {
	exe, exeIs := l.executableFile(p, seen)
	if exeIs >= 0 {
		defer func() { l.do(func() { _ = unix.Close(exeIs) }) }()
	}
	type todo struct {
		draft *fileDraft
		m     mapping
	}
	var files []todo
	exeDrafted := exe == nil
	for _, m := range mappings {
		kind, own := mappedKind(m.path), false
		if exe != nil && m.path == seen.Executable.Value && exe.is(m) {
			kind, own, exeDrafted = KindExecutable, true, true
		}
		d := l.draft(fileKey{m.device, m.inode, m.path}, kind, m.deleted, Use{PID: p.pid, LoadBase: m.base})
		switch {
		case d == nil || d.started:
		case own:
			d.started = true
			l.content(d, *exe)
		default:
			files = append(files, todo{d, m})
		}
	}
	if !exeDrafted { // by its interpreter, or it has no executable mapping
		key := fileKey{exe.device(), exe.stat.Ino, seen.Executable.Value}
		if d := l.draft(key, KindExecutable, exe.stat.Nlink == 0, Use{PID: p.pid}); d != nil && !d.started {
			d.started = true
			l.content(d, *exe)
		}
	}
	var roots []int
	if len(files) > 0 {
		var root int
		var err error
		l.do(func() { root, err = p.root() })
		if err == nil {
			defer closeRoot(root)
			roots = append(roots, root)
		}
		if mainRoot >= 0 {
			roots = append(roots, mainRoot)
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
		l.opened(p, o)
	}
}

// executableFile finds the file of exe; nil = it cannot be had. The descriptor is for closing.
func (l *look) executableFile(p *process, seen Process) (exe *located, fd int) {
	if seen.Executable.Status != StatusPresent {
		return nil, -1
	}
	var found located
	var err error
	l.do(func() { found, err = p.locateLink("exe") })
	if err != nil {
		return nil, -1
	}
	return &found, found.fd
}

// mapped goes after a mapped file.
func (l *look) mapped(p *process, d *fileDraft, m mapping, roots []int) {
	var found located
	var gone bool
	var err error
	l.do(func() { found, gone, err = l.sampler.locateMapping(p, m, roots) })
	if err != nil {
		reason := fileReason(err)
		if gone && (reason == ReasonDeletedFile || m.deleted) {
			reason = ReasonDeletedFile
			l.publish(func(*Sample) { d.Deleted = true })
		}
		l.settle(d, Unknown[int64](reason), unreadable(reason))
		return
	}
	defer func() { l.do(found.close) }()
	l.content(d, found)
}

// opened goes after a file that is open.
func (l *look) opened(p *process, o openFile) {
	var found located
	var err error
	l.do(func() { found, err = p.locateLink("fd/" + o.descriptor) })
	if err != nil {
		return // closed since
	}
	defer func() { l.do(found.close) }()
	if !found.regular() {
		return // a directory or device with such a name
	}
	d := l.draft(l.keyOf(found, o.path), o.kind, found.stat.Nlink == 0, Use{PID: p.pid})
	if d == nil || d.started {
		return
	}
	d.started = true
	l.content(d, found)
}

// keyOf gives the key of a file that is open, which is that of its mapping when it has one: an overlay may tell maps other numbers.
func (l *look) keyOf(found located, path string) fileKey {
	key := fileKey{found.device(), found.stat.Ino, path}
	if _, known := l.index[key]; known || !found.overlay {
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
		l.settle(d, Unknown[int64](ReasonNotRegular), unreadable(ReasonNotRegular))
		return
	}
	size := Present(found.stat.Size)
	key := found.key(l.mainAt)
	if c, ok := l.sampler.contents.get(key); ok {
		l.settle(d, size, *c)
		l.publish(func(s *Sample) { s.Coverage.FromCache++ })
		return
	}
	if l.over() {
		l.settle(d, size, unreadable(ReasonBudget))
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
	l.do(func() { c, err = examine(descriptor(fd)) })
	if err != nil {
		l.settle(d, size, unreadable(fileReason(err)))
		return
	}
	c.sha256 = l.hash(fd, found.stat)
	l.settle(d, size, c)
	old := time.Since(time.Unix(0, max(key.ctime, key.mtime))) > settled
	if old && (c.sha256.Status == StatusPresent || c.sha256.Reason == ReasonTooLarge) {
		l.sampler.contents.add(key, &c)
	}
}

// hash reads the whole file, unless a limit forbids it before it begins.
func (l *look) hash(fd int, before unix.Stat_t) Datum[string] {
	limits := l.sampler.config.Limits
	size := before.Size
	if size > limits.FileBytes {
		return Unknown[string](ReasonTooLarge)
	}
	if size > l.left || (size > 0 && !l.sampler.bytes.AllowN(time.Now(), int(size))) {
		return Unknown[string](ReasonBudget)
	}
	if l.buffer == nil {
		l.buffer = make([]byte, chunk)
	}
	sum := sha256.New()
	var at int64
	for at <= size {
		if l.over() {
			return Unknown[string](ReasonBudget)
		}
		var n int
		var err error
		l.do(func() { n, err = l.chunk(fd, sum) })
		if err != nil {
			return Unknown[string](fileReason(err))
		}
		at += int64(n)
		if n == 0 {
			break
		}
	}
	l.left -= at
	l.sampler.read.Add(uint64(at))
	l.publish(func(s *Sample) { s.Coverage.BytesRead += at })
	var after unix.Stat_t
	var err error
	l.do(func() { err = unix.Fstat(fd, &after) })
	if err != nil {
		return Unknown[string](fileReason(err))
	}
	if at != size || after.Size != size || after.Mtim != before.Mtim || after.Ctim != before.Ctim {
		return Unknown[string](ReasonDeletedFile) // it is not what was mapped, nor any one thing
	}
	l.sampler.hashed.Add(1)
	return Present(hex.EncodeToString(sum.Sum(nil)))
}

// chunk hashes what comes next.
func (l *look) chunk(fd int, sum hash.Hash) (n int, err error) {
	for {
		n, err = unix.Read(fd, l.buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n > 0 {
			sum.Write(l.buffer[:n])
		}
		return max(n, 0), err
	}
}
