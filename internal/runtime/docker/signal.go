// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/signal"
)

// stopSignal returns the name of the signal that was requested before a run ended: the latest signal since its start, if it
// requests termination, or is the stop signal of the image, or is the signal of the exit code. It returns "" if the run ended by
// itself, or began before the observer so that the request may have been missed.
func (k *remembered) stopSignal(on container.Platform, finished time.Time, code uint32, started time.Time) string {
	if k.signal == 0 || k.signaled.Before(started) || (!finished.IsZero() && k.signaled.After(finished.Add(time.Second))) {
		return ""
	}
	name := signal.Name(on.OS, on.Arch, k.signal)
	if signal.RequestsTermination(name) || k.signal == k.imageSignal || signal.FromExitCode(on.OS, on.Arch, code) == name {
		return name
	}
	return ""
}
