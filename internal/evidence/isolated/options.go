// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"context"
	"time"

	"github.com/zastava-otel/zastava/internal/evidence/procfs"
)

// Store keeps the suspended containers across restarts of the collector.
type Store interface {
	Load(ctx context.Context) ([]byte, error) // nil if nothing is stored
	Save(ctx context.Context, text []byte) error
}

// Log gets state changes: fields are key, value, key, value.
type Log interface {
	Info(msg string, fields ...any)
	Warn(msg string, fields ...any)
}

// Options of a Sampler.
type Options struct {
	Config procfs.Config
	// Socket is the Unix socket of a sampler that was started separately, with the capabilities that the collector does not need then.
	// If empty, the Sampler starts the process itself.
	Socket string
	// IdleTimeout is how long the process stays without work; 0 = 1 minute.
	IdleTimeout time.Duration
	Log         Log // nil if nothing is logged
}

// Stats adds to the sampler's own counts those of its processes.
type Stats struct {
	procfs.Stats
	Processes uint64 // started
	Ended     uint64 // unexpectedly: by a limit, a signal or a fault
}
