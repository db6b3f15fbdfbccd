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

// ErrUnsupported is what NewSampler gives where there is no /proc to read.
var ErrUnsupported = errors.New("process evidence needs Linux: turn evidence off on this system")

// Config is how a Sampler works. DefaultConfig has the values to start from.
type Config struct {
	// ProcRoot is where the proc file system with the containers' processes is: /proc, or a mount of the host's in a
	// collector that runs in a container.
	ProcRoot string
	// Arguments says what becomes of the arguments of processes; Redact has regular expressions (RE2) of more to mask.
	Arguments redact.Mode
	Redact    []string
	// PackageOwners looks up the distribution package of each file in the container's dpkg, apk or rpm database.
	PackageOwners bool
	// MaxCPUFraction is the share of one core that all samples together may use, averaged over ten seconds and more; 0 < f ≤ 1.
	MaxCPUFraction float64
	Limits         Limits
	// CacheEntries is how many files' hashes and build-ids are remembered.
	CacheEntries int
}

// Limits bound one sample, unless said otherwise. What is beyond is UNKNOWN with the reason budget, or too_large.
type Limits struct {
	Processes int   // read of one container
	Mappings  int   // lines read of one process's maps
	OpenFiles int   // descriptors looked at of one process
	Files     int   // kept of one container
	FileBytes int64 // the largest file that is hashed
	Bytes     int64 // read of the files of one container
	// BytesPerMinute is read of all containers' files together. It refills evenly, and a minute's worth can be saved up.
	BytesPerMinute int64
	Time           time.Duration // for one sample, waiting for CPU time included
	// Step is how long a single open, stat or read may take before its thread is given up.
	Step time.Duration
	// Stuck is how many given-up threads there may be at once. While there are as many, no file is opened any more.
	Stuck int
}

// DefaultConfig gives the defaults. A node that starts cold reads its images' code within minutes; a warm one costs next to nothing.
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

// Validate says what is wrong, naming the option as the receiver's configuration spells it.
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

// Stats counts what a Sampler did since it was made.
type Stats struct {
	Samples     uint64
	FilesHashed uint64
	BytesRead   uint64
	CacheHits   uint64
	CacheSize   int
	CPU         time.Duration // of the sampler's own threads
	Waited      time.Duration // for CPU time under MaxCPUFraction
	Stuck       int           // threads given up that hang still
	PutAside    int           // containers put aside now
}
