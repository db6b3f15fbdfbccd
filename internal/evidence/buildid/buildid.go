// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package buildid reads the metadata of a binary: the build-id of an ELF or PE file, and the build information that Go's linker
// writes.
//
// The file belongs to a container and may be hostile. At most 8 MiB are read, no number in the file decides how much memory is
// allocated, and invalid headers are a result and not an error.
package buildid

import (
	"debug/buildinfo"
	"errors"
	"io"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// Limits of what is read and kept of one file.
const (
	maxMetadataBytes = 8 << 20
	maxGoModules     = 2_048
)

// Metadata identifies a binary.
type Metadata struct {
	// BuildID has the format of evidence.File.BuildID.
	BuildID evidence.Datum[string]
	// GoBuildID and Go are ABSENT for ELF files that Go did not link.
	GoBuildID evidence.Datum[string]
	Go        evidence.Datum[evidence.GoBuild]
}

// Unknown returns the metadata of a file that could not be read.
func Unknown(reason evidence.Reason) Metadata {
	return Metadata{
		BuildID:   evidence.Unknown[string](reason),
		GoBuildID: evidence.Unknown[string](reason),
		Go:        evidence.Unknown[evidence.GoBuild](reason),
	}
}

// errMetadataBudget means that the headers of a file demand more reading than those of any honest file.
var errMetadataBudget = errors.New("the headers demand more than is read of a file")

// boundedReaderAt reads at most a number of bytes altogether.
type boundedReaderAt struct {
	r    io.ReaderAt
	left int64
}

func (b *boundedReaderAt) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 || int64(len(p)) > b.left {
		return 0, errMetadataBudget
	}
	n, err := b.r.ReadAt(p, at)
	b.left -= int64(n)
	return n, err
}

// Read reads the metadata of a binary. The error is one of reading the file; a file of an unknown format, or with invalid headers, is
// UNKNOWN with ReasonNotELF.
func Read(file io.ReaderAt) (m Metadata, err error) {
	r := &boundedReaderAt{r: file, left: maxMetadataBytes}
	notes, err := readELF(r)
	switch {
	case err == nil:
		return metadataOfELF(notes, r), nil
	case !errors.Is(err, errNotELF) && !errors.Is(err, errMetadataBudget):
		return m, err
	}
	m = Unknown(evidence.ReasonNotELF)
	guid, err := readPE(r)
	switch {
	case err == nil && guid != "":
		m.BuildID = evidence.Present("pe-guid:" + guid)
	case err == nil:
		m.BuildID = evidence.Absent[string]()
	case !errors.Is(err, errNotPE) && !errors.Is(err, errMetadataBudget):
		return m, err
	}
	return m, nil
}

func metadataOfELF(notes elfNotes, r io.ReaderAt) Metadata {
	m := Metadata{BuildID: evidence.Absent[string](), GoBuildID: evidence.Absent[string](), Go: evidence.Absent[evidence.GoBuild]()}
	if notes.buildID != nil {
		m.BuildID = evidence.Present(gnuBuildID(notes.buildID))
	}
	if notes.goBuildID != "" {
		m.GoBuildID = evidence.Present(notes.goBuildID)
	}
	if notes.goBuildInfo {
		m.Go = readGoBuild(r)
	}
	return m
}

// readGoBuild reads Go's build information by the standard library. readELF has checked that the file has few headers.
func readGoBuild(r io.ReaderAt) evidence.Datum[evidence.GoBuild] {
	info, err := buildinfo.Read(r)
	if err != nil || info.GoVersion == "" {
		return evidence.Absent[evidence.GoBuild]()
	}
	return evidence.Present(goBuildOf(info))
}

func goBuildOf(info *debug.BuildInfo) evidence.GoBuild {
	build := evidence.GoBuild{Version: evidence.ShortText(info.GoVersion), Path: evidence.ShortText(info.Path)}
	add := func(m *debug.Module, main bool) {
		if m.Replace != nil {
			m = m.Replace
			if m.Version == "" && localPath(m.Path) {
				return // a directory of the build machine has no name as a module
			}
		}
		version := evidence.ShortText(m.Version)
		if version == "(devel)" {
			version = ""
		}
		build.Modules = append(build.Modules, evidence.GoModule{Path: evidence.ShortText(m.Path), Version: version, Main: main})
	}
	if info.Main.Path != "" {
		add(&info.Main, true)
	}
	if version := standardLibrary(build.Version); version != "" {
		build.Modules = append(build.Modules, evidence.GoModule{Path: "stdlib", Version: version})
	}
	for _, m := range info.Deps {
		if len(build.Modules) >= maxGoModules {
			build.Truncated = true
			break
		}
		if m != nil {
			add(m, false)
		}
	}
	slices.SortStableFunc(build.Modules, func(a, b evidence.GoModule) int {
		if a.Main != b.Main {
			return pick(a.Main, -1, 1)
		}
		return strings.Compare(a.Path, b.Path)
	})
	return build
}

// standardLibrary returns the version of the standard library: 1.26.8 for "go1.26.8 X:boring", "" for a development version.
func standardLibrary(goVersion string) string {
	version, ok := strings.CutPrefix(goVersion, "go")
	if !ok {
		return ""
	}
	version, _, _ = strings.Cut(version, " ")
	return version
}

func localPath(p string) bool {
	return strings.HasPrefix(p, "/") || strings.HasPrefix(p, "./") || strings.HasPrefix(p, "../") || p == "." || p == ".." ||
		(len(p) > 2 && p[1] == ':')
}
