// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// kept are the capabilities that reading other processes takes, where the collector has them: docs/evidence.md has what fails without
// each. The last one lets it follow the links of map_files, to a library that was replaced while it is loaded.
const kept uint64 = 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_CHECKPOINT_RESTORE

// confine gives up capabilities and resources, then starts the program once more. Capabilities are a thread's, so this thread gives
// them up and execs: the new program has one thread, and its rights are this one's.
func confine() error {
	runtime.LockOSThread()
	// An out-of-memory killer, the kernel's or the cgroup's, shall take this process and not the collector. Raising is always allowed.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	for resource, value := range map[int]uint64{
		unix.RLIMIT_CORE:   0,             // a core dump would hold what was read
		unix.RLIMIT_NOFILE: 256,           // the sampler has some ten files open at once
		unix.RLIMIT_FSIZE:  maxFileMemory, // of what it hands to its successor
	} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limit resource %d: %w", resource, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up gaining privileges: %w", err)
	}
	changeUser()
	if err := dropCapabilities(); err != nil {
		return err
	}
	err := syscall.Exec("/proc/self/exe", []string{Name, commandServe}, []string{}) //nolint:gosec // nothing of it is from outside
	return fmt.Errorf("start again as %s: %w", commandServe, err)
}

// user is the user and the group that the process becomes: numbers that no distribution, runtime or systemd assigns (uids-gids of systemd:
// 1879048192 to 2147483647 are unused).
const user = 2_000_000_019

// changeUser makes the thread another user's, where it is root's and has the capabilities that take the place of being root for reading. What
// root owns can then only be read: openat2 takes its flags in memory, where no filter of system calls sees them, and root without capabilities
// can still write to its own files, and to the memory of other processes of its own. Where it fails, for want of CAP_SETUID or in a user
// namespace without the number, or where other users may not start the program, the process stays root's.
func changeUser() {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	const needed = 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	if os.Geteuid() != 0 || unix.Capget(&header, &data[0]) != nil || data[0].Permitted&needed != needed {
		return
	}
	if unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0) != nil {
		return
	}
	// Of this thread only, as the program that it becomes has no other.
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, user, user, user); errno != 0 {
		return
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, user, user, user); errno != 0 {
		return
	}
	// The capabilities are still permitted, and no longer effective.
	if unix.Capset(&header, &data[0]) == nil && unix.Faccessat(unix.AT_FDCWD, "/proc/self/exe", unix.X_OK, 0) != nil {
		_, _, _ = unix.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0)
		_, _, _ = unix.RawSyscall(unix.SYS_SETRESGID, 0, 0, 0)
	}
}

// dropCapabilities leaves the thread with those in kept, of those it had. root's come back with an exec unless the bounding set
// forbids, so that is cut first; lowering it takes CAP_SETPCAP, without which there is nothing to come back.
func dropCapabilities() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if kept&(1<<c) == 0 {
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		}
	}
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	keep := [2]uint32{uint32(kept & 0xffffffff), uint32(kept >> 32)}
	for i := range data {
		data[i].Permitted &= keep[i]
		data[i].Effective = data[i].Permitted
		data[i].Inheritable = data[i].Permitted
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	// For a collector that is not root: what is ambient stays over the exec.
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if kept&(1<<c) != 0 && data[c/32].Permitted&(1<<(c%32)) != 0 {
			_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0)
		}
	}
	return nil
}

// limitMemory bounds the address space to what it is now and some more: Go reserves a lot of it without using it.
func limitMemory(more uint64) error {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return fmt.Errorf("limit memory: %w", err)
	}
	var pages uint64
	if _, err := fmt.Sscan(string(text), &pages); err != nil {
		return fmt.Errorf("limit memory: %w", err)
	}
	bytes := pages*uint64(os.Getpagesize()) + more
	if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: bytes, Max: bytes}); err != nil {
		return fmt.Errorf("limit memory: %w", err)
	}
	return nil
}

// allowed are the system calls of Go's runtime and of reading files. All others fail with EPERM: those that open sockets, start programs,
// signal other processes, or change files, mounts, clocks and the kernel.
var allowed = strings.Fields(`
	read pread64 readv write writev pwrite64 close close_range fcntl dup dup3 lseek ftruncate fadvise64 ioctl pipe2 eventfd2
	openat2 stat lstat fstat newfstatat fstatat64 statx statfs fstatfs access faccessat faccessat2 readlink readlinkat getdents64
	name_to_handle_at getcwd
	mmap munmap mremap mprotect madvise mincore brk membarrier
	clone clone3 exit exit_group futex set_robust_list get_robust_list rseq set_tid_address arch_prctl restart_syscall
	rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait sigaltstack tgkill
	getpid gettid getppid getuid geteuid getgid getegid getpgrp capget uname sysinfo getrusage times getrandom getcpu
	sched_yield sched_getaffinity sched_setattr sched_getattr setpriority getpriority ioprio_set ioprio_get
	prlimit64 getrlimit setrlimit prctl
	nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time timer_create timer_settime timer_delete setitimer
	epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 poll ppoll select pselect6
`)

// allowedProbing are allowed with the signal 0 only, which asks whether a process exists.
var allowedProbing = []string{"kill"}

// allowedReading are allowed with flags that only read. openat2 takes its flags in memory, which a filter cannot read: what it opens is
// only as safe as the process's rights to files.
var allowedReading = []string{"open", "openat"}

// writing are the flags of open(2) that can change something.
const writing = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC | unix.O_APPEND

// restrictSystemCalls leaves all threads with the allowed system calls, permanently. It fails where the kernel has no seccomp, and on
// architectures of which the library knows no system calls.
func restrictSystemCalls() error {
	info, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	if !seccomp.Supported() {
		return unix.ENOSYS
	}
	group := seccomp.SyscallGroup{Action: seccomp.ActionAllow}
	for _, name := range allowed {
		if _, known := info.SyscallNames[name]; known {
			group.Names = append(group.Names, name)
		}
	}
	for i, name := range allowedReading {
		if _, known := info.SyscallNames[name]; known {
			group.NamesWithCondtions = append(group.NamesWithCondtions, seccomp.NameWithConditions{
				Name: name, Conditions: seccomp.ArgumentConditions{{Argument: uint32(1 + i), Operation: seccomp.BitsNotSet, Value: writing}},
			})
		}
	}
	for _, name := range allowedProbing {
		group.NamesWithCondtions = append(group.NamesWithCondtions, seccomp.NameWithConditions{
			Name: name, Conditions: seccomp.ArgumentConditions{{Argument: 1, Operation: seccomp.Equal, Value: 0}},
		})
	}
	return seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy:     seccomp.Policy{DefaultAction: seccomp.ActionErrno, Syscalls: []seccomp.SyscallGroup{group}},
	})
}
