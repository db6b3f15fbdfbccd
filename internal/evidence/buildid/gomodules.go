// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package buildid

import (
	"runtime/debug"
	"slices"
	"strings"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// maxGoModules is how many modules are kept of one file. A Kubernetes has 300.
const maxGoModules = 2_048

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
