//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// tool runs a program of this machine and returns its output.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), name, args...).Output()
	require.NoError(t, err, "%s %v", name, args)
	return strings.TrimSpace(string(output))
}

// code returns the paths of the files that a process has mapped executable, in its own mount namespace.
func code(t *testing.T, pid int) map[string]bool {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	require.NoError(t, err)
	paths := map[string]bool{}
	for line := range strings.Lines(string(maps)) {
		if fields := strings.Fields(line); len(fields) == 6 && strings.Contains(fields[1], "x") && strings.HasPrefix(fields[5], "/") {
			paths[fields[5]] = true
		}
	}
	return paths
}

// file returns the fact that docs/runtime-facts.md derives from the output of sha256sum, readelf and stat for a file.
func file(t *testing.T, host, name string) backendapi.Fact {
	t.Helper()
	sum, _, _ := strings.Cut(tool(t, "sha256sum", host), " ")
	size := tool(t, "stat", "-L", "-c", "%s", host)
	buildID := ""
	for line := range strings.Lines(tool(t, "readelf", "-n", "-W", host)) {
		if _, id, ok := strings.Cut(line, "Build ID: "); ok {
			buildID = "gnu-build-id:" + strings.TrimSpace(id)
		}
	}
	require.NotEmpty(t, buildID, "readelf finds no build id in %s: this machine's programs have none", host)
	id := func(prefix string, parts ...string) string {
		hash := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
		return prefix + base64.RawURLEncoding.EncodeToString(hash[:])
	}
	return backendapi.Fact{
		BuildID:  buildID,
		SymbolID: id("sym:binary:", sum, "", "", path.Base(name), ""),
		CodeID:   id("code:binary:", "elf", buildID, "", "", size, sum),
		Metadata: map[string]string{backendapi.FactSHA256: sum, backendapi.FactSize: size, backendapi.FactIdentity: "file_hash"},
	}
}

// TestLibrariesOfALinkedProgramReachTheBackend runs a dynamically linked program. For each file that it has mapped executable, the
// backend must have a fact with the ids that follow from the output of other tools.
func TestLibrariesOfALinkedProgramReachTheBackend(t *testing.T) {
	for _, program := range []string{"readelf", "sha256sum", "stat", "ldd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s", program)
		}
	}
	sleep, err := exec.LookPath("sleep")
	require.NoError(t, err)
	c, d, pod := driverOf(t)
	const image = "zastava.local/linked:1"
	files, err := privateruntime.Program(t.Context(), sleep, "/app/sleeper")
	require.NoError(t, err)
	archive := filepath.Join(t.TempDir(), "image.tar")
	require.NoError(t, privateruntime.BuildCustom(archive, privateruntime.ImageSpec{Name: image, Entrypoint: []string{"/app/sleeper"}, Files: files}))
	require.NoError(t, c.Import(t.Context(), archive, image))

	s := newStack(t, c.Endpoint(), "auto", "exporters::zastavabackend::callgraph_id: e2e")
	s.observe()
	s.observing()
	id, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "linked", Image: image, Args: []string{"3600"}})
	require.NoError(t, err)
	pid, err := d.PID(t.Context(), id)
	require.NoError(t, err)
	s.await("the container's own program with its libraries", func() bool {
		mapped := code(t, pid)
		return mapped["/app/sleeper"] && len(mapped) >= 3 // with the loader and libc
	})

	var facts map[string]backendapi.Fact
	mapped := code(t, pid)
	s.await("a fact of each file", func() bool {
		var answer struct {
			Facts []backendapi.Fact `json:"facts"`
		}
		_ = json.Unmarshal([]byte(s.get(s.base+backendapi.FactsPath+"?limit=100&containerId="+url.QueryEscape("containerd://"+id))), &answer)
		facts = map[string]backendapi.Fact{}
		for _, f := range answer.Facts {
			facts[f.Metadata[backendapi.FactPath]] = f
		}
		return len(facts) >= len(mapped)
	})
	libc := false
	for name := range mapped {
		f, ok := facts[name]
		if !assert.True(t, ok, "%s is mapped and has no fact", name) {
			continue
		}
		delete(facts, name)
		want := file(t, fmt.Sprintf("/proc/%d/root%s", pid, name), name)
		assert.Equal(t, want.BuildID, f.BuildID, name)
		assert.Equal(t, want.SymbolID, f.SymbolID, name)
		assert.Equal(t, want.CodeID, f.CodeID, name)
		for key, value := range want.Metadata {
			assert.Equal(t, value, f.Metadata[key], "%s: %s", name, key)
		}
		kind := "library"
		if name == "/app/sleeper" {
			kind = "executable"
		}
		assert.Equal(t, kind, f.Metadata[backendapi.FactKind], name)
		assert.EqualValues(t, pid, f.ProcessID, name)
		assert.Equal(t, "containerd://"+id, f.ContainerID)
		libc = libc || strings.HasPrefix(path.Base(name), "libc.so")
	}
	assert.True(t, libc, "it has mapped no libc")
	assert.Empty(t, facts, "facts of files that are not mapped")
}
