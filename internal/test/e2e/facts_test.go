//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// loaded is what the backend says that something loads.
type loaded struct {
	Facts   []backendapi.Fact   `json:"facts"`
	Loads   []backendapi.Fact   `json:"loads"`
	Process *backendapi.Process `json:"process"`
}

// TestProcessesReachTheBackend: the program of a real container arrives as a fact with the hash that the file has, is found by
// image and by container, is on the page, and is part of the start's later revision.
func TestProcessesReachTheBackend(t *testing.T) {
	c, d, pod := driverOf(t)
	s := newStack(t, c.Endpoint(), "auto", "exporters::zastavabackend::callgraph_id: e2e")
	s.observe()
	s.observing()
	id, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "running", Args: []string{"sleep", "3600"}})
	require.NoError(t, err)

	ask := func(path string) (out loaded) {
		_ = json.Unmarshal([]byte(s.get(s.base+path)), &out) // an answer that is none yet has nothing
		return out
	}
	full := "containerd://" + id
	var program backendapi.Fact
	s.await("the facts of the container", func() bool {
		for _, f := range ask("/api/v1/containers/" + id).Loads {
			if f.Metadata[backendapi.FactKind] == "executable" {
				program = f
				return true
			}
		}
		return false
	})
	require.NotZero(t, program.ProcessID)
	file, err := os.Open("/proc/" + strconv.Itoa(int(program.ProcessID)) + "/exe")
	require.NoError(t, err)
	defer file.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, file)
	require.NoError(t, err)
	assert.Equal(t, hex.EncodeToString(sum.Sum(nil)), program.Metadata[backendapi.FactSHA256])
	assert.Equal(t, full, program.ContainerID)
	assert.True(t, strings.HasPrefix(program.SymbolID, "sym:binary:"), program.SymbolID)
	if program.BuildID == "" { // as the test's program is linked
		assert.Equal(t, "ABSENT", program.Metadata[backendapi.FactBuildIDStatus])
	}

	byContainer := ask(backendapi.FactsPath + "?containerId=" + url.QueryEscape(full)).Facts
	require.NotEmpty(t, byContainer)
	modules := 0
	for _, f := range byContainer {
		if strings.HasPrefix(f.PURL, "pkg:golang/") {
			modules++
		}
	}
	assert.Positive(t, modules, "a Go program has a list of its modules")

	s.await("the process in the start's next revision", func() bool {
		p := ask("/api/v1/containers/" + id).Process
		return p != nil && p.Executable == program.Metadata[backendapi.FactPath]
	})
	start := find(s.events(), id, backendapi.KindStart)
	require.NotNil(t, start)
	assert.EqualValues(t, 1, start.Revision)
	assert.NotEmpty(t, start.LoadedLibs)

	page := s.get(s.base + "/containers/" + url.PathEscape(full))
	assert.Contains(t, page, "Loaded code")
	assert.Contains(t, page, program.Metadata[backendapi.FactPath])
}
