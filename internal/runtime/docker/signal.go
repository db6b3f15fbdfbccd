// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"time"

	"github.com/zastava-otel/zastava/internal/signal"
)

// host is the machine that the containers run on, in Go's words. The numbers of signals are its own.
type host struct{ os, arch string }

// stopSignal names the signal that was sent on request before a run ended: the newest one since its start, if it is one that
// asks for an end, or the one that its image asks to be stopped by, or the exit code tells of it. A run that began before the observer did not hear all requests; then, and
// when it ended by itself, it is "".
func (k *remembered) stopSignal(on host, finished time.Time, code uint32, started time.Time) string {
	if k.signal == 0 || k.signaled.Before(started) || (!finished.IsZero() && k.signaled.After(finished.Add(time.Second))) {
		return ""
	}
	name := signal.Name(on.os, on.arch, k.signal)
	if signal.AsksForEnd(name) || k.signal == k.stopBy || signal.OfExit(on.os, on.arch, code) == name {
		return name
	}
	return ""
}
