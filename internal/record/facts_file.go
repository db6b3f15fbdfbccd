// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"path"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/evidence"
)

// fileReader decodes the files of one record of a sample.
type fileReader struct {
	container string
	at        *time.Time        // when the sample was taken; nil if unknown
	metadata  map[string]string // of the current fact
	use       func(*backendapi.Fact)
	draft     fileDraft
}

// fileDraft is a file while it is decoded.
type fileDraft struct {
	fact                         backendapi.Fact
	segment                      backendapi.Segment
	kind, goBuildID              string
	buildIDStatus, buildIDReason string
	modules                      pcommon.Slice
	hasModules                   bool
}

// fileAttributes decodes each member of a file. Members that are not listed are ignored.
var fileAttributes = map[string]func(*fileReader, pcommon.Value){
	"path": func(r *fileReader, v pcommon.Value) { r.draft.segment.Path = prose(v) },
	"kind": func(r *fileReader, v pcommon.Value) { r.draft.kind = name(v) },
	"hits": func(r *fileReader, v pcommon.Value) {
		if n, ok := u64(v); ok && n > 0 {
			r.draft.fact.HitCount = min(n, 1<<53-1)
		}
	},
	"pid":       func(r *fileReader, v pcommon.Value) { r.draft.fact.ProcessID, _ = u32(v) },
	"process":   func(r *fileReader, v pcommon.Value) { r.draft.fact.ProcessName = name(v) },
	"load_base": func(r *fileReader, v pcommon.Value) { r.draft.fact.LoaderBase = text(v) },
	"size": func(r *fileReader, v pcommon.Value) {
		if n, ok := u64(v); ok {
			r.draft.segment.Size = n
		}
	},
	"sha256": func(r *fileReader, v pcommon.Value) {
		if sum := text(v); backendapi.IsSHA256(sum) {
			r.draft.segment.SHA256 = sum
		}
	},
	"sha256.reason": func(r *fileReader, v pcommon.Value) { r.put(backendapi.FactReason, name(v)) },
	"build_id": func(r *fileReader, v pcommon.Value) {
		if r.draft.segment.BuildID = buildID(v); r.draft.segment.BuildID == "" {
			r.draft.buildIDStatus = string(evidence.StatusAbsent)
		}
	},
	"build_id.status": func(r *fileReader, v pcommon.Value) { r.draft.buildIDStatus = name(v) },
	"build_id.reason": func(r *fileReader, v pcommon.Value) { r.draft.buildIDReason = name(v) },
	"go_build_id":     func(r *fileReader, v pcommon.Value) { r.draft.goBuildID = backendapi.GoBuildID(name(v)) },
	"package":         func(r *fileReader, v pcommon.Value) { r.draft.fact.PURL = prose(v) },
	"go.modules": func(r *fileReader, v pcommon.Value) {
		if r.draft.hasModules = v.Type() == pcommon.ValueTypeSlice; r.draft.hasModules {
			r.draft.modules = v.Slice()
		}
	},
}

// read decodes the fact of a file, and those of the Go modules in it. It returns false for a file that no fact can express.
func (r *fileReader) read(m pcommon.Map) bool {
	clear(r.metadata)
	r.draft = fileDraft{fact: backendapi.Fact{ContainerID: r.container, ObservedAt: r.at, HitCount: 1, Metadata: r.metadata}}
	for key, v := range m.All() {
		if set, ok := fileAttributes[key]; ok {
			set(r, v)
		}
	}
	d := &r.draft
	if d.segment.Path == "" {
		return false
	}
	r.identify()
	r.describe()
	if d.fact.Validate() != nil {
		return false
	}
	r.use(&d.fact)
	if d.hasModules {
		r.readModules()
	}
	return true
}

// identify sets the ids of the file. A Go build id serves where there is no other.
func (r *fileReader) identify() {
	d := &r.draft
	s := &d.segment
	if s.BuildID == "" {
		s.BuildID = d.goBuildID
	}
	s.Format, s.Name = format(d.kind, s.BuildID), path.Base(s.Path)
	d.fact.BuildID, d.fact.SymbolID, d.fact.CodeID = s.BuildID, s.SymbolID(), s.CodeID()
}

// describe sets the metadata of the fact.
func (r *fileReader) describe() {
	d := &r.draft
	s := &d.segment
	r.put(backendapi.FactPath, s.Path)
	r.put(backendapi.FactKind, d.kind)
	r.put(backendapi.FactSHA256, s.SHA256)
	r.put(backendapi.FactIdentity, s.Identity())
	if s.Size > 0 {
		r.put(backendapi.FactSize, strconv.FormatUint(s.Size, 10))
	}
	if s.SHA256 != "" {
		r.put(backendapi.FactStatus, string(evidence.StatusPresent))
	} else {
		r.put(backendapi.FactStatus, string(evidence.StatusUnknown))
	}
	if s.BuildID == "" {
		r.put(backendapi.FactBuildIDStatus, d.buildIDStatus)
		r.put(backendapi.FactBuildIDReason, d.buildIDReason)
	}
}

// readModules decodes the facts of the Go modules in the file. They differ from the file's own fact in symbol, package and kind.
func (r *fileReader) readModules() {
	f := &r.draft.fact
	r.put(backendapi.FactKind, "go_module")
	for i, v := range r.draft.modules.All() {
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
			r.use(f)
		}
	}
}

func (r *fileReader) put(key, value string) {
	if value != "" {
		r.metadata[key] = value
	}
}

// buildID returns a build id in the contract's spelling, or "" for one that does not identify a file, such as the 8 bytes that lld
// writes by default.
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

// format returns the first part of a code id.
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
