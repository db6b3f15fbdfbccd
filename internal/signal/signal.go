// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package signal maps signal numbers to names for the platform that a container runs on, which may differ from the
// observer's. The meaning of a number depends on the operating system and the architecture. A number that has no meaning
// there, or whose meaning this package does not know, has no name; nothing is guessed.
package signal

import (
	"runtime"
	"strconv"
	"strings"
)

// genericNames are the signals of Linux on all architectures that containers usually run on (signal(7), the x86 and ARM
// column). 32 and 33 belong to the C library. Real-time signals begin at 34; SIGRTMIN+3 is in the table because systemd as an
// init process uses it as its stop signal.
var genericNames = [...]string{
	1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
	9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM",
	16: "SIGSTKFLT", 17: "SIGCHLD", 18: "SIGCONT", 19: "SIGSTOP", 20: "SIGTSTP", 21: "SIGTTIN", 22: "SIGTTOU",
	23: "SIGURG", 24: "SIGXCPU", 25: "SIGXFSZ", 26: "SIGVTALRM", 27: "SIGPROF", 28: "SIGWINCH", 29: "SIGIO",
	30: "SIGPWR", 31: "SIGSYS", 34: "SIGRTMIN", 35: "SIGRTMIN+1", 36: "SIGRTMIN+2", 37: "SIGRTMIN+3",
}

// portable marks the numbers that mean the same on every architecture of Linux. On MIPS, for example, 10 is SIGBUS and 16 is
// SIGUSR1.
var portable = [...]bool{
	1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 8: true, 9: true, 11: true, 13: true, 14: true, 15: true,
}

// genericArchitectures are the GOARCH values that use genericNames. The engines use the same values.
var genericArchitectures = map[string]bool{
	"386": true, "amd64": true, "arm": true, "arm64": true, "loong64": true, "ppc64": true, "ppc64le": true, "riscv64": true, "s390x": true,
}

// windowsNames are the two numbers that a Docker Engine on Windows accepts. It terminates the process for both, because Windows
// has no signals.
var windowsNames = map[uint32]string{9: "SIGKILL", 15: "SIGTERM"}

// Name returns the name of signal n on a platform, given as GOOS and GOARCH values; an empty value means the one that this
// program was built for. It returns "" if the number has no known name.
func Name(os, arch string, n uint32) string {
	os, arch = orOwn(os, arch)
	switch {
	case os == "windows":
		return windowsNames[n]
	case os != "linux" || n >= uint32(len(genericNames)):
		return ""
	case genericArchitectures[arch] || (n < uint32(len(portable)) && portable[n]):
		return genericNames[n]
	default:
		return ""
	}
}

// Number parses a signal that is written as a number, or as a name with or without SIG. It returns 0 if s is neither.
func Number(os, arch, s string) uint32 {
	if n, err := strconv.ParseUint(s, 10, 7); err == nil {
		return uint32(n)
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	for n := uint32(1); n < uint32(len(genericNames)); n++ {
		if known := Name(os, arch, n); known == name && known != "" {
			return n
		}
	}
	return 0
}

// FromExitCode returns the name of the signal that an exit code stands for, or "". On Linux, runtimes and shells report 128 + n
// for a process that signal n terminated. That is a convention only: a program may also call exit(137). Windows has no such
// convention.
func FromExitCode(os, arch string, code uint32) string {
	os, arch = orOwn(os, arch)
	if os != "linux" || code <= 128 {
		return ""
	}
	return Name(os, arch, code-128)
}

// RequestsTermination reports whether the signal of this name asks a process to terminate, and not to reload, dump or continue.
func RequestsTermination(name string) bool {
	switch name {
	case "SIGINT", "SIGQUIT", "SIGABRT", "SIGKILL", "SIGTERM", "SIGRTMIN+3":
		return true
	default:
		return false
	}
}

func orOwn(os, arch string) (string, string) {
	if os == "" {
		os = runtime.GOOS
	}
	if arch == "" {
		arch = runtime.GOARCH
	}
	return os, arch
}
