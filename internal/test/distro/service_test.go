// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package distro

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	unitFile       = filepath.Join("..", "..", "..", "deploy", "systemd", "zastava.service")
	kubernetesFile = filepath.Join("..", "..", "..", "deploy", "kubernetes", "zastava.yaml")
)

// units returns the units for Linux nodes. What they start is replaced by a program that this machine has.
func units(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(unitFile), "*.service"))
	require.NoError(t, err)
	require.Len(t, files, 2)
	found := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		unit := filepath.Join(t.TempDir(), filepath.Base(file))
		installed := strings.Replace(string(text), "ExecStart=/usr/local/bin/otelcol-zastava ", "ExecStart=/bin/true ", 1)
		require.NotEqual(t, string(text), installed)
		require.NoError(t, os.WriteFile(unit, []byte(installed), 0o600))
		found[filepath.Base(file)] = unit
	}
	return found
}

func systemdAnalyze(t *testing.T, arguments ...string) string {
	t.Helper()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd is not installed")
	}
	out, err := exec.CommandContext(t.Context(), analyze, arguments...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// TestServiceUnitsAreValid has systemd itself check the units.
func TestServiceUnitsAreValid(t *testing.T) {
	for name, unit := range units(t) {
		out := systemdAnalyze(t, "verify", "--man=no", "--recursive-errors=no", unit)
		assert.NotContains(t, out, "Unknown", "%s: an option that is misspelled is only warned of", name)
	}
}

// TestServiceUnitsAreHardened: the bounds are systemd's own rating, times ten; docs/linux.md says where the rest comes from.
func TestServiceUnitsAreHardened(t *testing.T) {
	for name, most := range map[string]string{"zastava.service": "32", "zastava-sampler.service": "22"} {
		systemdAnalyze(t, "security", "--offline=true", "--threshold="+most, units(t)[name])
	}
}

// TestServiceUnitsAllowTheSamplerToConfineItself: without the two system calls, its processes do not start, or start unconfined.
func TestServiceUnitsAllowTheSamplerToConfineItself(t *testing.T) {
	for name, unit := range units(t) {
		text, err := os.ReadFile(unit)
		require.NoError(t, err)
		assert.Regexp(t, `(?m)^SystemCallFilter=@system-service\nSystemCallFilter=~@privileged\nSystemCallFilter=capset seccomp setgroups setresgid setresuid\n`, string(text), name)
	}
}

// TestCollectorHasNoCapabilityBesideASampler compares the pieces of the two recipes: who has capabilities, and where they meet.
func TestCollectorHasNoCapabilityBesideASampler(t *testing.T) {
	const socket = "/run/zastava/sampler.sock"
	drop, err := os.ReadFile(filepath.Join(filepath.Dir(unitFile), "zastava.service.d", "sampler.conf"))
	require.NoError(t, err)
	assert.Contains(t, string(drop), "\nCapabilityBoundingSet=\n")
	sampler, err := os.ReadFile(filepath.Join(filepath.Dir(unitFile), "zastava-sampler.service"))
	require.NoError(t, err)
	assert.Contains(t, string(sampler), " zastava-sampler --listen "+socket+"\n")
	for _, denied := range []string{"PrivateNetwork=yes", "IPAddressDeny=any", "RestrictAddressFamilies=AF_UNIX"} {
		assert.Contains(t, string(sampler), "\n"+denied+"\n")
	}

	manifest, err := os.ReadFile(kubernetesFile)
	require.NoError(t, err)
	collector, rest, found := strings.Cut(string(manifest), "- name: sampler\n          image:")
	require.True(t, found)
	assert.Contains(t, collector, "sampler_socket: "+socket)
	assert.Contains(t, collector, "capabilities: {drop: [ALL]}\n")
	assert.NotContains(t, collector, "add: [")
	assert.Contains(t, rest, "args: [zastava-sampler, --listen, "+socket+"]")
	assert.NotContains(t, rest, "mountPath: /run/containerd", "the sampler needs no runtime")
	for _, container := range []string{collector, rest} {
		assert.Contains(t, container, "seccompProfile: {type: RuntimeDefault}")
		assert.Contains(t, container, "readOnlyRootFilesystem: true")
		assert.Contains(t, container, "mountPath: "+filepath.Dir(socket)+"}")
	}
}

// TestServiceHasTheRightsOfTheKubernetesManifest: docs/evidence.md says which, once for both.
func TestServiceHasTheRightsOfTheKubernetesManifest(t *testing.T) {
	unit, err := os.ReadFile(unitFile)
	require.NoError(t, err)
	manifest, err := os.ReadFile(kubernetesFile)
	require.NoError(t, err)
	bounding := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.*)$`).FindSubmatch(unit)
	require.NotNil(t, bounding)
	added := regexp.MustCompile(`capabilities: \{drop: \[ALL], add: \[([A-Z_, ]*)]}`).FindSubmatch(manifest)
	require.NotNil(t, added)
	var want []string
	for name := range strings.SplitSeq(string(added[1]), ",") {
		want = append(want, "CAP_"+strings.TrimSpace(name))
	}
	got := strings.Fields(string(bounding[1]))
	slices.Sort(want)
	slices.Sort(got)
	assert.Equal(t, want, got)
}
