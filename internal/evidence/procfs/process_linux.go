// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// ticksPerSecond is USER_HZ, which is 100 on every present architecture of Linux.
const ticksPerSecond = 100

// process is one process, through its open directory in /proc. The kernel ties an open directory to the process and not to the number:
// once the process is gone every read through it fails, although another may have the pid by then. The same holds for the two files that
// identify it, which are read again after it was read.
type process struct {
	dir    int // O_PATH
	pid    int
	stat   stat
	cgroup string // the text of its cgroup file
	*scratch

	statFile, cgroupFile int
	thread               int // stat of the living thread that dir belongs to, if the first thread has ended; else -1

	known    recalled
	mappings []mapping
	unnamed  bool // the names of mappings are remembered ones
}

// scratch has buffers for reading /proc. It belongs to one thread.
type scratch struct {
	text   []byte // what was read last
	link   [unix.PathMax]byte
	dirent []byte
	maps   *bufio.Reader
	buffer *[chunk]byte // for files; nil before the first
}

func newScratch() *scratch {
	return &scratch{text: make([]byte, 0, 8<<10), dirent: make([]byte, 8<<10), maps: bufio.NewReaderSize(nil, maxMapsLine)}
}

// openProcess opens a process and identifies it.
func openProcess(procRoot string, pid int, s *scratch) (*process, error) {
	fd, err := openRetry(func() (int, error) {
		return unix.Open(procRoot+"/"+strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, hiddenOrGone(procRoot, pid, err)
	}
	p := &process{dir: fd, pid: pid, scratch: s, statFile: -1, cgroupFile: -1, thread: -1}
	if err = p.identify(); err != nil {
		p.close()
		return nil, hiddenOrGone(procRoot, pid, err)
	}
	if p.stat.state == 'Z' {
		p.useLivingThread()
	}
	return p, nil
}

func (p *process) close() {
	for _, fd := range []int{p.dir, p.statFile, p.cgroupFile, p.thread} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func (p *process) key() processKey { return processKey{p.pid, p.stat.start} }

// identify reads what must stay the same while a process is read.
func (p *process) identify() (err error) {
	if p.statFile, err = p.open("stat"); err != nil {
		return err
	}
	if p.cgroupFile, err = p.open("cgroup"); err != nil {
		return err
	}
	text, err := p.whole(p.statFile, maxStatBytes)
	if err != nil {
		return err
	}
	if p.stat, err = parseStat(text); err != nil {
		return err
	}
	text, err = p.whole(p.cgroupFile, maxCgroupBytes)
	p.cgroup = string(text)
	return err
}

// maxThreads is how many threads are tried to find a living one.
const maxThreads = 256

// useLivingThread replaces the directory of the process by that of a living thread. If the first thread has ended and others have not, the
// kernel shows the program, mappings and open files of the process only through those.
func (p *process) useLivingThread() {
	tasks, err := openRetry(func() (int, error) {
		return unix.Openat(p.dir, "task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	})
	if err != nil {
		return
	}
	list := os.NewFile(uintptr(tasks), "task")
	defer func() { _ = list.Close() }()
	names, err := list.Readdirnames(maxThreads)
	if err != nil {
		return
	}
	for _, name := range names {
		dir, err := openRetry(func() (int, error) {
			return unix.Openat(tasks, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		})
		if err != nil {
			continue
		}
		thread, err := openRetry(func() (int, error) {
			return unix.Openat(dir, "stat", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		})
		if err == nil && p.lives(thread) {
			_ = unix.Close(p.dir)
			p.dir, p.thread = dir, thread
			return
		}
		if err == nil {
			_ = unix.Close(thread)
		}
		_ = unix.Close(dir)
	}
}

// lives reports whether the process or thread of an open stat has not ended.
func (s *scratch) lives(statFile int) bool {
	text, err := s.whole(statFile, maxStatBytes)
	if err != nil {
		return false
	}
	st, err := parseStat(text)
	return err == nil && st.state != 'Z' && st.state != 'X'
}

// unchanged reports whether the process is still the one that was opened: alive, with the same start, and in the container.
func (p *process) unchanged(m membership) bool {
	text, err := p.whole(p.statFile, maxStatBytes)
	if err != nil {
		return false
	}
	s, err := parseStat(text)
	if err != nil || s.start != p.stat.start || s.state == 'X' {
		return false
	}
	if s.state == 'Z' && (p.thread < 0 || !p.lives(p.thread)) {
		return false
	}
	text, err = p.whole(p.cgroupFile, maxCgroupBytes)
	if err != nil {
		return false
	}
	return !m.named() || string(text) == p.cgroup || m.has(string(text))
}

// nested reports whether the process is in a pid namespace below the one that proc shows. That one is the node's, or the collector's own,
// and identifies no container.
func (p *process) nested() bool {
	text, err := p.read("status", 16<<10)
	return err == nil && pidDepth(text) > 1
}

// open opens a file of the process's directory for reading.
func (p *process) open(name string) (fd int, err error) {
	return openRetry(func() (int, error) {
		return unix.Openat(p.dir, name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	})
}

// read reads a file of the process's directory, up to a limit. The result is valid until the next read.
func (p *process) read(name string, limit int) ([]byte, error) {
	fd, err := p.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	text, err := p.whole(fd, limit)
	if errors.Is(err, errEmpty) && name == "cmdline" {
		return nil, nil
	}
	return text, err
}

// errEmpty means that the file is empty, as are those of a process that is gone.
var errEmpty = fmt.Errorf("the file is empty: %w", unix.ESRCH)

// whole reads an open file from its beginning, up to a limit. The result is valid until the next read.
func (s *scratch) whole(fd, limit int) ([]byte, error) {
	s.text = s.text[:0]
	for len(s.text) < limit {
		if len(s.text) == cap(s.text) {
			s.text = slices.Grow(s.text, cap(s.text))
		}
		n, err := unix.Pread(fd, s.text[len(s.text):min(limit, cap(s.text))], int64(len(s.text)))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return s.text, err
		case n <= 0 && len(s.text) == 0:
			return nil, errEmpty
		case n <= 0:
			return s.text, nil
		}
		s.text = s.text[:len(s.text)+n]
	}
	return s.text, nil
}

// readLink reads a link, relative to a directory. The result is valid until the next call.
func (s *scratch) readLink(dir int, name string) ([]byte, error) {
	n, err := unix.Readlinkat(dir, name, s.link[:])
	return s.link[:max(n, 0)], err
}

// linked reads a link of the process's directory.
func (p *process) linked(name string) (string, error) {
	target, err := p.readLink(p.dir, name)
	return string(target), err
}

// startedAt returns the start as wall-clock time, by the present clock: changes of the clock since the start do not matter.
func (p *process) startedAt() time.Time {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return time.Time{}
	}
	age := time.Duration(boot.Nano()) - time.Duration(p.stat.start)*(time.Second/ticksPerSecond)
	return time.Now().Add(-age).Round(time.Second / ticksPerSecond).UTC()
}

// errHidden means that the process exists and /proc does not show it (hidepid, proc(5)).
var errHidden = errors.New("the process is hidden (hidepid)")

// hiddenOrGone distinguishes a process that has ended from one that hidepid hides. That is possible only if procRoot shows this process's
// own pid namespace; elsewhere a process that is not shown is gone.
func hiddenOrGone(procRoot string, pid int, err error) error {
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	self, selfErr := os.Readlink(filepath.Join(procRoot, "self"))
	if selfErr != nil || self != strconv.Itoa(os.Getpid()) {
		return err
	}
	if killErr := unix.Kill(pid, 0); killErr == nil || errors.Is(killErr, unix.EPERM) {
		return errHidden
	}
	return err
}

// openRetry repeats an open that a signal of the Go runtime interrupted.
func openRetry(open func() (int, error)) (int, error) {
	for {
		fd, err := open()
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// reasonOf returns the reason for an error of /proc.
func reasonOf(err error) evidence.Reason {
	switch {
	case errors.Is(err, errOutside):
		return evidence.ReasonProcessGone
	case errors.Is(err, errHiddenProgram):
		return evidence.ReasonDeletedFile
	case errors.Is(err, errHidden), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return evidence.ReasonPermission
	case errors.Is(err, unix.EIO), errors.Is(err, unix.ETIMEDOUT), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return evidence.ReasonTimeout
	}
	return evidence.ReasonProcessGone
}
