// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"strconv"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/zastava-otel/zastava/internal/evidence"
)

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

// user returns the process that represents all that use a file: the main process, or else the first.
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

// putDatum sets key to a value that is present, or says why it is not present.
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

// putStatus says why a value is not present. It sets nothing for a present value.
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
