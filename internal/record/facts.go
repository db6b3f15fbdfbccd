// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/evidence"
)

func sortedReasons(m map[evidence.Reason]int) []evidence.Reason { return slices.Sorted(maps.Keys(m)) }

// IsSampled tells whether a record is of a sample. Event refuses such records as foreign: they become facts.
func IsSampled(lr plog.LogRecord) bool { return eventName(lr) == EventProcessSampled }

// Workload gives what the origin tells of the container; its memory is shared. ContainerID is empty where it has none.
func (o *Origin) Workload() *backendapi.Workload { return &o.workload }

// Subject gives what facts of the origin are about: the image's digest; else its name as component and its tag or, without
// one, its id as version. A zero Subject: nothing tells the image.
func (o *Origin) Subject() backendapi.Subject {
	w := &o.workload
	if w.ImageDigest != "" {
		return backendapi.Subject{ImageDigest: w.ImageDigest}
	}
	name, tag := splitReference(w.ImageRef)
	s := backendapi.Subject{Component: within(cmp.Or(name, w.ImageRef), backendapi.MaxName), Version: cmp.Or(tag, w.ImageID)}
	if s.Component == "" || s.Version == "" {
		return backendapi.Subject{}
	}
	return s
}

// Facts reads the facts of a record of a sample and gives each to take, in the order of the record. The fact and its
// metadata are the same memory each time. Errors: ErrForeign, *InvalidError. A file that cannot be named is passed over and
// counted, not an error: the others are facts all the same.
func (o *Origin) Facts(lr plog.LogRecord, take func(*backendapi.Fact)) (passed int, err error) {
	if !IsSampled(lr) {
		return 0, ErrForeign
	}
	var id string
	var files pcommon.Slice
	var hasFiles bool
	for key, v := range lr.Attributes().All() {
		switch key {
		case AttrEventID:
			id = text(v)
		case AttrSampleFiles:
			if hasFiles = v.Type() == pcommon.ValueTypeSlice; hasFiles {
				files = v.Slice()
			}
		}
	}
	switch {
	case id == "":
		return 0, ErrForeign
	case o.workload.ContainerID == "":
		return 0, &InvalidError{id, AttrContainerID, "is absent; a processor of the pipeline may have removed it"}
	case !hasFiles:
		return 0, nil
	}
	r := factReader{container: within(o.workload.ContainerID, backendapi.MaxName), metadata: make(map[string]string, 12)}
	at := lr.Timestamp().AsTime()
	if !backendapi.PlausibleTime(at) {
		at = lr.ObservedTimestamp().AsTime()
	}
	if backendapi.PlausibleTime(at) {
		r.at = &at
	}
	for _, v := range files.All() {
		if v.Type() != pcommon.ValueTypeMap || !r.file(v.Map(), take) {
			passed++
		}
	}
	return passed, nil
}

// factReader makes facts of the files of one record.
type factReader struct {
	container string
	at        *time.Time
	metadata  map[string]string
}

// file makes the fact of a file, and those of the Go modules in it.
func (r *factReader) file(m pcommon.Map, take func(*backendapi.Fact)) bool {
	clear(r.metadata)
	f := backendapi.Fact{ContainerID: r.container, ObservedAt: r.at, HitCount: 1, Metadata: r.metadata}
	var seg backendapi.Segment
	var kind, goBuildID string
	var buildIDStatus, buildIDReason string
	var modules pcommon.Slice
	hasModules := false
	for key, v := range m.All() {
		switch key {
		case "path":
			seg.Path = prose(v)
		case "kind":
			kind = name(v)
		case "hits":
			if n, ok := u64(v); ok && n > 0 {
				f.HitCount = min(n, 1<<53-1)
			}
		case "pid":
			f.ProcessID, _ = u32(v)
		case "process":
			f.ProcessName = name(v)
		case "load_base":
			f.LoaderBase = text(v)
		case "size":
			if n, ok := u64(v); ok {
				seg.Size = n
			}
		case "sha256":
			if sum := text(v); backendapi.IsSHA256(sum) {
				seg.SHA256 = sum
			}
		case "sha256.reason":
			r.put(backendapi.FactReason, name(v))
		case "build_id":
			if seg.BuildID = buildID(v); seg.BuildID == "" {
				buildIDStatus = string(evidence.StatusAbsent)
			}
		case "build_id.status":
			buildIDStatus = name(v)
		case "build_id.reason":
			buildIDReason = name(v)
		case "go_build_id":
			goBuildID = backendapi.GoBuildID(name(v))
		case "package":
			f.PURL = prose(v)
		case "go.modules":
			if hasModules = v.Type() == pcommon.ValueTypeSlice; hasModules {
				modules = v.Slice()
			}
		}
	}
	if seg.Path == "" {
		return false
	}
	if seg.BuildID == "" {
		seg.BuildID = goBuildID
	}
	seg.Format, seg.Name = format(kind, seg.BuildID), path.Base(seg.Path)
	f.BuildID, f.SymbolID, f.CodeID = seg.BuildID, seg.SymbolID(), seg.CodeID()
	r.put(backendapi.FactPath, seg.Path)
	r.put(backendapi.FactKind, kind)
	r.put(backendapi.FactSHA256, seg.SHA256)
	r.put(backendapi.FactIdentity, seg.Identity())
	if seg.Size > 0 {
		r.put(backendapi.FactSize, strconv.FormatUint(seg.Size, 10))
	}
	if seg.SHA256 != "" {
		r.put(backendapi.FactStatus, string(evidence.StatusPresent))
	} else {
		r.put(backendapi.FactStatus, string(evidence.StatusUnknown))
	}
	if seg.BuildID == "" {
		r.put(backendapi.FactBuildIDStatus, buildIDStatus)
		r.put(backendapi.FactBuildIDReason, buildIDReason)
	}
	if f.Validate() != nil {
		return false
	}
	take(&f)
	if hasModules {
		r.modules(&f, modules, take)
	}
	return true
}

// modules makes the facts of the Go modules in the file of f.
func (r *factReader) modules(f *backendapi.Fact, modules pcommon.Slice, take func(*backendapi.Fact)) {
	r.put(backendapi.FactKind, "go_module")
	for i, v := range modules.All() {
		if i == maxModules {
			return
		}
		module, version, ok := strings.Cut(prose(v), "@")
		if !ok || module == "" {
			continue
		}
		f.SymbolID = backendapi.GoModuleSymbolID(module, version)
		f.PURL = evidence.GoModule{Path: module, Version: version}.PURL()
		r.metadata[backendapi.FactGoModule] = strings.TrimSuffix(text(v), "@")
		if f.Validate() == nil {
			take(f)
		}
	}
}

func (r *factReader) put(key, value string) {
	if value != "" {
		r.metadata[key] = value
	}
}

// buildID gives a build id as the contract has it; "" for one that identifies no file, as the 8 bytes that lld writes by default.
func buildID(v pcommon.Value) string {
	id := name(v)
	if hex, ok := strings.CutPrefix(id, "gnu-build-id:"); ok {
		return backendapi.GNUBuildID(hex)
	}
	if guid, ok := strings.CutPrefix(id, "pe-guid:"); ok {
		return backendapi.PEGUID(guid)
	}
	return ""
}

// format is the first part of a code id.
func format(kind, buildID string) string {
	switch k := evidence.Kind(kind); {
	case k == evidence.KindJar, k == evidence.KindAssembly, k == evidence.KindScript:
		return kind
	case strings.HasPrefix(buildID, "pe-guid:"):
		return "pe"
	default:
		return "elf"
	}
}

// loadedLibs reads the attribute of a start's later revision.
func loadedLibs(v pcommon.Value) []backendapi.LoadedLib {
	if v.Type() != pcommon.ValueTypeSlice {
		return nil
	}
	var out []backendapi.LoadedLib
	for _, v := range v.Slice().All() {
		if v.Type() != pcommon.ValueTypeMap || len(out) == maxLibsPerEvent {
			continue
		}
		var lib backendapi.LoadedLib
		for key, v := range v.Map().All() {
			switch key {
			case "path":
				lib.Path = prose(v)
			case "sha256":
				if sum := text(v); backendapi.IsSHA256(sum) {
					lib.SHA256 = sum
				}
			case "build_id":
				lib.BuildID = buildID(v)
			case "size":
				if n, ok := u64(v); ok && n < 1<<53 {
					lib.Size = n
				}
			}
		}
		if lib.Path != "" {
			out = append(out, lib)
		}
	}
	return out
}

// arguments reads a command line.
func arguments(v pcommon.Value) []string {
	if v.Type() != pcommon.ValueTypeSlice {
		return nil
	}
	var out []string
	for _, arg := range v.Slice().All() {
		if len(out) < maxArguments {
			out = append(out, within(text(arg), backendapi.MaxArgument))
		}
	}
	return out
}

// maxArguments is the most arguments that an event carries; those that follow are left out.
const maxArguments = 4096
