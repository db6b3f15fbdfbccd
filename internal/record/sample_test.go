// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func sampleOfProcesses() evidence.Sample {
	return evidence.Sample{
		ContainerID: sampleContainer().ID, TakenAt: started.Add(time.Second),
		Processes: []evidence.Process{
			{
				PID: 12345, Main: true, Name: "api", StartedAt: started, Executable: evidence.Present("/usr/bin/api"),
				Arguments: evidence.Present([]string{"/usr/bin/api", "--password=***"}), ArgumentsTruncated: true,
				Mappings: evidence.Present(2), OpenFiles: evidence.Unknown[int](evidence.ReasonPermission),
			},
			{PID: 12400, Name: "sh", Executable: evidence.Unknown[string](evidence.ReasonProcessGone), Arguments: evidence.Absent[[]string]()},
		},
		Files: []evidence.File{
			{
				Path: "/usr/bin/api", Kind: evidence.KindExecutable, Device: "0:53", Inode: 1 << 63, Uses: []evidence.Use{{PID: 12345, LoadBase: 0x400000}},
				Size: evidence.Present(int64(4096)), SHA256: evidence.Present(strings.Repeat("ab", 32)),
				BuildID: evidence.Absent[string](), GoBuildID: evidence.Present("a/b/c/d"),
				Go: evidence.Present(evidence.GoBuild{Version: "go1.26.8", Path: "acme/api", Modules: []evidence.GoModule{
					{Path: "acme/api", Main: true}, {Path: "golang.org/x/sys", Version: "v0.30.0"},
				}}),
			},
			{
				Path: "/usr/lib/libssl.so.3", Kind: evidence.KindLibrary, Device: "0:53", Inode: 8, Deleted: true,
				Uses: []evidence.Use{{PID: 12340, LoadBase: 0x7f0000}, {PID: 12345, LoadBase: 0x7f23c01000}},
				Size: evidence.Present(int64(689288)), SHA256: evidence.Unknown[string](evidence.ReasonDeletedFile),
				BuildID: evidence.Present("gnu-build-id:" + strings.Repeat("9f", 20)), Package: evidence.Present("pkg:deb/debian/libssl3@3.0.15"),
			},
			{
				Path: "/app/lib.jar", Kind: evidence.KindJar, Device: "0:53", Inode: 9, Uses: []evidence.Use{{PID: 12345}},
				Size: evidence.Unknown[int64](evidence.ReasonPermission), SHA256: evidence.Unknown[string](evidence.ReasonPermission),
				BuildID: evidence.Unknown[string](evidence.ReasonNotELF),
			},
		},
		Coverage: evidence.Coverage{
			Processes: evidence.Count{Seen: 2, Read: 1, Skipped: map[evidence.Reason]int{evidence.ReasonProcessGone: 1}},
			Files:     evidence.Count{Seen: 3, Read: 1, Skipped: map[evidence.Reason]int{evidence.ReasonDeletedFile: 1, evidence.ReasonPermission: 1}},
			BytesRead: 4096, FromCache: 1, MappingsTruncated: true,
		},
	}
}

func sampled() *Sampled {
	return &Sampled{
		Container: sampleContainer(), RestartCount: 3, RunStartedAt: started, Sequence: 2, Sample: sampleOfProcesses(), Hits: []uint64{1, 7, 2},
	}
}

func TestSampleRecordsMatchGoldenFiles(t *testing.T) {
	batch := sampleEncoder().NewBatch()
	batch.AppendSampled(sampled())
	compareGolden(t, "sampled", batch.Logs())

	batch = sampleEncoder().NewBatch()
	start, sample := sampleTransitions()[1], sampleOfProcesses()
	batch.AppendEvidence(&start, &sample)
	compareGolden(t, "started_with_evidence", batch.Logs())
}

func TestSchemaListsEveryAttributeOfSamples(t *testing.T) {
	events := map[string]map[string]pcommon.ValueType{}
	for _, e := range EventTypes() {
		events[e.Name] = map[string]pcommon.ValueType{}
		for _, a := range e.Attributes {
			events[e.Name][a.Name] = a.Type
		}
	}
	all, sample := sampleTransitions(), sampleOfProcesses()
	sample.Files[0].BuildID = evidence.Present("gnu-build-id:" + strings.Repeat("9f", 20))
	s := sampled()
	s.Sample = sample
	batch := sampleEncoder().NewBatch()
	batch.AppendSampled(s)
	batch.AppendEvidence(&all[1], &sample)
	batch.AppendEvidence(&all[2], &sample)
	for _, rl := range batch.Logs().ResourceLogs().All() {
		for _, lr := range rl.ScopeLogs().At(0).LogRecords().All() {
			for key, v := range lr.Attributes().All() {
				require.Contains(t, events[lr.EventName()], key, lr.EventName())
				assert.Equal(t, events[lr.EventName()][key], v.Type(), key)
			}
		}
	}
}

// Receivers of OTLP refuse a whole request for one string that is not valid UTF-8.
func TestInvalidUTF8IsReplaced(t *testing.T) {
	s := sampled()
	s.Sample.Processes[0].Executable = evidence.Present("/usr/bin/\xffapi")
	s.Sample.Files[0].Path = "/usr/bin/\xffapi"
	batch := sampleEncoder().NewBatch()
	batch.AppendSampled(s)
	batch.AppendEvidence(&sampleTransitions()[1], &s.Sample)
	raw, err := (&plog.JSONMarshaler{}).MarshalLogs(batch.Logs())
	require.NoError(t, err)
	assert.True(t, utf8.Valid(raw))
	assert.Equal(t, 5, strings.Count(string(raw), "/usr/bin/?api"), "executable of both records, of the process, of the file and of the library")
}

// lld writes 8 bytes by default, and the contract requires 16.
func TestBuildIDIsAbsentWhenItIdentifiesNoFile(t *testing.T) {
	for name, test := range map[string]struct {
		id, want string
	}{
		"GNU, 20 bytes": {"gnu-build-id:" + strings.Repeat("9f", 20), "gnu-build-id:" + strings.Repeat("9f", 20)},
		"GNU, 16 bytes": {"gnu-build-id:" + strings.Repeat("9f", 16), "gnu-build-id:" + strings.Repeat("9f", 16)},
		"GNU, 8 bytes":  {"gnu-build-id:" + strings.Repeat("9f", 8), ""},
		"PE":            {"pe-guid:01020304-0506-0708-090a-0b0c0d0e0f10", "pe-guid:01020304-0506-0708-090a-0b0c0d0e0f10"},
		"no prefix":     {strings.Repeat("9f", 20), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := sampled()
			s.Sample.Files = []evidence.File{{Path: "/lib/a.so", Kind: evidence.KindLibrary, BuildID: evidence.Present(test.id), SHA256: evidence.Unknown[string](evidence.ReasonTooLarge)}}
			batch := sampleEncoder().NewBatch()
			batch.AppendSampled(s)
			facts, skipped := factsIn(t, batch.Logs())
			require.Len(t, facts, 1)
			assert.Zero(t, skipped)
			assert.Equal(t, test.want, facts[0].BuildID)
			if test.want == "" {
				assert.Equal(t, "path_hash", facts[0].Metadata[backendapi.FactIdentity])
				assert.Equal(t, "ABSENT", facts[0].Metadata[backendapi.FactBuildIDStatus])
			} else {
				assert.Equal(t, "build_id", facts[0].Metadata[backendapi.FactIdentity])
			}

			start := sampleTransitions()[1]
			batch = sampleEncoder().NewBatch()
			batch.AppendEvidence(&start, &s.Sample)
			rl, lr := one(batch.Logs())
			event, err := sampleDecoder().Origin(rl.Resource()).Event(lr)
			require.NoError(t, err)
			assert.Equal(t, test.want, event.LoadedLibs[0].BuildID)
		})
	}
}

func factsIn(t require.TestingT, logs plog.Logs) (facts []backendapi.Fact, skipped int) {
	d := sampleDecoder()
	for _, rl := range logs.ResourceLogs().All() {
		o := d.Origin(rl.Resource())
		for _, lr := range rl.ScopeLogs().At(0).LogRecords().All() {
			n, err := o.Facts(lr, func(f *backendapi.Fact) {
				kept := *f
				kept.Metadata = maps.Clone(f.Metadata)
				facts = append(facts, kept)
			})
			require.NoError(t, err)
			skipped += n
		}
	}
	return facts, skipped
}

func TestSamplesAreDecodedAsFacts(t *testing.T) {
	batch := sampleEncoder().NewBatch()
	batch.AppendSampled(sampled())
	facts, skipped := factsIn(t, overTheWire(t, batch.Logs()))
	assert.Zero(t, skipped)
	require.Len(t, facts, 5, "three files and two modules")
	at, id := started.Add(time.Second), "containerd://"+sampleContainer().ID

	program := backendapi.Segment{Format: "elf", BuildID: "go-build-id:a/b/c/d", SHA256: strings.Repeat("ab", 32), Path: "/usr/bin/api", Size: 4096, Name: "api"}
	assert.Equal(t, backendapi.Fact{
		SymbolID: program.SymbolID(), CodeID: program.CodeID(), BuildID: "go-build-id:a/b/c/d", ContainerID: id, HitCount: 1, ObservedAt: &at,
		LoaderBase: "0x400000", ProcessID: 12345, ProcessName: "api",
		Metadata: map[string]string{"path": "/usr/bin/api", "kind": "executable", "sha256": strings.Repeat("ab", 32), "size": "4096", "status": "PRESENT", "identity": "file_hash"},
	}, facts[0])

	assert.Equal(t, backendapi.GoModuleSymbolID("acme/api", ""), facts[1].SymbolID)
	assert.Equal(t, "pkg:golang/acme/api", facts[1].PURL)
	assert.Equal(t, "acme/api", facts[1].Metadata["goModule"])
	assert.Equal(t, "pkg:golang/golang.org/x/sys@v0.30.0", facts[2].PURL)
	assert.Equal(t, "go_module", facts[2].Metadata["kind"])
	assert.Equal(t, "golang.org/x/sys@v0.30.0", facts[2].Metadata["goModule"])
	assert.Equal(t, facts[0].CodeID, facts[2].CodeID)

	build := "gnu-build-id:" + strings.Repeat("9f", 20)
	library := backendapi.Segment{Format: "elf", BuildID: build, Path: "/usr/lib/libssl.so.3", Size: 689288, Name: "libssl.so.3"}
	assert.Equal(t, backendapi.Fact{
		SymbolID: library.SymbolID(), CodeID: library.CodeID(), BuildID: build, ContainerID: id, HitCount: 7, ObservedAt: &at,
		LoaderBase: "0x7f23c01000", ProcessID: 12345, ProcessName: "api", PURL: "pkg:deb/debian/libssl3@3.0.15",
		Metadata: map[string]string{
			"path": "/usr/lib/libssl.so.3", "kind": "library", "size": "689288", "status": "UNKNOWN", "reason": "deleted_file", "identity": "build_id",
		},
	}, facts[3], "the main process stands for all that use it")

	assert.Equal(t, map[string]string{
		"path": "/app/lib.jar", "kind": "jar", "status": "UNKNOWN", "reason": "permission", "identity": "path_hash", "buildIdStatus": "UNKNOWN", "buildIdReason": "not_elf",
	}, facts[4].Metadata)
	assert.Empty(t, facts[4].LoaderBase, "open, not mapped")
	for i := range facts {
		require.NoError(t, facts[i].Validate())
	}
}

func TestStartCarriesItsProcessInALaterRevision(t *testing.T) {
	start, sample := sampleTransitions()[1], sampleOfProcesses()
	sample.Files[0].BuildID = evidence.Present("gnu-build-id:" + strings.Repeat("9f", 20))
	sample.Files = append(sample.Files, evidence.File{Path: "/entrypoint.sh", Kind: evidence.KindScript}) // is not loaded
	batch := sampleEncoder().NewBatch()
	batch.Append(&start)
	batch.AppendEvidence(&start, &sample)
	rl := overTheWire(t, batch.Logs()).ResourceLogs().At(0)
	o := sampleDecoder().Origin(rl.Resource())
	first, err := o.Event(rl.ScopeLogs().At(0).LogRecords().At(0))
	require.NoError(t, err)
	id, when := first.EventID, first.When
	assert.Nil(t, first.LoadedLibs)
	again, err := o.Event(rl.ScopeLogs().At(0).LogRecords().At(1))
	require.NoError(t, err)
	assert.Equal(t, id, again.EventID)
	assert.Equal(t, when, again.When)
	assert.EqualValues(t, 1, again.Revision)
	assert.Equal(t, &backendapi.Process{
		PID: 12345, Executable: "/usr/bin/api", Entrypoint: []string{"/usr/bin/api", "--password=***"}, BuildID: "gnu-build-id:" + strings.Repeat("9f", 20),
	}, again.Process)
	require.Len(t, again.LoadedLibs, 3)
	assert.Equal(t, backendapi.LoadedLib{Path: "/usr/bin/api", SHA256: strings.Repeat("ab", 32), Size: 4096, BuildID: "gnu-build-id:" + strings.Repeat("9f", 20)}, again.LoadedLibs[0])
	assert.Equal(t, backendapi.LoadedLib{Path: "/app/lib.jar"}, again.LoadedLibs[2])
}

func TestLargeSamplesAreSplitOverSeveralRecords(t *testing.T) {
	s := sampled()
	s.Sample.Files, s.Hits = nil, nil
	for i := range 1000 {
		s.Sample.Files = append(s.Sample.Files, evidence.File{Path: fmt.Sprintf("/lib/%04d.so", i), Kind: evidence.KindLibrary, SHA256: evidence.Present(strings.Repeat("ab", 32))})
		s.Hits = append(s.Hits, uint64(i+1))
	}
	batch := sampleEncoder().NewBatch()
	batch.AppendSampled(s)
	logs := batch.Logs()
	require.Equal(t, 4, logs.LogRecordCount())
	ids := map[string]bool{}
	for i, lr := range logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
		id, _ := lr.Attributes().Get(AttrEventID)
		ids[id.Str()] = true
		part, _ := lr.Attributes().Get(AttrSamplePart)
		parts, _ := lr.Attributes().Get(AttrSampleParts)
		assert.EqualValues(t, i, part.Int())
		assert.EqualValues(t, 4, parts.Int())
	}
	assert.Len(t, ids, 4)
	facts, _ := factsIn(t, logs)
	require.Len(t, facts, 1000)
	assert.EqualValues(t, 1000, facts[999].HitCount)

	s.Sample.Files = nil // a sample without files is reported as well
	batch = sampleEncoder().NewBatch()
	batch.AppendSampled(s)
	require.Equal(t, 1, batch.Len())
	facts, _ = factsIn(t, batch.Logs())
	assert.Empty(t, facts)
}

func TestSubjectIsTheDigestOrElseTheImageName(t *testing.T) {
	for _, tt := range []struct {
		desc string
		edit func(pcommon.Map)
		want backendapi.Subject
	}{
		{"digest", func(pcommon.Map) {}, backendapi.Subject{ImageDigest: sampleContainer().Image.ManifestDigest}},
		{"name and tag", func(m pcommon.Map) { m.Remove(AttrManifestDigest); m.Remove(AttrImageRepoDigests) }, backendapi.Subject{Component: "ghcr.io/acme/api", Version: "1.8"}},
		{"name and id", func(m pcommon.Map) {
			m.Remove(AttrManifestDigest)
			m.Remove(AttrImageRepoDigests)
			m.Remove(AttrImageTags)
		}, backendapi.Subject{Component: "ghcr.io/acme/api", Version: sampleContainer().Image.ID}},
		{"nothing", func(m pcommon.Map) {
			m.RemoveIf(func(k string, _ pcommon.Value) bool {
				return strings.Contains(k, "image") || strings.Contains(k, "manifest")
			})
		}, backendapi.Subject{}},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			batch := sampleEncoder().NewBatch()
			batch.AppendSampled(sampled())
			res := batch.Logs().ResourceLogs().At(0).Resource()
			tt.edit(res.Attributes())
			assert.Equal(t, tt.want, sampleDecoder().Origin(res).Subject())
		})
	}
}

func TestSamplesAreNotDecodedAsEvents(t *testing.T) {
	batch := sampleEncoder().NewBatch()
	batch.AppendSampled(sampled())
	rl, lr := one(batch.Logs())
	o := sampleDecoder().Origin(rl.Resource())
	_, err := o.Event(lr)
	require.ErrorIs(t, err, ErrForeign)
	assert.True(t, IsSampled(lr))
	start := sampleEncoder().NewBatch()
	start.Append(&sampleTransitions()[1])
	_, event := one(start.Logs())
	_, err = o.Facts(event, nil)
	require.ErrorIs(t, err, ErrForeign)
	rl.Resource().Attributes().Remove(AttrContainerID)
	_, err = sampleDecoder().Origin(rl.Resource()).Facts(lr, nil)
	var invalid *InvalidError
	require.ErrorAs(t, err, &invalid)
	assert.Equal(t, AttrContainerID, invalid.Attribute)
}

// FuzzFacts checks that the facts decoded from any record are valid.
func FuzzFacts(f *testing.F) {
	marshaler, unmarshaler := &plog.ProtoMarshaler{}, &plog.ProtoUnmarshaler{}
	batch := sampleEncoder().NewBatch()
	batch.AppendSampled(sampled())
	start, sample := sampleTransitions()[1], sampleOfProcesses()
	batch.AppendEvidence(&start, &sample)
	raw, err := marshaler.MarshalLogs(batch.Logs())
	require.NoError(f, err)
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		oracle.Bound(t, oracle.Parsing(len(raw)))
		logs, err := unmarshaler.UnmarshalLogs(raw)
		if err != nil {
			return
		}
		d := sampleDecoder()
		for _, rl := range logs.ResourceLogs().All() {
			o := d.Origin(rl.Resource())
			subject := o.Subject()
			if subject != (backendapi.Subject{}) {
				require.NoError(t, subject.Validate())
			}
			for _, sl := range rl.ScopeLogs().All() {
				for _, lr := range sl.LogRecords().All() {
					_, _ = o.Facts(lr, func(f *backendapi.Fact) {
						_, err := backendapi.NewFactReader().Read(f.AppendCanonical(nil), "")
						require.NoError(t, err)
					})
					if ev, err := o.Event(lr); err == nil {
						require.NoError(t, ev.Validate())
					}
				}
			}
		}
	})
}

func BenchmarkSamples(b *testing.B) {
	s := sampled()
	s.Sample.Files = nil
	for i := range 100 {
		f := sampleOfProcesses().Files[1]
		f.Path, f.SHA256 = fmt.Sprintf("/usr/lib/lib%d.so", i), evidence.Present(fmt.Sprintf("%064x", i))
		s.Sample.Files = append(s.Sample.Files, f)
	}
	encode := func() plog.Logs {
		batch := sampleEncoder().NewBatch()
		batch.AppendSampled(s)
		return batch.Logs()
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encode()
		}
	})
	b.Run("facts", func(b *testing.B) {
		logs, d := encode(), sampleDecoder()
		var line []byte
		b.ReportAllocs()
		for b.Loop() {
			rl := logs.ResourceLogs().At(0)
			o := d.Origin(rl.Resource())
			_, err := o.Facts(rl.ScopeLogs().At(0).LogRecords().At(0), func(f *backendapi.Fact) { line = f.AppendCanonical(line[:0]) })
			require.NoError(b, err)
		}
	})
}
