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
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/redact"
)

const (
	// concurrent is how many samples are taken at once: one that hangs must not hold up the others until it is given up.
	concurrent = 2
	// asideFor is how long a container that made a thread hang is left alone after; it is left alone anyway while the thread hangs.
	asideFor = 10 * time.Minute
)

// ErrClosed is what Sample gives after Close.
var ErrClosed = errors.New("the sampler is closed")

// Sampler takes samples of containers. Its methods may be called by several goroutines at once.
type Sampler struct {
	config   Config
	redactor *redact.Redactor
	table    *table
	contents *contents
	pace     *pace
	bytes    *rate.Limiter
	slots    chan struct{}
	becoming time.Duration // the constant, but in tests

	noMapFiles atomic.Bool // the kernel refused map_files for want of a capability

	samples, hashed, read atomic.Uint64

	recall  *recall
	noSpans atomic.Bool // the kernel does not tell mappings one by one

	mu     sync.Mutex
	idle   []*worker
	closed bool
	stuck  int
	aside  map[string]aside
}

// aside is a container that is left alone.
type aside struct {
	until time.Time
	stuck int // its threads that hang still
}

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

// NewSampler makes a Sampler. It fails on a configuration that does not validate and where ProcRoot is no proc file system.
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
	perMinute := config.Limits.BytesPerMinute
	return &Sampler{
		config:   config,
		redactor: redactor,
		table:    newTable(config.ProcRoot),
		contents: contents,
		pace:     newPace(config.MaxCPUFraction, time.Now),
		bytes:    rate.NewLimiter(rate.Limit(float64(perMinute)/60), int(perMinute)),
		slots:    make(chan struct{}, concurrent),
		becoming: becoming,
		aside:    map[string]aside{},
		recall:   recall,
	}, nil
}

// Sample looks at a container. It waits for its turn, and for CPU time under MaxCPUFraction, no longer than Limits.Time once it has
// begun. What cannot be read is UNKNOWN in the sample and no error. An error is ErrClosed, or the context's: then the sample holds
// what was read before.
func (s *Sampler) Sample(ctx context.Context, target evidence.Target) (evidence.Sample, error) {
	if !s.approachable(target.ContainerID) {
		return s.untouched(target), nil
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return evidence.Sample{ContainerID: target.ContainerID, TakenAt: time.Now().UTC()}, context.Cause(ctx)
	}
	w, err := s.worker()
	if err != nil {
		return evidence.Sample{}, err
	}
	s.samples.Add(1)
	l := newLook(ctx, s, target)
	w.work <- l
	if s.watch(l) {
		s.rest(w)
	} else {
		close(w.work)
	}
	return l.finish(), context.Cause(ctx)
}

// watch waits until the look is done or hangs.
func (s *Sampler) watch(l *look) (done bool) {
	tick := time.NewTicker(max(s.config.Limits.Step/5, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-l.done:
			return true
		case <-tick.C:
			if l.hangs(s.config.Limits.Step) && l.abandon() {
				return false
			}
		}
	}
}

// approachable says whether the container may be looked at: it is not put aside, and there are threads left to lose.
func (s *Sampler) approachable(containerID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for id, a := range s.aside {
		if a.stuck == 0 && now.After(a.until) {
			delete(s.aside, id)
		}
	}
	_, away := s.aside[containerID]
	return !away && s.stuck < s.config.Limits.Stuck
}

// untouched is the sample of a container that is put aside.
func (s *Sampler) untouched(target evidence.Target) evidence.Sample {
	sample := evidence.Sample{ContainerID: target.ContainerID, TakenAt: time.Now().UTC()}
	sample.Processes = []evidence.Process{unknownProcess(target.PID, true, evidence.ReasonTimeout)}
	sample.Coverage.Processes = evidence.Count{Seen: 1, Skipped: map[evidence.Reason]int{evidence.ReasonTimeout: 1}}
	return sample
}

// gaveUp counts a thread that hangs, and puts its container aside.
func (s *Sampler) gaveUp(containerID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuck++
	a := s.aside[containerID]
	a.stuck++
	a.until = time.Now().Add(asideFor)
	s.aside[containerID] = a
}

// cameBack counts a thread that hangs no more.
func (s *Sampler) cameBack(containerID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuck--
	a := s.aside[containerID]
	a.stuck--
	s.aside[containerID] = a
}

// Stats tells what was done so far.
func (s *Sampler) Stats() Stats {
	stats := Stats{Samples: s.samples.Load(), FilesHashed: s.hashed.Load(), BytesRead: s.read.Load()}
	stats.CacheHits, stats.CacheSize = s.contents.stats()
	stats.CPU, stats.Waited = s.pace.totals()
	s.mu.Lock()
	defer s.mu.Unlock()
	stats.Stuck, stats.PutAside = s.stuck, len(s.aside)
	return stats
}

// Close waits for the samples that are being taken; cancel their contexts first to have it sooner. A thread that hangs in the kernel
// cannot be ended and is not waited for: it ends with what it hangs on, or with this process. The error says how many do.
func (s *Sampler) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for range concurrent {
		s.slots <- struct{}{}
	}
	for range concurrent {
		<-s.slots
	}
	s.dismiss()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stuck > 0 {
		return fmt.Errorf("%d threads of process evidence still hang on files that do not answer", s.stuck)
	}
	return nil
}

// threadRuns says whether a thread of ours is running or waits only for a processor.
func threadRuns(tid int) bool {
	text, err := readSmall("/proc/self/task/"+strconv.Itoa(tid)+"/stat", 4<<10)
	if err != nil {
		return false
	}
	st, err := parseStat(text)
	return err == nil && st.state == 'R'
}
