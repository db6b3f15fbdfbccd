// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"strconv"
	"strings"
	"time"
)

// signals are those that ask a process to end, by their numbers on Linux (signal(7)), which is what the engine's events have.
var signals = map[uint32]string{2: "SIGINT", 3: "SIGQUIT", 6: "SIGABRT", 9: "SIGKILL", 15: "SIGTERM", 37: "SIGRTMIN+3"}

// others do not ask for an end, and count as what ended a process only where its exit code says so.
var others = map[uint32]string{1: "SIGHUP", 10: "SIGUSR1", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 28: "SIGWINCH"}

// signalNumber reads the signal of a kill event: a number, or (Podman) perhaps a name. 0: it is neither.
func signalNumber(s string) uint32 {
	if n, err := strconv.ParseUint(s, 10, 7); err == nil {
		return uint32(n)
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	for _, table := range []map[uint32]string{signals, others} {
		for n, known := range table {
			if known == name {
				return n
			}
		}
	}
	return 0
}

// stopSignal names the signal that was sent on request before a run ended: the newest one since its start, if it is one that
// asks for an end or the exit code tells of it. A run that began before the observer did not hear all requests; then, and
// when it ended by itself, it is "".
func (k *remembered) stopSignal(finished time.Time, code uint32, started time.Time) string {
	if k.signal == 0 || k.signaled.Before(started) || (!finished.IsZero() && k.signaled.After(finished.Add(time.Second))) {
		return ""
	}
	if name, ok := signals[k.signal]; ok {
		return name
	}
	if code == 128+k.signal {
		return others[k.signal]
	}
	return ""
}
