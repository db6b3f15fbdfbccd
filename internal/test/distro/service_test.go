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

// TestServiceUnitIsValid has systemd itself check the unit for Linux nodes.
func TestServiceUnitIsValid(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd is not installed")
	}
	text, err := os.ReadFile(unitFile)
	require.NoError(t, err)
	// What it starts must be there, which on this machine it is not.
	unit := filepath.Join(t.TempDir(), "zastava.service")
	installed := strings.Replace(string(text), "ExecStart=/usr/local/bin/otelcol-zastava ", "ExecStart=/bin/true ", 1)
	require.NotEqual(t, string(text), installed)
	require.NoError(t, os.WriteFile(unit, []byte(installed), 0o600))
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", "--recursive-errors=no", unit).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.NotContains(t, string(out), "Unknown", "an option that is misspelled is only warned of")
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
