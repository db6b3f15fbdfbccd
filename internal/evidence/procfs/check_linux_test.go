// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// codeOf returns the paths that a process has mapped executable, read from maps by other code than the sampler's.
func codeOf(t *testing.T, pid int) []string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	require.NoError(t, err)
	var paths []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) >= 6 && strings.Contains(fields[1], "x") && strings.HasPrefix(fields[5], "/") && !slices.Contains(paths, fields[5]) {
			paths = append(paths, fields[5])
		}
	}
	slices.Sort(paths)
	return paths
}

// checkFile compares a file of a sample with what sha256sum, stat, readelf and go version report of it.
func checkFile(t *testing.T, pid int, f evidence.File) {
	t.Helper()
	host := filepath.Join("/proc", strconv.Itoa(pid), "root", f.Path)
	sum, _, _ := strings.Cut(output(t, "sha256sum", host), " ")
	assert.Equal(t, evidence.Present(sum), f.SHA256, f.Path)
	size, err := strconv.ParseInt(strings.TrimSpace(output(t, "stat", "-L", "-c", "%s", host)), 10, 64)
	require.NoError(t, err)
	assert.Equal(t, evidence.Present(size), f.Size, f.Path)
	if f.Kind == evidence.KindJar || f.Kind == evidence.KindScript {
		assert.Equal(t, evidence.Unknown[string](evidence.ReasonNotELF), f.BuildID)
		return
	}
	want := evidence.Absent[string]()
	for line := range strings.Lines(output(t, "readelf", "-n", "-W", host)) {
		if _, id, ok := strings.Cut(line, "Build ID: "); ok {
			want = evidence.Present("gnu-build-id:" + strings.TrimSpace(id))
		}
	}
	assert.Equal(t, want, f.BuildID, f.Path)
	checkGo(t, host, f)
}

// checkGo compares the Go build of a file with what go version and go tool buildid report of it.
func checkGo(t *testing.T, host string, f evidence.File) {
	t.Helper()
	said, err := exec.CommandContext(t.Context(), "go", "version", "-m", host).CombinedOutput()
	if err != nil || !strings.Contains(string(said), "\tpath\t") {
		assert.Equal(t, evidence.Absent[evidence.GoBuild](), f.Go, f.Path)
		assert.Equal(t, evidence.Absent[string](), f.GoBuildID, f.Path)
		return
	}
	assert.Equal(t, evidence.Present(strings.TrimSpace(output(t, "go", "tool", "buildid", host))), f.GoBuildID, f.Path)
	build, ok := f.Go.Get()
	require.True(t, ok)
	var modules []evidence.GoModule
	for line := range strings.Lines(string(said)) {
		switch fields := strings.Fields(line); {
		case len(fields) == 2 && strings.HasPrefix(fields[1], "go1"):
			assert.Equal(t, fields[1], build.Version)
			modules = append(modules, evidence.GoModule{Path: "stdlib", Version: strings.TrimPrefix(fields[1], "go")})
		case len(fields) == 2 && fields[0] == "path":
			assert.Equal(t, fields[1], build.Path)
		case len(fields) >= 2 && fields[0] == "mod":
			m := evidence.GoModule{Path: fields[1], Main: true}
			if len(fields) > 2 && fields[2] != "(devel)" {
				m.Version = fields[2]
			}
			modules = append(modules, m)
		case len(fields) >= 3 && fields[0] == "dep":
			modules = append(modules, evidence.GoModule{Path: fields[1], Version: fields[2]})
		}
	}
	assert.ElementsMatch(t, modules, build.Modules, f.Path)
}

// checkSample compares a sample with what other tools report of its processes and files.
func checkSample(t *testing.T, pid int, sample evidence.Sample) {
	t.Helper()
	want := map[string]bool{}
	for _, p := range sample.Processes {
		for _, path := range codeOf(t, p.PID) {
			want[path] = true
		}
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.PID))
		require.NoError(t, err)
		assert.Equal(t, evidence.Present(exe), p.Executable)
	}
	for _, f := range sample.Files {
		if f.Kind != evidence.KindJar && f.Kind != evidence.KindScript && f.Kind != evidence.KindAssembly {
			assert.True(t, want[f.Path], "%s is not mapped", f.Path)
			delete(want, f.Path)
		}
		assert.False(t, f.Deleted, f.Path)
		assert.NotEmpty(t, f.Uses)
		for _, use := range f.Uses {
			if use.LoadBase != 0 {
				maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", use.PID))
				require.NoError(t, err)
				begins := regexp.MustCompile(fmt.Sprintf(`(?m)^0*%x-.*%s$`, use.LoadBase, regexp.QuoteMeta(f.Path)))
				assert.True(t, begins.Match(maps), "%s begins at its load base %x", f.Path, use.LoadBase)
			}
		}
		checkFile(t, pid, f)
	}
	assert.Empty(t, want, "mapped, and not in the sample")
	c := sample.Coverage
	assert.Equal(t, evidence.Count{Seen: len(sample.Files), Read: len(sample.Files)}, c.Files)
	assert.Equal(t, evidence.Count{Seen: len(sample.Processes), Read: len(sample.Processes)}, c.Processes)
	assert.False(t, c.MappingsTruncated)
}

func kindOf(sample evidence.Sample, path string) evidence.Kind {
	for _, f := range sample.Files {
		if f.Path == path {
			return f.Kind
		}
	}
	return ""
}

// packageOf returns the package that owns a file by dpkg-query; "" if none does. dpkg lists some files in /lib and some in /usr/lib.
func packageOf(t *testing.T, path string) (name, version string) {
	t.Helper()
	for _, spelling := range []string{path, strings.TrimPrefix(path, "/usr")} {
		said, err := exec.CommandContext(t.Context(), "dpkg-query", "-S", spelling).Output()
		if err != nil {
			continue
		}
		name, _, _ = strings.Cut(string(said), ": ")
		return name, strings.TrimSpace(output(t, "dpkg-query", "-W", "-f", "${Version}", name))
	}
	return "", ""
}
