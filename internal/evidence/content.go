// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"debug/buildinfo"
	"errors"
	"io"
	"runtime/debug"
	"slices"
	"strings"
)

// Bounds on what is read and kept of one file besides its hash.
const (
	maxMetadataBytes = 8 << 20
	maxGoModules     = 2_048
	maxGoText        = 256 // bytes of a module's path or version
)

// content is what a file's bytes say. It is what the cache remembers.
type content struct {
	sha256    Datum[string]
	buildID   Datum[string]
	goBuildID Datum[string]
	goBuild   Datum[GoBuild]
}

// cost estimates the memory a content takes, in bytes.
func (c *content) cost() int {
	n := 512
	for _, m := range c.goBuild.Value.Modules {
		n += 64 + len(m.Path) + len(m.Version)
	}
	return n
}

// unreadable is the content of a file that could not be read at all.
func unreadable(reason Reason) content {
	return content{
		sha256: Unknown[string](reason), buildID: Unknown[string](reason),
		goBuildID: Unknown[string](reason), goBuild: Unknown[GoBuild](reason),
	}
}

// errMetadataBudget: a file's headers asked for more reading than any honest file's do.
var errMetadataBudget = errors.New("the headers ask for more than is read of a file")

// boundedReaderAt reads at most so many bytes altogether.
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

// examine reads what a file says of itself: all of content but the hash. The error is one of reading; a file of no known format,
// or with nonsense in it, is a datum.
func examine(file io.ReaderAt) (c content, err error) {
	r := &boundedReaderAt{r: file, left: maxMetadataBytes}
	c.goBuildID, c.goBuild = Unknown[string](ReasonNotELF), Unknown[GoBuild](ReasonNotELF)
	facts, err := readELF(r)
	switch {
	case err == nil:
		c.buildID, c.goBuildID, c.goBuild = Absent[string](), Absent[string](), Absent[GoBuild]()
		if facts.buildID != nil {
			c.buildID = Present(gnuBuildID(facts.buildID))
		}
		if facts.goBuildID != "" {
			c.goBuildID = Present(facts.goBuildID)
		}
		if facts.goBuildInfo {
			c.goBuild = readGoBuild(r)
		}
		return c, nil
	case !errors.Is(err, errNotELF) && !errors.Is(err, errMetadataBudget):
		return c, err
	}
	guid, err := readPE(r)
	switch {
	case err == nil && guid != "":
		c.buildID = Present("pe-guid:" + guid)
	case err == nil:
		c.buildID = Absent[string]()
	case errors.Is(err, errNotPE) || errors.Is(err, errMetadataBudget):
		c.buildID = Unknown[string](ReasonNotELF)
	default:
		return c, err
	}
	return c, nil
}

// readGoBuild reads Go's build information through the standard library, which by now sees only a file whose headers are few.
func readGoBuild(r io.ReaderAt) Datum[GoBuild] {
	info, err := buildinfo.Read(r)
	if err != nil || info.GoVersion == "" {
		return Absent[GoBuild]()
	}
	return Present(goBuildOf(info))
}

func goBuildOf(info *debug.BuildInfo) GoBuild {
	build := GoBuild{Version: short(info.GoVersion), Path: short(info.Path)}
	add := func(m *debug.Module, main bool) {
		if m.Replace != nil {
			m = m.Replace
			if m.Version == "" && localPath(m.Path) {
				return // a directory of the machine it was built on: no module that anyone could name
			}
		}
		version := short(m.Version)
		if version == "(devel)" {
			version = ""
		}
		build.Modules = append(build.Modules, GoModule{Path: short(m.Path), Version: version, Main: main})
	}
	if info.Main.Path != "" {
		add(&info.Main, true)
	}
	if version := standardLibrary(build.Version); version != "" {
		build.Modules = append(build.Modules, GoModule{Path: "stdlib", Version: version})
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
	slices.SortStableFunc(build.Modules, func(a, b GoModule) int {
		if a.Main != b.Main {
			return pick(a.Main, -1, 1)
		}
		return strings.Compare(a.Path, b.Path)
	})
	return build
}

// standardLibrary gives the version of the standard library: go1.26.8 X:boring is 1.26.8. A development version is none.
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

// short cuts a text of a foreign file; the copy lets go of the file's own.
func short(s string) string {
	return strings.Clone(strings.ToValidUTF8(s[:min(len(s), maxGoText)], ""))
}
