// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
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

// kindSampled replaces the kind in the ids of samples. It is not one of the backend's kinds: samples are converted to facts.
const kindSampled = backendapi.Kind("PROCESS_SAMPLED")

// Limits of one record of a sample; a larger sample is split over several. A record is also one line in a log store, and gRPC
// accepts 4 MiB by default.
const (
	maxFilesPerRecord = 256
	maxRecordBytes    = 256 << 10 // as estimated
	maxProcesses      = 256
	maxModules        = 4096 // of one Go binary
	maxLibsPerEvent   = 512
)

// Sampled is a sample of a container's processes as it is reported: complete, or reduced to what changed since the last report.
type Sampled struct {
	Container    *container.Container
	RestartCount uint32
	RunStartedAt time.Time // zero if unknown
	Sequence     uint32    // of the sample within the run, counted by this observer from 1
	Sample       evidence.Sample
	// Hits counts for each of Sample.Files the samples that contained it since it was last reported, including this one.
	Hits []uint64
}

// SampleID returns the id of a part of a sample. The time at which it was taken identifies a sample: unlike an event, a sample is
// only an observation.
func SampleID(c *container.Container, takenAt time.Time, part uint32) string {
	return backendapi.EventID(engineOf(c.Engine, c.Owner), c.ID, kindSampled, takenAt, part)
}

// AppendSampled adds the record of s, or several if s is large.
func (b *Batch) AppendSampled(s *Sampled) {
	c := s.Container
	if b.of != c || b.restarts != s.RestartCount {
		b.resource(func(m pcommon.Map) { b.enc.containerResource(m, c, s.RestartCount) })
		b.of, b.restarts = c, s.RestartCount
	}
	parts := split(s.Sample.Files)
	for i, part := range parts {
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
		if len(part.files) > 0 {
			list := m.PutEmptySlice(AttrSampleFiles)
			list.EnsureCapacity(len(part.files))
			for j := range part.files {
				hits := uint64(1)
				if n := part.from + j; n < len(s.Hits) {
					hits = s.Hits[n]
				}
				putFile(list.AppendEmpty().SetEmptyMap(), &part.files[j], s.Sample.Processes, hits)
			}
		}
	}
}

// AppendEvidence adds the record of t again as its next revision, with the process and the loaded libraries from a sample. t is
// the start or restart of the run that was sampled.
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

// filePart is the files of one record.
type filePart struct {
	from  int // index of the first file in the sample
	files []evidence.File
}

// split splits files so that each record stays within the limits. It returns at least one part.
func split(files []evidence.File) []filePart {
	var out []filePart
	from, size := 0, 0
	for i := range files {
		n := 256 + len(files[i].Path)
		if build, ok := files[i].Go.Get(); ok {
			n += 64 * len(build.Modules)
		}
		if i > from && (i-from == maxFilesPerRecord || size+n > maxRecordBytes) {
			out = append(out, filePart{from, files[from:i]})
			from, size = i, 0
		}
		size += n
	}
	return append(out, filePart{from, files[from:]})
}

// putMain sets the attributes that the semantic conventions define for a process, for the main process.
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
