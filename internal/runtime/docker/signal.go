// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/signal"
)

// stopSignal names the signal that was sent on request before a run ended: the newest one since its start, if it is one that
// asks for an end, or the one that its image asks to be stopped by, or the exit code tells of it. A run that began before the observer did not hear all requests; then, and
// when it ended by itself, it is "".
func (k *remembered) stopSignal(on container.Platform, finished time.Time, code uint32, started time.Time) string {
	if k.signal == 0 || k.signaled.Before(started) || (!finished.IsZero() && k.signaled.After(finished.Add(time.Second))) {
		return ""
	}
	name := signal.Name(on.OS, on.Arch, k.signal)
	if signal.RequestsTermination(name) || k.signal == k.stopBy || signal.FromExitCode(on.OS, on.Arch, code) == name {
		return name
	}
	return ""
}
