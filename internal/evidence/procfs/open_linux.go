// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"errors"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// A file that a process uses is opened in one of two ways:
//
//   - by a link of /proc that the kernel resolves to the very file, without a path: exe, fd/N, and for deleted files
//     map_files/START-END, which needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN;
//   - by the path in maps, with openat2(2) below the process's root directory. Such a path has no symbolic links, so none is followed
//     (RESOLVE_NO_SYMLINKS), and whatever the container did to the path since, it stays in its root (RESOLVE_IN_ROOT). The file found must
//     have the device and inode of the mapping.
//
// Package filepath-securejoin does the second portably, and without RESOLVE_NO_SYMLINKS. Before Linux 5.6, which has no openat2, a hostile
// path is not resolved at all.
//
// Both return an O_PATH descriptor, which opens nothing: no device driver, no other end of a pipe and no FUSE server is called. Only a
// regular file is then opened for reading, through the descriptor and not by its name, and without blocking.

// located is a file that was found, and is not open for reading.
type located struct {
	fd   int // O_PATH
	stat unix.Stat_t
}

// atHandleFID is AT_HANDLE_FID of name_to_handle_at(2), Linux 6.5: an identifier that need not be usable for opening. Overlays return no
// other. It is that of the file in the layer, and no unprivileged mount can return the same.
const atHandleFID = 0x200

// locate returns the file of an O_PATH descriptor, which it closes on an error.
func locate(fd int) (l located, err error) {
	l.fd = fd
	if err := unix.Fstat(fd, &l.stat); err != nil {
		_ = unix.Close(fd)
		return l, err
	}
	return l, nil
}

func (l located) regular() bool { return l.stat.Mode&unix.S_IFMT == unix.S_IFREG }

func (l located) close() { _ = unix.Close(l.fd) }

func (l located) device() device {
	return device{major: unix.Major(l.stat.Dev), minor: unix.Minor(l.stat.Dev)}
}

// is reports whether the file is the one of a mapping. Overlays and btrfs report another device to stat than to maps, and an overlay may put
// the number of a layer into the upper bits of the inode (xino); there only the lower bits are compared.
func (l located) is(m mapping) bool {
	if l.device() == m.device && l.stat.Ino == m.inode {
		return true
	}
	if l.stat.Ino&math.MaxUint32 != m.inode&math.MaxUint32 {
		return false
	}
	kind := l.fileSystem()
	return kind == unix.OVERLAYFS_SUPER_MAGIC || kind == unix.BTRFS_SUPER_MAGIC
}

// fileSystem returns the magic number of the file's file system; 0 if it cannot be read.
func (l located) fileSystem() int64 {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(l.fd, &fs); err != nil {
		return 0
	}
	return int64(fs.Type) //nolint:unconvert // it is 32 bits wide on some architectures
}

// key returns the key of the file as it is seen here.
func (l located) key() contentKey {
	return contentKey{
		device: l.stat.Dev, inode: l.stat.Ino, size: l.stat.Size,
		mtime: l.stat.Mtim.Nano(), ctime: l.stat.Ctim.Nano(),
	}
}

// sharedKey returns the key of the file below an overlay, if the kernel reports it. Files that have not changed since before the container
// started are the image's, and the same below every container of the image; one that changed later may be the container's own copy, with
// the handle of the original.
func (l located) sharedKey(containerStart time.Time) (key contentKey, ok bool) {
	key = l.key()
	if containerStart.IsZero() || !time.Unix(0, key.ctime).Before(containerStart.Add(-time.Second)) ||
		l.fileSystem() != unix.OVERLAYFS_SUPER_MAGIC {
		return key, false
	}
	handle, _, err := unix.NameToHandleAt(l.fd, "", unix.AT_EMPTY_PATH|atHandleFID)
	if err != nil {
		return key, false
	}
	key.device, key.handle = 0, string(handle.Bytes())
	return key, true
}

// locateLink finds a file through a link of /proc.
func (p *process) locateLink(name string) (located, error) {
	fd, err := openRetry(func() (int, error) { return unix.Openat(p.dir, name, unix.O_PATH|unix.O_CLOEXEC, 0) })
	if err != nil {
		return located{}, err
	}
	return locate(fd)
}

// rootDir is a process's root directory, and its name in the kernel's names of files: "" for the root of a mount namespace, which a
// container has; the path of the directory for a process that was only chrooted.
type rootDir struct {
	fd     int // O_PATH
	prefix string
}

func (r rootDir) close() { _ = unix.Close(r.fd) }

// root opens the process's root directory.
func (p *process) root() (r rootDir, err error) {
	if r.fd, err = openRetry(func() (int, error) {
		return unix.Openat(p.dir, "root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}); err != nil {
		return r, err
	}
	if r.prefix, err = p.linked("root"); err != nil {
		r.close()
		return r, err
	}
	r.prefix = strings.TrimSuffix(r.prefix, "/")
	return r, nil
}

// openRaces is how often openat2 is tried: it fails with EAGAIN if a rename elsewhere may have moved the path out of the root.
const openRaces = 8

// inRoot opens a path below a root directory.
func inRoot(root int, path string, flags, resolve uint64) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | resolve,
	}
	for range openRaces {
		fd, err = openRetry(func() (int, error) { return unix.Openat2(root, path, &how) })
		if !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	return fd, err
}

// names returns the possible names of the file of a mapping: as the kernel wrote it, or with the escaped byte restored. The mark of deletion
// may be a part of the name: a container can name a file so that each case looks like the other.
func (m mapping) names() []string {
	if unescaped := unescape(m.raw); unescaped != m.raw {
		return []string{m.raw, unescaped}
	}
	return []string{m.raw}
}

// locateMapping finds the file of a mapping, and its name in the container. deleted reports that the name no longer exists, or is another
// file's.
func (s *Sampler) locateMapping(p *process, m mapping, roots []rootDir) (l located, name string, deleted bool, err error) {
	for _, raw := range m.names() {
		if l, name, err = locateInRoots(roots, raw, m); err == nil {
			return l, name, false, nil
		}
	}
	name = inside(roots, m.path)
	if m.deleted && !s.kernel.noMapFiles.Load() {
		span := strconv.FormatUint(m.start, 16) + "-" + strconv.FormatUint(m.end, 16)
		byLink, linkErr := p.locateLink(filepath.Join("map_files", span))
		switch {
		case linkErr == nil && byLink.is(m):
			return byLink, name, true, nil
		case linkErr == nil: // something else is mapped there by now
			byLink.close()
		case errors.Is(linkErr, unix.EPERM):
			s.kernel.noMapFiles.Store(true) // for want of a capability; those of this process do not change
		}
	}
	if m.deleted {
		err = unix.ENOENT
	}
	return l, name, fileReason(err) == evidence.ReasonDeletedFile, err
}

// locateInRoots finds the file of a mapping by the kernel's name for it.
func locateInRoots(roots []rootDir, raw string, m mapping) (l located, name string, err error) {
	err = unix.ENOENT
	for _, root := range roots {
		name, ok := strings.CutPrefix(raw, root.prefix)
		if !ok || !strings.HasPrefix(name, "/") {
			continue
		}
		fd, openErr := inRoot(root.fd, name, unix.O_PATH|unix.O_NOFOLLOW, unix.RESOLVE_NO_SYMLINKS)
		if openErr == nil {
			l, openErr = locate(fd)
		}
		switch {
		case openErr == nil && l.is(m):
			return l, name, nil
		case openErr == nil:
			l.close()
		case !errors.Is(openErr, unix.ENOENT):
			err = openErr
		}
	}
	return located{}, raw, err
}

// inside returns the name of a file in the container, whether it exists or not.
func inside(roots []rootDir, raw string) string {
	for _, root := range roots {
		if name, ok := strings.CutPrefix(raw, root.prefix); ok && strings.HasPrefix(name, "/") {
			return name
		}
	}
	return raw
}

// reopen opens a regular file for reading. O_NONBLOCK is needed because a lease on the file (fcntl(2)) would make the open wait.
func (l located) reopen() (int, error) {
	name := "/proc/self/fd/" + strconv.Itoa(l.fd)
	const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := openRetry(func() (int, error) { return unix.Open(name, flags|unix.O_NOATIME, 0) })
	if errors.Is(err, unix.EPERM) { // O_NOATIME is only for a file's owner
		fd, err = openRetry(func() (int, error) { return unix.Open(name, flags, 0) })
	}
	if err != nil {
		return -1, err
	}
	var again unix.Stat_t
	if err := unix.Fstat(fd, &again); err != nil || again.Mode&unix.S_IFMT != unix.S_IFREG || again.Ino != l.stat.Ino || again.Dev != l.stat.Dev {
		_ = unix.Close(fd)
		return -1, errors.Join(unix.ESTALE, err)
	}
	return fd, nil
}

// descriptor reads an open file at offsets.
type descriptor int

// ReadAt is io.ReaderAt.
func (d descriptor) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) {
		k, err := unix.Pread(int(d), p[n:], at+int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return n, err
		case k == 0:
			return n, io.EOF
		default:
			n += k
		}
	}
	return n, nil
}

// fileReason returns the reason for an error of finding, opening or reading a file.
func fileReason(err error) evidence.Reason {
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSYS):
		return evidence.ReasonPermission
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV), errors.Is(err, unix.EISDIR):
		return evidence.ReasonNotRegular
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ESTALE),
		errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENAMETOOLONG):
		return evidence.ReasonDeletedFile
	case errors.Is(err, unix.ESRCH):
		return evidence.ReasonProcessGone
	}
	return evidence.ReasonTimeout
}
