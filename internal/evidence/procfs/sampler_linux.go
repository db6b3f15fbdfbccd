// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/redact"
)

// concurrent is how many samples are taken at once: one that hangs must not delay the others until it is abandoned.
const concurrent = 2

// ErrClosed is returned by Sample after Close.
var ErrClosed = errors.New("the sampler is closed")

// Sampler takes samples of containers. Its methods may be called by several goroutines at once.
type Sampler struct {
	config   Config
	redactor *redact.Redactor
	pace     *pace
	bytes    *rate.Limiter
	slots    chan struct{}
	becoming time.Duration // the constant, except in tests

	table    *table
	contents *contents
	recall   *recall
	packages *databases
	kernel   refusals

	workers  workers
	hung     *hung
	counters counters
}

// refusals are the features that this kernel refused once, and that are not tried again.
type refusals struct {
	noMapFiles atomic.Bool // map_files, for want of a capability
	noSpans    atomic.Bool // PROCMAP_QUERY
}

type counters struct{ samples, hashed, read atomic.Uint64 }

// Check validates the configuration, and that ProcRoot is a proc file system.
func (c Config) Check() error {
	if err := c.Validate(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(c.ProcRoot, "self", "stat")); err != nil {
		return fmt.Errorf("proc_root %s shows no processes: mount the host's proc file system there: %w", c.ProcRoot, err)
	}
	return nil
}

// NewSampler returns a Sampler. It fails if the configuration is invalid or ProcRoot is no proc file system.
func NewSampler(config Config) (*Sampler, error) {
	if err := config.Check(); err != nil {
		return nil, err
	}
	redactor, err := redact.New(config.Redact)
	if err != nil {
		return nil, err
	}
	contents, err := newContents(config.CacheEntries)
	if err != nil {
		return nil, err
	}
	recall, err := newRecall()
	if err != nil {
		return nil, err
	}
	packages, err := newDatabases()
	if err != nil {
		return nil, err
	}
	perMinute := config.Limits.BytesPerMinute
	return &Sampler{
		config:   config,
		redactor: redactor,
		pace:     newPace(config.MaxCPUFraction, time.Now),
		bytes:    rate.NewLimiter(rate.Limit(float64(perMinute)/60), int(perMinute)),
		slots:    make(chan struct{}, concurrent),
		becoming: becoming,
		table:    newTable(config.ProcRoot),
		contents: contents,
		recall:   recall,
		packages: packages,
		hung:     newHung(config.Limits.Stuck),
	}, nil
}

// Sample takes a sample of a container. It waits for its turn, and for CPU time under MaxCPUFraction, no longer than Limits.Time once it
// has begun. What cannot be read is UNKNOWN in the sample and no error. An error is ErrClosed, or the context's: then the sample has what
// was read before.
func (s *Sampler) Sample(ctx context.Context, target evidence.Target) (evidence.Sample, error) {
	if !s.hung.allows(target.ContainerID) {
		return refused(target), nil
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return evidence.Sample{ContainerID: target.ContainerID, TakenAt: time.Now().UTC()}, context.Cause(ctx)
	}
	w, err := s.workers.get()
	if err != nil {
		return evidence.Sample{}, err
	}
	s.counters.samples.Add(1)
	in := newInspection(ctx, s, target)
	w.work <- in
	if s.watch(in) {
		s.workers.put(w)
	} else {
		close(w.work)
	}
	return in.finish(), context.Cause(ctx)
}

// watch waits until the inspection is done or hangs.
func (s *Sampler) watch(in *inspection) (done bool) {
	tick := time.NewTicker(max(s.config.Limits.Step/5, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-in.done:
			return true
		case <-tick.C:
			if in.hangs(s.config.Limits.Step) && in.abandon() {
				return false
			}
		}
	}
}

// refused returns the sample of a container that may not be sampled.
func refused(target evidence.Target) evidence.Sample {
	sample := evidence.Sample{ContainerID: target.ContainerID, TakenAt: time.Now().UTC()}
	sample.Processes = []evidence.Process{unknownProcess(target.PID, true, evidence.ReasonTimeout)}
	sample.Coverage.Processes = evidence.Count{Seen: 1, Skipped: map[evidence.Reason]int{evidence.ReasonTimeout: 1}}
	return sample
}

// Stats returns what was done so far.
func (s *Sampler) Stats() Stats {
	stats := Stats{Samples: s.counters.samples.Load(), FilesHashed: s.counters.hashed.Load(), BytesRead: s.counters.read.Load()}
	stats.CacheHits, stats.CacheSize = s.contents.stats()
	stats.CPU, stats.Waited = s.pace.totals()
	stats.Stuck, stats.Suspended = s.hung.counts()
	return stats
}

// Close waits for the samples that are being taken; cancel their contexts first to shorten that. A thread that hangs in the kernel
// cannot be ended and is not waited for: it ends when the call returns, or with this process. The error says how many hang.
func (s *Sampler) Close() error {
	s.workers.close()
	for range concurrent {
		s.slots <- struct{}{}
	}
	for range concurrent {
		<-s.slots
	}
	s.workers.dismiss()
	if threads, _ := s.hung.counts(); threads > 0 {
		return fmt.Errorf("%d threads of process evidence still hang on files that do not answer", threads)
	}
	return nil
}

// threadRuns reports whether a thread of this process runs, or only waits for a processor.
func threadRuns(tid int) bool {
	text, err := readSmall("/proc/self/task/"+strconv.Itoa(tid)+"/stat", 4<<10)
	if err != nil {
		return false
	}
	st, err := parseStat(text)
	return err == nil && st.state == 'R'
}
