// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"time"

	"github.com/zastava-otel/zastava/internal/evidence/procfs"
)

// Bounds of what one process can have done: a century of CPU time, and counts whose sum over many processes stays within a double.
const (
	maxCount    = 1 << 48
	maxDuration = 100 * 365 * 24 * time.Hour
	maxGauge    = 1 << 20
)

// plausible returns the counts that a process reports, corrected by those before: they do not decrease and none is beyond what a process
// can have done.
func plausible(now, before procfs.Stats) procfs.Stats {
	for _, c := range []struct{ now, before *uint64 }{
		{&now.Samples, &before.Samples}, {&now.FilesHashed, &before.FilesHashed}, {&now.BytesRead, &before.BytesRead}, {&now.CacheHits, &before.CacheHits},
	} {
		*c.now = max(*c.before, min(*c.now, maxCount))
	}
	now.CPU = max(before.CPU, min(now.CPU, maxDuration))
	now.Waited = max(before.Waited, min(now.Waited, maxDuration))
	for _, gauge := range []*int{&now.CacheSize, &now.Stuck, &now.Suspended} {
		*gauge = max(0, min(*gauge, maxGauge))
	}
	return now
}

// add adds the counts of one process. Gauges are replaced.
func (s *Stats) add(one procfs.Stats) {
	s.Samples += one.Samples
	s.FilesHashed += one.FilesHashed
	s.BytesRead += one.BytesRead
	s.CacheHits += one.CacheHits
	s.CPU += one.CPU
	s.Waited += one.Waited
	s.CacheSize, s.Stuck, s.Suspended = one.CacheSize, one.Stuck, one.Suspended
}
