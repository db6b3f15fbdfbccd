// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// findings is the sample while it is taken. What was found is published at once, so that the sample has it if the thread is abandoned.
type findings struct {
	maxFiles   int
	maxDropped int // how many of the files beyond maxFiles are remembered, so that each is counted once

	mu        sync.Mutex
	sealed    bool // nothing more is published
	sample    evidence.Sample
	files     []*fileDraft
	index     map[fileKey]*fileDraft // nil values: files beyond maxFiles
	dropped   int                    // files beyond maxFiles
	opening   *evidence.File         // an open file while nothing but its name is known
	processes evidence.Count
}

type fileKey struct {
	device device
	inode  uint64
	path   string
}

// fileDraft is a file of the sample.
type fileDraft struct {
	evidence.File
	started bool // its content is read, or was; only the thread uses it
}

func newFindings(containerID string, at time.Time, limits Limits) findings {
	return findings{
		maxFiles: limits.Files, maxDropped: limits.Mappings,
		sample: evidence.Sample{ContainerID: containerID, TakenAt: at.UTC()},
		index:  make(map[fileKey]*fileDraft, 16), files: make([]*fileDraft, 0, 16),
	}
}

// publish changes the sample, unless it is sealed.
func (f *findings) publish(change func(*evidence.Sample)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.sealed {
		change(&f.sample)
	}
}

// seal ends publishing, and calls first while nobody else can seal. It reports whether the sample was not sealed before.
func (f *findings) seal(first func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sealed {
		return false
	}
	f.sealed = true
	first()
	return true
}

func (f *findings) isSealed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sealed
}

// draft returns the draft of a file, and makes it if it is new; nil if there are too many files, or the sample is sealed.
func (f *findings) draft(key fileKey, kind evidence.Kind, deleted bool, use evidence.Use) *fileDraft {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sealed {
		return nil
	}
	d, known := f.index[key]
	switch {
	case known && d == nil:
		return nil // beyond the limit, and counted
	case known:
		if kind == evidence.KindExecutable {
			d.Kind = kind
		}
	case len(f.files) >= f.maxFiles:
		if len(f.index) < f.maxDropped {
			f.index[key] = nil
		}
		f.dropped++
		return nil
	default:
		d = &fileDraft{File: evidence.File{Path: key.path, Kind: kind, Device: key.device.String(), Inode: key.inode, Deleted: deleted}}
		f.index[key] = d
		f.files = append(f.files, d)
	}
	d.use(use)
	return d
}

// rename returns the draft of a file whose name is not the remembered one; nil if another draft has the file and its content is read.
func (f *findings) rename(d *fileDraft, key fileKey) *fileDraft {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sealed {
		return nil
	}
	if known := f.index[key]; known != nil && known != d { // another process's, or the executable
		f.merge(d, known)
		if known.started {
			return nil
		}
		known.started = true
		return known
	}
	f.index[key] = d
	d.Path = key.path
	if d.Kind != evidence.KindExecutable {
		d.Kind = mappedKind(key.path)
	}
	return d
}

// merge replaces a draft by another of the same file.
func (f *findings) merge(d, into *fileDraft) {
	for _, use := range d.Uses {
		into.use(use)
	}
	f.files = slices.DeleteFunc(f.files, func(one *fileDraft) bool { return one == d })
	for key, one := range f.index {
		if one == d {
			f.index[key] = into
		}
	}
}

// use adds a process's use of the file.
func (d *fileDraft) use(use evidence.Use) {
	if n := len(d.Uses); n == 0 || d.Uses[n-1].PID != use.PID {
		d.Uses = append(d.Uses, use)
	} else if d.Uses[n-1].LoadBase == 0 {
		d.Uses[n-1].LoadBase = use.LoadBase
	}
}

// settle records what a file holds.
func (f *findings) settle(d *fileDraft, size evidence.Datum[int64], c content) {
	f.publish(func(*evidence.Sample) { d.settle(size, c) })
}

func (d *fileDraft) settle(size evidence.Datum[int64], c content) {
	d.Size, d.SHA256, d.BuildID, d.GoBuildID, d.Go = size, c.sha256, c.BuildID, c.GoBuildID, c.Go
}

// finish returns the sample. rest is the reason for what was not reached; owners says whether packages were to be looked up; hanging says
// whether the thread was abandoned.
func (f *findings) finish(mainPID int, rest evidence.Reason, owners, hanging bool) evidence.Sample {
	f.mu.Lock()
	defer f.mu.Unlock()
	sample := f.sample
	sample.Coverage.Processes = f.processes
	files := slices.Clone(f.files) // an abandoned thread may still read the list
	if f.opening != nil && hanging {
		files = append(files, &fileDraft{File: *f.opening})
	}
	slices.SortFunc(files, func(a, b *fileDraft) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Device, b.Device), cmp.Compare(a.Inode, b.Inode))
	})
	count := evidence.Count{Seen: len(files) + f.dropped}
	skip(&count, evidence.ReasonBudget, f.dropped)
	sample.Files = make([]evidence.File, len(files))
	for i := range files {
		d := fileDraft{File: files[i].File}
		if d.SHA256.Status == evidence.StatusNone {
			d.settle(evidence.Unknown[int64](rest), unreadable(rest))
		}
		if d.Package.Status == evidence.StatusNone && owners {
			d.Package = evidence.Unknown[string](rest)
		}
		if d.SHA256.Status == evidence.StatusPresent {
			count.Read++
		} else {
			skip(&count, d.SHA256.Reason, 1)
		}
		sample.Files[i] = d.File
	}
	sample.Coverage.Files = count
	if len(sample.Processes) == 0 {
		sample.Processes = []evidence.Process{unknownProcess(mainPID, true, rest)}
		sample.Coverage.Processes = evidence.Count{Seen: 1, Skipped: map[evidence.Reason]int{rest: 1}}
	}
	return sample
}

func skip(c *evidence.Count, reason evidence.Reason, n int) {
	if n == 0 {
		return
	}
	if c.Skipped == nil {
		c.Skipped = map[evidence.Reason]int{}
	}
	c.Skipped[reason] += n
}

// unknownProcess returns a process of which only the number is known.
func unknownProcess(pid int, main bool, reason evidence.Reason) evidence.Process {
	return evidence.Process{
		PID: pid, Main: main, Executable: evidence.Unknown[string](reason), Arguments: evidence.Unknown[[]string](reason),
		Mappings: evidence.Unknown[int](reason), OpenFiles: evidence.Unknown[int](reason),
	}
}
