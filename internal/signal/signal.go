// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package signal names signals by number, for the machine that a container runs on: that need not be the one that observes
// it. A number means what the operating system and the architecture say it means, so where those give it no meaning, or one
// that is not known here, it has no name. Nothing is guessed.
package signal

import (
	"runtime"
	"strconv"
	"strings"
)

// generic are the signals of Linux on all architectures that containers usually run on (signal(7), the x86 and ARM column).
// 32 and 33 belong to the C library; real-time signals begin at 34, and systemd asks init processes to stop by SIGRTMIN+3.
var generic = [...]string{
	1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
	9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM",
	16: "SIGSTKFLT", 17: "SIGCHLD", 18: "SIGCONT", 19: "SIGSTOP", 20: "SIGTSTP", 21: "SIGTTIN", 22: "SIGTTOU",
	23: "SIGURG", 24: "SIGXCPU", 25: "SIGXFSZ", 26: "SIGVTALRM", 27: "SIGPROF", 28: "SIGWINCH", 29: "SIGIO",
	30: "SIGPWR", 31: "SIGSYS", 34: "SIGRTMIN", 35: "SIGRTMIN+1", 36: "SIGRTMIN+2", 37: "SIGRTMIN+3",
}

// everywhere tells the numbers that mean the same on every architecture of Linux. MIPS, for one, calls 10 SIGBUS and 16 SIGUSR1.
var everywhere = [...]bool{
	1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 8: true, 9: true, 11: true, 13: true, 14: true, 15: true,
}

// usual are the architectures whose numbers are the generic ones, in Go's words, which are the engines' words too.
var usual = map[string]bool{
	"386": true, "amd64": true, "arm": true, "arm64": true, "loong64": true, "ppc64": true, "ppc64le": true, "riscv64": true, "s390x": true,
}

// windows are the two numbers that a Docker Engine on Windows knows. It ends a process all the same; there are no signals.
var windows = map[uint32]string{9: "SIGKILL", 15: "SIGTERM"}

// Name gives the name of the signal that n is on a machine with this operating system and architecture, in Go's words; "" for
// either means the one that this program was built for. It is "" where the number has no name that is known.
func Name(os, arch string, n uint32) string {
	os, arch = machine(os, arch)
	switch {
	case os == "windows":
		return windows[n]
	case os != "linux" || n >= uint32(len(generic)):
		return ""
	case usual[arch] || (n < uint32(len(everywhere)) && everywhere[n]):
		return generic[n]
	default:
		return ""
	}
}

// Number reads a signal that is told as a number or by its name, with or without SIG. 0: it is neither.
func Number(os, arch, s string) uint32 {
	if n, err := strconv.ParseUint(s, 10, 7); err == nil {
		return uint32(n)
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	for n := uint32(1); n < uint32(len(generic)); n++ {
		if known := Name(os, arch, n); known == name && known != "" {
			return n
		}
	}
	return 0
}

// FromExitCode names the signal that an exit code tells of: on Linux, runtimes and shells report 128 + n for a process that signal n
// ended. It is a convention, not a proof: a program may exit with 137 of its own will. Windows has no such convention.
func FromExitCode(os, arch string, code uint32) string {
	os, arch = machine(os, arch)
	if os != "linux" || code <= 128 {
		return ""
	}
	return Name(os, arch, code-128)
}

// RequestsTermination tells whether a signal of this name asks a process to end, rather than to reload, dump or go on.
func RequestsTermination(name string) bool {
	switch name {
	case "SIGINT", "SIGQUIT", "SIGABRT", "SIGKILL", "SIGTERM", "SIGRTMIN+3":
		return true
	default:
		return false
	}
}

func machine(os, arch string) (string, string) {
	if os == "" {
		os = runtime.GOOS
	}
	if arch == "" {
		arch = runtime.GOARCH
	}
	return os, arch
}
