// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

// signalNames are the signals of Linux by number (signal(7), the x86 and ARM column). 32 and 33 belong to the C library;
// real-time signals begin at 34, and systemd asks init processes to stop by SIGRTMIN+3 (37).
var signalNames = [...]string{
	1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
	9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM",
	16: "SIGSTKFLT", 17: "SIGCHLD", 18: "SIGCONT", 19: "SIGSTOP", 20: "SIGTSTP", 21: "SIGTTIN", 22: "SIGTTOU",
	23: "SIGURG", 24: "SIGXCPU", 25: "SIGXFSZ", 26: "SIGVTALRM", 27: "SIGPROF", 28: "SIGWINCH", 29: "SIGIO",
	30: "SIGPWR", 31: "SIGSYS", 34: "SIGRTMIN", 35: "SIGRTMIN+1", 36: "SIGRTMIN+2", 37: "SIGRTMIN+3",
}

// exitSignal names the signal that a Linux exit code tells of: runtimes and shells report 128 + n for a process that
// signal n ended. It is a convention, not a proof: a program may exit with 137 of its own will. Empty where the code
// tells of none.
func exitSignal(code uint32) string {
	if code <= 128 || code >= 128+uint32(len(signalNames)) {
		return ""
	}
	return signalNames[code-128]
}
