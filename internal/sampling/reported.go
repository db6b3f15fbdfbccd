// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"time"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// maxReported limits the files that are remembered of one run.
const maxReported = 8192

// tracked is a run and what was reported of it. Scheduler.mu guards busy, ended, samples and the place in a queue; the rest belongs to the
// worker that has the run (busy), else to whoever holds the lock.
type tracked struct {
	run     Run
	key     key
	busy    bool
	ended   bool
	samples uint32
	due     time.Time
	index   int // in its queue, from 1; 0 if in none

	reported  map[fileKey]*reportedFile
	processes map[processKey]struct{} // of the last report
	main      evidence.Process        // of the last sample that had it
	lastAt    time.Time
	refreshed time.Time
}

type fileKey struct {
	path, device string
	inode        uint64
}

type processKey struct {
	pid     int
	started time.Time
}

// reportedFile is a file as it was reported, and how many samples have shown it since.
type reportedFile struct {
	file evidence.File
	hits uint64
}

// pending reports whether samples showed a file since it was reported.
func (t *tracked) pending() bool {
	for _, f := range t.reported {
		if f.hits > 0 {
			return true
		}
	}
	return false
}

// unreported returns what was seen of a run since it was last reported.
func (t *tracked) unreported() *Report {
	r := &Report{Run: t.run, Sequence: t.samples, Sample: evidence.Sample{ContainerID: t.key.id, TakenAt: t.lastAt}}
	if t.main.Main {
		r.Sample.Processes = []evidence.Process{t.main}
	}
	for _, f := range t.reported {
		if f.hits > 0 {
			r.Sample.Files, r.Hits = append(r.Sample.Files, f.file), append(r.Hits, f.hits)
		}
	}
	count := evidence.Count{Seen: len(r.Sample.Processes), Read: len(r.Sample.Processes)}
	r.Sample.Coverage = evidence.Coverage{Processes: count, Files: evidence.Count{Seen: len(r.Sample.Files)}}
	return r
}

// news returns what of a sample is unreported, and whether there is anything. all includes what did not change.
func (t *tracked) news(s *evidence.Sample, all bool) (*Report, bool) {
	r := &Report{Sample: *s}
	r.Sample.Files = nil
	for i := range s.Files {
		f := &s.Files[i]
		known := t.reported[keyOf(f)]
		hits := uint64(1)
		if known != nil {
			hits += known.hits
			if !all && !differs(&known.file, f) {
				continue
			}
		}
		r.Sample.Files, r.Hits = append(r.Sample.Files, *f), append(r.Hits, hits)
	}
	if len(r.Sample.Files) > 0 || t.processes == nil {
		return r, true // with all processes: files name those that use them
	}
	r.Sample.Processes = nil
	news := false
	for i := range s.Processes {
		p := &s.Processes[i]
		_, known := t.processes[processKey{p.PID, p.StartedAt}]
		news = news || !known
		if p.Main || !known {
			r.Sample.Processes = append(r.Sample.Processes, *p)
		}
	}
	return r, news
}

// commit remembers a sample: r is what of it was reported (nil if nothing), the rest was seen once more.
func (t *tracked) commit(s *evidence.Sample, r *Report) {
	t.lastAt = s.TakenAt
	if r != nil {
		t.processes = make(map[processKey]struct{}, len(s.Processes))
		for i := range s.Processes {
			t.processes[processKey{s.Processes[i].PID, s.Processes[i].StartedAt}] = struct{}{}
		}
	}
	if len(s.Processes) > 0 && s.Processes[0].Main {
		t.main = s.Processes[0]
	}
	current := make(map[fileKey]struct{}, len(s.Files))
	for i := range s.Files {
		k := keyOf(&s.Files[i])
		current[k] = struct{}{}
		if known := t.reported[k]; known != nil {
			known.hits++
		}
	}
	if r == nil {
		return
	}
	for i := range r.Sample.Files {
		f := r.Sample.Files[i]
		f.Uses = f.Uses[:min(len(f.Uses), 1):min(len(f.Uses), 1)] // enough to report it once more
		if known := t.reported[keyOf(&f)]; known != nil || len(t.reported) < maxReported {
			t.reported[keyOf(&f)] = &reportedFile{file: f}
		}
	}
	if len(t.reported) >= maxReported {
		for k := range t.reported {
			if _, here := current[k]; !here {
				delete(t.reported, k)
			}
		}
	}
}

func keyOf(f *evidence.File) fileKey { return fileKey{f.Path, f.Device, f.Inode} }

// differs reports whether a later sample knows something else about a file than what was reported. Something that is no longer known, for
// want of budget or because the file is gone, is not new.
func differs(was, now *evidence.File) bool {
	return was.Kind != now.Kind || (now.Deleted && !was.Deleted) || datumDiffers(was.SHA256, now.SHA256) || datumDiffers(was.Size, now.Size) ||
		datumDiffers(was.BuildID, now.BuildID) || datumDiffers(was.GoBuildID, now.GoBuildID) || datumDiffers(was.Package, now.Package) ||
		(was.Go.Status != now.Go.Status && now.Go.Status == evidence.StatusPresent)
}

func datumDiffers[T comparable](was, now evidence.Datum[T]) bool {
	return was != now && (now.Status != evidence.StatusUnknown || was.Status != evidence.StatusPresent)
}
