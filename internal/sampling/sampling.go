// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package sampling decides when a run is sampled, and which part of a sample is new: shortly after the run began, again a little later
// because libraries load lazily, then at long intervals.
//
// It promises: Began and Ended never block and never wait for a sample; runs are sampled in the order in which they are due, first
// samples first, except for one in five while others wait; only what changed since it was reported is reported again, with the number of
// samples that showed it meanwhile; what the sink has no room for stays unreported. When a run ends, what was seen and not reported is
// reported.
//
// It refuses: it remembers a bounded number of runs and keeps a bounded number of reports, and counts what exceeds these. It reads no
// process itself and knows no telemetry format.
package sampling

import (
	"context"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/evidence"
)

// Options of a Scheduler. Zero fields mean their defaults, except for Resample and Refresh, where zero means never.
type Options struct {
	First    time.Duration // after a run began; 1 s
	Second   time.Duration // between the first sample and the second; 30 s
	Resample time.Duration // between the following samples
	Refresh  time.Duration // after which everything is reported again, changed or not
	Spread   time.Duration // over which the first samples of runs that began long ago are spread; 10 s
	Jitter   float64       // share of each wait that is random; 0.1
	Runs     int           // remembered at once; 16384
	Workers  int           // samples at once; 2
	Reports  int           // that wait for the sink; 64
	Timeout  time.Duration // of a request for a process id to a runtime; 10 s
	Drain    time.Duration // for the sink to accept what is unreported when Run ends; 5 s
}

func (o *Options) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&o.First, time.Second)
	set(&o.Second, 30*time.Second)
	set(&o.Spread, 10*time.Second)
	set(&o.Timeout, 10*time.Second)
	set(&o.Drain, 5*time.Second)
	if o.Jitter <= 0 {
		o.Jitter = 0.1
	}
	for _, n := range []struct {
		to *int
		v  int
	}{{&o.Runs, 16_384}, {&o.Workers, 2}, {&o.Reports, 64}} {
		if *n.to <= 0 {
			*n.to = n.v
		}
	}
}

// Sampler takes samples: *procfs.Sampler.
type Sampler interface {
	Sample(ctx context.Context, target evidence.Target) (evidence.Sample, error)
}

// Sink accepts reports. Deliver returns nil once the report is accepted, or permanently refused and counted, and an error only if ctx ended
// before that.
type Sink interface {
	Deliver(ctx context.Context, r *Report) error
}

// Telemetry counts. Its methods must not block and may be called from several goroutines.
type Telemetry interface {
	// Sampled counts a sample by its outcome, one of the Outcome constants. s is nil if no sample was taken.
	Sampled(outcome string, s *evidence.Sample)
	// Missed counts a run that is never sampled; reason is one of the Missed constants.
	Missed(reason string)
}

// The outcomes of a sample. Their values are attributes of a metric.
const (
	OutcomeReported  = "told"      // something was new
	OutcomeUnchanged = "unchanged" // nothing was
	OutcomeFailed    = "failed"    // the process is unknown, or could not be sampled
	OutcomeDropped   = "dropped"   // something was new and the sink had no room; the next sample reports it
	OutcomeLost      = "lost"      // it was unreported when the observer stopped, and the sink did not accept it in time
)

// Why a run is missed.
const (
	MissedEnded = "ended" // before its first sample
	MissedFull  = "full"  // too many runs are remembered
)

// Run is a run that has not ended.
type Run struct {
	Runtime      string // the configured name of the runtime
	Container    *container.Container
	Run          container.Run
	RestartCount uint32
	// Start is the start or restart that was reported; nil if an earlier process of the observer reported it.
	Start *container.Transition
}

// Report is what is new in a sample.
type Report struct {
	Run
	Sequence uint32 // of the sample within the run, from 1
	Sample   evidence.Sample
	Hits     []uint64 // for each of Sample.Files: how many samples showed it since it was last reported
	// Complete reports whether Sample has everything that was found, and not only what is new. This holds for the first report of a run. Its
	// start can then be reported again with the process.
	Complete bool
}

// PID requests the main process of a container from its runtime.
type PID func(ctx context.Context, id string) (uint32, error)
