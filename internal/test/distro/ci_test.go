// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package distro

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFindingsOfGovulncheckFailTheCheck runs the step of .ci/run with a program in govulncheck's place.
func TestFindingsOfGovulncheckFailTheCheck(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("needs bash")
	}
	script, err := os.ReadFile(filepath.Join(repository, ".ci", "run"))
	require.NoError(t, err)
	step := regexp.MustCompile(`(?s)\nvulnerabilities\(\) \{\n.*?\n}\n`).Find(script)
	require.NotNil(t, step)
	for _, c := range []struct {
		name, says string
		status     int
		fails      bool
		want       string
	}{
		{"nothing found", "No vulnerabilities found.", 0, false, "No vulnerabilities found."},
		{"findings", "Vulnerability #1: GO-2026-0001", 3, true, "GO-2026-0001"},
		{"no network", "govulncheck: fetching vulnerabilities: dial tcp: lookup vuln.go.dev: no such host", 1, false, "Skipped"},
		{"code that does not compile", "govulncheck: loading packages: undefined: x", 1, true, "undefined: x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "build", "tools"), 0o700))
			stub := fmt.Sprintf("#!/bin/sh\necho '%s'\nexit %d\n", c.says, c.status)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "build", "tools", "govulncheck"), []byte(stub), 0o700))
			cmd := exec.CommandContext(t.Context(), bash, "-c", "set -euo pipefail\nmake() { :; }\n"+string(step)+"\nvulnerabilities")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			assert.Equal(t, c.fails, err != nil, "%s", out)
			assert.Contains(t, string(out), c.want)
		})
	}
}
