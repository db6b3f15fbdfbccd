// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is USER_HZ, which is 100 on every architecture Linux has by now.
const ticksPerSecond = 100

// process is one process, held by its directory in /proc. The kernel ties an open directory to the process and not to the number:
// once the process is gone every read through it fails, though another may have the pid by then.
type process struct {
	dir    *os.File // O_PATH
	pid    int
	stat   stat
	cgroup string // the text of its cgroup file
}

// openProcess opens a process and reads who it is.
func openProcess(procRoot string, pid int) (*process, error) {
	fd, err := openRetry(func() (int, error) {
		return unix.Open(filepath.Join(procRoot, strconv.Itoa(pid)), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, hiddenOrGone(procRoot, pid, err)
	}
	p := &process{dir: os.NewFile(uintptr(fd), "/proc/<pid>"), pid: pid}
	if p.stat, p.cgroup, err = p.identity(); err != nil {
		p.close()
		return nil, hiddenOrGone(procRoot, pid, err)
	}
	return p, nil
}

func (p *process) close() { _ = p.dir.Close() }

func (p *process) fd() int { return int(p.dir.Fd()) }

// identity reads what must stay the same while a process is looked at.
func (p *process) identity() (s stat, cgroup string, err error) {
	text, err := p.read("stat", 4<<10)
	if err != nil {
		return s, "", err
	}
	if s, err = parseStat(text); err != nil {
		return s, "", err
	}
	text, err = p.read("cgroup", maxCgroupBytes)
	return s, string(text), err
}

// unchanged says whether the process still is what it was when it was opened: alive, started then, and in the container.
func (p *process) unchanged(m membership) bool {
	s, cgroup, err := p.identity()
	if err != nil || s.start != p.stat.start || s.state == 'Z' || s.state == 'X' {
		return false
	}
	return !m.named() || m.has(cgroup)
}

// nested says whether the process is in a pid namespace below the one that proc shows. The namespace that proc shows is the node's, or
// the collector's own, and being in it says nothing.
func (p *process) nested() bool {
	text, err := p.read("status", 16<<10)
	return err == nil && pidDepth(text) > 1
}

// open opens a file of the process's directory for reading.
func (p *process) open(name string) (*os.File, error) {
	fd, err := openRetry(func() (int, error) {
		return unix.Openat(p.fd(), name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// read reads a file of the process's directory, up to a bound.
func (p *process) read(name string, limit int) ([]byte, error) {
	fd, err := openRetry(func() (int, error) {
		return unix.Openat(p.fd(), name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	text := make([]byte, 0, min(limit, 2<<10)) // nearly every stat, cgroup and cmdline fits
	for len(text) < limit {
		if len(text) == cap(text) {
			text = slices.Grow(text, min(limit, 4*cap(text))-len(text))
		}
		n, err := unix.Read(fd, text[len(text):min(limit, cap(text))])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return text, err
		case n <= 0:
			if len(text) == 0 && name != "cmdline" {
				return nil, unix.ESRCH
			}
			return text, nil
		}
		text = text[:len(text)+n]
	}
	return text, nil
}

// link reads a link of the process's directory.
func (p *process) link(name string) (string, error) {
	var target [unix.PathMax]byte
	n, err := unix.Readlinkat(p.fd(), name, target[:])
	if err != nil {
		return "", err
	}
	return string(target[:n]), nil
}

// startedAt makes a wall-clock time of the start time, by the clock of now: what was set or slewed since the start does not count.
func (p *process) startedAt() time.Time {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return time.Time{}
	}
	age := time.Duration(boot.Nano()) - time.Duration(p.stat.start)*(time.Second/ticksPerSecond)
	return time.Now().Add(-age).Round(time.Second / ticksPerSecond).UTC()
}

// errHidden: the process is there and /proc does not show it (hidepid, proc(5)).
var errHidden = errors.New("the process is hidden (hidepid)")

// hiddenOrGone tells a process that has ended from one that hidepid hides. Only where procRoot shows this process's own pid
// namespace is there anything to ask; elsewhere what cannot be seen is gone.
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

// openRetry repeats what a signal of the Go runtime's own interrupted.
func openRetry(open func() (int, error)) (int, error) {
	for {
		fd, err := open()
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// reasonOf says what an error of /proc means.
func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, errOutside):
		return ReasonProcessGone
	case errors.Is(err, errHidden), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return ReasonPermission
	case errors.Is(err, unix.EIO), errors.Is(err, unix.ETIMEDOUT), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return ReasonTimeout
	}
	return ReasonProcessGone
}
