// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package procfs samples the processes of containers: it reads what they run, have mapped and hold open from a proc file system.
//
// It promises:
//
//   - to attribute nothing to the wrong container. A process's cgroup (or pid namespace) and start time are compared before and
//     after it is read, and a file's device and inode with those of its mapping;
//   - to survive hostile containers. Nothing is opened by a path that could lead out of the container's own root, nothing but regular
//     files is opened for reading, and no open blocks: reads happen on a few threads of their own with a time limit, and a thread that
//     hangs is abandoned and counted, and its container is not sampled for a while;
//   - to stay small. Files, bytes, mappings, processes and time have limits per container, bytes one per minute, and the CPU time
//     of all of it together stays under a share of one core. A file is hashed once however many containers map it.
//
// It refuses to read the environment of a process, its memory, or anything it writes; to attach to a process; and to run anywhere
// but on Linux (NewSampler returns ErrUnsupported).
package procfs

import (
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/zastava-otel/zastava/internal/redact"
)

// ErrUnsupported is returned by NewSampler where there is no /proc.
var ErrUnsupported = errors.New("process evidence needs Linux: turn evidence off on this system")

// Config configures a Sampler. DefaultConfig has the values to start from.
type Config struct {
	// ProcRoot is the proc file system with the containers' processes: /proc, or a mount of the host's in a collector that runs in
	// a container.
	ProcRoot string
	// Arguments selects how the arguments of processes are recorded; Redact has regular expressions (RE2) of further ones to mask.
	Arguments redact.Mode
	Redact    []string
	// PackageOwners looks up the distribution package of each file in the container's dpkg, apk or rpm database.
	PackageOwners bool
	// MaxCPUFraction is the share of one core that all samples together may use, averaged over ten seconds and more; 0 < f ≤ 1.
	MaxCPUFraction float64
	Limits         Limits
	// CacheEntries is the number of files whose hashes and build-ids are remembered.
	CacheEntries int
}

// Limits of one sample, unless stated otherwise. What is beyond them is UNKNOWN with the reason budget or too_large.
type Limits struct {
	Processes int   // read of one container
	Mappings  int   // lines read of one process's maps
	OpenFiles int   // descriptors read of one process
	Files     int   // kept of one container
	FileBytes int64 // the largest file that is hashed
	Bytes     int64 // read of the files of one container
	// BytesPerMinute is read of the files of all containers together. It refills evenly, up to the bytes of one minute.
	BytesPerMinute int64
	Time           time.Duration // for one sample, waiting for CPU time included
	// Step is how long a single open, stat or read may take before its thread is abandoned.
	Step time.Duration
	// Stuck is how many abandoned threads may hang at once. While as many do, nothing is sampled.
	Stuck int
}

// DefaultConfig returns the defaults. A node reads the code of its images within minutes after a start, and nearly nothing afterwards.
func DefaultConfig() Config {
	return Config{
		ProcRoot:       "/proc",
		Arguments:      redact.ModeRedacted,
		MaxCPUFraction: 0.02,
		Limits: Limits{
			Processes:      256,
			Mappings:       65_536,
			OpenFiles:      4_096,
			Files:          1_024,
			FileBytes:      256 << 20,
			Bytes:          1 << 30,
			BytesPerMinute: 1 << 30,
			Time:           time.Minute,
			Step:           5 * time.Second,
			Stuck:          4,
		},
		CacheEntries: 8_192,
	}
}

// Validate returns what is wrong, with the name of each option as the receiver's configuration spells it.
func (c Config) Validate() error {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(!path.IsAbs(c.ProcRoot), "proc_root %q must be an absolute path", c.ProcRoot)
	if err := c.Arguments.Validate(); err != nil {
		errs = append(errs, err)
	}
	if _, err := redact.New(c.Redact); err != nil {
		errs = append(errs, err)
	}
	refuse(!(c.MaxCPUFraction > 0 && c.MaxCPUFraction <= 1), "max_cpu_fraction %v must be more than 0 and at most 1", c.MaxCPUFraction)
	l := c.Limits
	for name, value := range map[string]int64{
		"max_processes": int64(l.Processes), "max_mappings": int64(l.Mappings), "max_open_files": int64(l.OpenFiles),
		"max_files": int64(l.Files), "max_file_bytes": l.FileBytes, "max_bytes": l.Bytes, "max_bytes_per_minute": l.BytesPerMinute,
		"max_time": int64(l.Time), "step_timeout": int64(l.Step), "max_stuck": int64(l.Stuck), "cache_entries": int64(c.CacheEntries),
	} {
		refuse(value <= 0, "%s must be more than 0", name)
	}
	return errors.Join(errs...)
}

// Stats counts what a Sampler did since it was created.
type Stats struct {
	Samples     uint64
	FilesHashed uint64
	BytesRead   uint64
	CacheHits   uint64
	CacheSize   int
	CPU         time.Duration // of the sampler's own threads
	Waited      time.Duration // for CPU time under MaxCPUFraction
	Stuck       int           // abandoned threads that still hang
	Suspended   int           // containers that are not sampled because they made a thread hang
}
