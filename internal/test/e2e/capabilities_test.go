//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/process"
	"github.com/zastava-otel/zastava/internal/test/socketdir"
)

// capabilitiesOf returns a process's set of that name, as in its status.
func capabilitiesOf(t *testing.T, pid int, set string) string {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	require.NoError(t, err)
	match := regexp.MustCompile(`(?m)^` + set + `:\t([0-9a-f]+)$`).FindSubmatch(status)
	require.NotNil(t, match)
	return string(match[1])
}

// TestCollectorWithoutCapabilitiesReportsEvidence is the recipe of the Kubernetes manifest: root without capabilities, and beside it a
// sampler with the two that evidence takes and the two with which it becomes a user that owns nothing.
func TestCollectorWithoutCapabilitiesReportsEvidence(t *testing.T) {
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("needs setpriv")
	}
	confined := func(capabilities ...string) []string {
		bounding := "-all"
		var boundingSb44 strings.Builder
		for _, c := range capabilities {
			boundingSb44.WriteString(",+" + c)
		}
		bounding += boundingSb44.String()
		return []string{setpriv, "--bounding-set=" + bounding, "--inh-caps=-all", "--no-new-privs"}
	}
	c, d, pod := driverOf(t)
	socket := filepath.Join(socketdir.New(t), "sampler.sock")
	s := newStack(t, c.Endpoint(), "auto", "exporters::zastavabackend::callgraph_id: e2e", "receivers::criobserver::evidence::sampler_socket: "+socket)
	command := append(confined("sys_ptrace", "dac_read_search", "setuid", "setgid"), process.Built(t, process.CollectorName), "zastava-sampler", "--listen", socket)
	sampler := process.Start(t, process.Program{Path: command[0], Args: command[1:], Log: filepath.Join(s.dir, "sampler.log")})
	sampler.Await(patient, "the sampler's socket", func() bool { _, err := os.Stat(socket); return err == nil })
	s.under = confined()
	s.observe()
	s.observing()
	id, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "api", Args: []string{"sleep", "3600"}})
	require.NoError(t, err)
	s.await("the facts of a container", func() bool {
		return strings.Contains(s.get(s.base+"/api/v1/containers/"+id), `"sha256"`)
	})
	for _, set := range []string{"CapPrm", "CapEff", "CapBnd"} {
		assert.Regexp(t, "^0+$", capabilitiesOf(t, s.collector.PID(), set), "the collector's %s", set)
	}
	log, err := os.ReadFile(filepath.Join(s.dir, "collector.log"))
	require.NoError(t, err)
	assert.NotContains(t, string(log), "cannot restrict its system calls")
}
