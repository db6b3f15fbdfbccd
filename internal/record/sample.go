// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/evidence"
)

// EventProcessSampled is the event name of a Sampled.
const EventProcessSampled = "zastava.process.sampled"

// kindSampled takes the place of a kind in the ids of samples. It is none of the backend's kinds: samples become facts.
const kindSampled = backendapi.Kind("PROCESS_SAMPLED")

// Limits of one record of a sample; a larger sample is told in several. A record is a line for a log store as well, and
// gRPC takes 4 MiB by default.
const (
	maxFilesPerRecord = 256
	maxRecordBytes    = 256 << 10 // as estimated
	maxProcesses      = 256
	maxModules        = 4096 // of one Go binary
	maxLibsPerEvent   = 512
)

// Sampled is what a sample of a container's processes has to tell: all of it, or what changed since it was told last.
type Sampled struct {
	Container    *container.Container
	RestartCount uint32
	RunStartedAt time.Time // zero: not known
	Sequence     uint32    // of the sample within the run, from 1, as this observer counts
	Sample       evidence.Sample
	// Hits has, for each of Sample.Files, in how many samples it was seen since it was told last, this one included.
	Hits []uint64
}

// SampleID gives the id of a part of a sample. What identifies a sample is when it was taken: unlike an event it is
// nothing but an observation.
func SampleID(c *container.Container, takenAt time.Time, part uint32) string {
	return backendapi.EventID(c.Engine, c.ID, kindSampled, takenAt, part)
}

// AppendSampled adds the records of s: one, or several where it is large.
func (b *Batch) AppendSampled(s *Sampled) {
	c := s.Container
	if b.of != c || b.restarts != s.RestartCount {
		b.resource(func(m pcommon.Map) { b.enc.containerResource(m, c, s.RestartCount) })
		b.of, b.restarts = c, s.RestartCount
	}
	parts := split(s.Sample.Files)
	for i, files := range parts {
		lr := b.append()
		lr.SetEventName(EventProcessSampled)
		setTime(lr.SetTimestamp, s.Sample.TakenAt)
		setTime(lr.SetObservedTimestamp, s.Sample.TakenAt)
		setSeverity(lr, plog.SeverityNumberInfo)
		lr.Body().SetStr(sampledBody(s))
		m := lr.Attributes()
		m.EnsureCapacity(20)
		m.PutStr(AttrEventID, SampleID(c, s.Sample.TakenAt, uint32(i)))
		m.PutInt(AttrEventRevision, 0)
		putTime(m, AttrRunStartedAt, s.RunStartedAt)
		m.PutInt(AttrSampleSequence, int64(s.Sequence))
		m.PutInt(AttrSamplePart, int64(i))
		m.PutInt(AttrSampleParts, int64(len(parts)))
		putCoverage(m.PutEmptyMap(AttrSampleCoverage), &s.Sample.Coverage)
		if i == 0 {
			putMain(m, &s.Sample)
			putProcesses(m, s.Sample.Processes)
		}
		if len(files.of) > 0 {
			list := m.PutEmptySlice(AttrSampleFiles)
			list.EnsureCapacity(len(files.of))
			for j := range files.of {
				hits := uint64(1)
				if n := files.from + j; n < len(s.Hits) {
					hits = s.Hits[n]
				}
				putFile(list.AppendEmpty().SetEmptyMap(), &files.of[j], s.Sample.Processes, hits)
			}
		}
	}
}

// AppendEvidence adds the record of t once more, a revision later, with what a sample tells of the process and of what
// it loads. t is the start (or restart) of the run that was sampled.
func (b *Batch) AppendEvidence(t *container.Transition, s *evidence.Sample) {
	revised := *t
	revised.Revision++
	b.Append(&revised)
	m := b.records.At(b.records.Len() - 1).Attributes()
	putMain(m, s)
	var list pcommon.Slice
	n := 0
	for i := range s.Files {
		f := &s.Files[i]
		if n == maxLibsPerEvent || f.Kind == evidence.KindScript || f.Path == "" {
			continue
		}
		if n == 0 {
			list = m.PutEmptySlice(AttrLoadedLibs)
		}
		n++
		lib := list.AppendEmpty().SetEmptyMap()
		putStr(lib, "path", f.Path)
		putDatum(lib, "sha256", f.SHA256)
		putDatum(lib, "build_id", f.BuildID)
		if size, ok := f.Size.Get(); ok {
			lib.PutInt("size", size)
		}
	}
}

type stretch struct {
	from int
	of   []evidence.File
}

// split cuts files so that each record stays within the limits. There is always one part.
func split(files []evidence.File) []stretch {
	var out []stretch
	from, size := 0, 0
	for i := range files {
		n := 256 + len(files[i].Path)
		if build, ok := files[i].Go.Get(); ok {
			n += 64 * len(build.Modules)
		}
		if i > from && (i-from == maxFilesPerRecord || size+n > maxRecordBytes) {
			out = append(out, stretch{from, files[from:i]})
			from, size = i, 0
		}
		size += n
	}
	return append(out, stretch{from, files[from:]})
}

// putMain puts what the registry has names for: the main process.
func putMain(m pcommon.Map, s *evidence.Sample) {
	if len(s.Processes) == 0 || !s.Processes[0].Main {
		return
	}
	p := &s.Processes[0]
	if p.PID > 0 {
		m.PutInt(AttrProcessPID, int64(p.PID))
	}
	if args, ok := p.Arguments.Get(); ok {
		putStrings(m.PutEmptySlice(AttrCommandArgs), args)
	}
	path, ok := p.Executable.Get()
	if !ok {
		return
	}
	putStr(m, AttrExecutablePath, path)
	for i := range s.Files {
		if f := &s.Files[i]; f.Path == path && f.Kind == evidence.KindExecutable {
			if id, ok := f.BuildID.Get(); ok {
				if gnu, ok := strings.CutPrefix(id, "gnu-build-id:"); ok {
					m.PutStr(AttrBuildIDGNU, gnu)
				}
			}
			if id, ok := f.GoBuildID.Get(); ok {
				m.PutStr(AttrBuildIDGo, id)
			}
			return
		}
	}
}

func putProcesses(m pcommon.Map, processes []evidence.Process) {
	if len(processes) == 0 {
		return
	}
	list := m.PutEmptySlice(AttrSampleProcesses)
	list.EnsureCapacity(min(len(processes), maxProcesses))
	for i := range processes[:min(len(processes), maxProcesses)] {
		p := &processes[i]
		v := list.AppendEmpty().SetEmptyMap()
		v.EnsureCapacity(8)
		v.PutInt("pid", int64(p.PID))
		if p.Main {
			v.PutBool("main", true)
		}
		putStr(v, "name", p.Name)
		putTime(v, "started_at", p.StartedAt)
		putDatum(v, "executable", p.Executable)
		if args, ok := p.Arguments.Get(); ok {
			putStrings(v.PutEmptySlice("args"), args)
		}
		putStatus(v, "args", p.Arguments.Status, p.Arguments.Reason)
		if p.ArgumentsTruncated {
			v.PutBool("args.truncated", true)
		}
		putCount(v, "mappings", p.Mappings)
		putCount(v, "open_files", p.OpenFiles)
	}
}

func putFile(m pcommon.Map, f *evidence.File, processes []evidence.Process, hits uint64) {
	m.EnsureCapacity(16)
	putStr(m, "path", f.Path)
	putStr(m, "kind", string(f.Kind))
	m.PutInt("hits", int64(min(hits, 1<<53-1)))
	putStr(m, "device", f.Device)
	if f.Inode != 0 {
		m.PutStr("inode", strconv.FormatUint(f.Inode, 10)) // 64 bits without a sign
	}
	if f.Deleted {
		m.PutBool("deleted", true)
	}
	if len(f.Uses) > 0 {
		use, name := user(f, processes)
		m.PutInt("processes", int64(len(f.Uses)))
		m.PutInt("pid", int64(use.PID))
		putStr(m, "process", name)
		if use.LoadBase != 0 {
			m.PutStr("load_base", "0x"+strconv.FormatUint(use.LoadBase, 16))
		}
	}
	if size, ok := f.Size.Get(); ok {
		m.PutInt("size", size)
	}
	putStatus(m, "size", f.Size.Status, f.Size.Reason)
	putDatum(m, "sha256", f.SHA256)
	putDatum(m, "build_id", f.BuildID)
	putDatum(m, "go_build_id", f.GoBuildID)
	putDatum(m, "package", f.Package)
	if build, ok := f.Go.Get(); ok {
		putStr(m, "go.version", build.Version)
		putStr(m, "go.path", build.Path)
		if build.Truncated || len(build.Modules) > maxModules {
			m.PutBool("go.modules.truncated", true)
		}
		modules := m.PutEmptySlice("go.modules")
		modules.EnsureCapacity(min(len(build.Modules), maxModules))
		for _, mod := range build.Modules[:min(len(build.Modules), maxModules)] {
			modules.AppendEmpty().SetStr(mod.Path + "@" + mod.Version)
		}
	}
}

// user gives the process that stands for those which use a file: the main one, or the first.
func user(f *evidence.File, processes []evidence.Process) (use evidence.Use, name string) {
	use = f.Uses[0]
	for i := range processes {
		p := &processes[i]
		for _, u := range f.Uses {
			if p.Main && u.PID == p.PID {
				return u, p.Name
			}
		}
		if p.PID == use.PID {
			name = p.Name
		}
	}
	return use, name
}

func putCoverage(m pcommon.Map, c *evidence.Coverage) {
	for _, of := range [...]struct {
		name  string
		count *evidence.Count
	}{{"processes", &c.Processes}, {"files", &c.Files}} {
		v := m.PutEmptyMap(of.name)
		v.PutInt("seen", int64(of.count.Seen))
		v.PutInt("read", int64(of.count.Read))
		if len(of.count.Skipped) > 0 {
			skipped := v.PutEmptyMap("skipped")
			for _, reason := range sortedReasons(of.count.Skipped) {
				skipped.PutInt(string(reason), int64(of.count.Skipped[reason]))
			}
		}
	}
	if c.MappingsTruncated {
		m.PutBool("mappings_truncated", true)
	}
	m.PutInt("bytes_read", c.BytesRead)
	m.PutInt("from_cache", int64(c.FromCache))
}

// putDatum puts a text that is there as key, and what is known of one that is not.
func putDatum(m pcommon.Map, key string, d evidence.Datum[string]) {
	if value, ok := d.Get(); ok {
		putStr(m, key, value)
	}
	putStatus(m, key, d.Status, d.Reason)
}

func putCount(m pcommon.Map, key string, d evidence.Datum[int]) {
	if value, ok := d.Get(); ok {
		m.PutInt(key, int64(value))
	}
	putStatus(m, key, d.Status, d.Reason)
}

// putStatus says why a value is not there. One that is there is PRESENT.
func putStatus(m pcommon.Map, key string, status evidence.Status, reason evidence.Reason) {
	if status == evidence.StatusAbsent || status == evidence.StatusUnknown {
		m.PutStr(key+".status", string(status))
		putStr(m, key+".reason", string(reason))
	}
}

func putStrings(list pcommon.Slice, values []string) {
	list.EnsureCapacity(len(values))
	for _, v := range values {
		list.AppendEmpty().SetStr(v)
	}
}

func sampledBody(s *Sampled) string {
	b := make([]byte, 0, 160)
	b = append(b, "container "...)
	b = appendPlace(b, s.Container)
	b = append(b, " sampled: "...)
	b = strconv.AppendInt(b, int64(s.Sample.Coverage.Processes.Seen), 10)
	b = append(b, " processes, "...)
	b = strconv.AppendInt(b, int64(s.Sample.Coverage.Files.Seen), 10)
	b = append(b, " files, "...)
	b = strconv.AppendInt(b, int64(s.Sample.Coverage.Files.Read), 10)
	b = append(b, " hashed; "...)
	b = strconv.AppendInt(b, int64(len(s.Sample.Files)), 10)
	return string(append(b, " told"...))
}
