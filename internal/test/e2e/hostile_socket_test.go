//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/test/hostile"
	"github.com/zastava-otel/zastava/internal/test/process"
	"github.com/zastava-otel/zastava/internal/test/socketdir"
)

const (
	engineVariable = "ZASTAVA_TEST_ENGINE" // a served, in a process of a local user
	localUser      = 65534
)

// served is an engine and where it is served.
type served struct {
	Socket string
	Engine hostile.Engine
}

// serveEngine serves the engine that the environment describes. It returns false if it describes none.
func serveEngine() bool {
	text := os.Getenv(engineVariable)
	if text == "" {
		return false
	}
	var s served
	if json.Unmarshal([]byte(text), &s) != nil {
		return true
	}
	if l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", s.Socket); err == nil {
		_ = s.Engine.Serve(l)
	}
	return true
}

// localEngine has a local user serve an engine where detection looks for users' sockets, and returns the host's root.
func localEngine(t *testing.T, e hostile.Engine) (root string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to be another user")
	}
	root = socketdir.New(t)
	home := filepath.Join(root, "run", "user", "65534")
	require.NoError(t, os.MkdirAll(home, 0o755))
	require.NoError(t, os.Chmod(root, 0o755))
	require.NoError(t, os.Chown(home, localUser, localUser))
	self, err := os.Executable()
	require.NoError(t, err)
	content, err := os.ReadFile(self)
	require.NoError(t, err)
	program := filepath.Join(root, "engine")
	require.NoError(t, os.WriteFile(program, content, 0o755))
	socket := filepath.Join(home, "docker.sock")
	text, err := json.Marshal(served{socket, e})
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = []string{engineVariable + "=" + string(text)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: localUser, Gid: localUser}}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	process.Await(t, patient, "the user's engine", func() bool { _, err := os.Lstat(socket); return err == nil })
	return root
}

func (s *stack) observeUsers(root, more string) {
	s.extra = append(s.extra, "receivers::criobserver::runtimes: []", "receivers::criobserver::host_root: "+root, "receivers::criobserver::detect_interval: 1s")
	if more != "" {
		s.extra = append(s.extra, "receivers::criobserver::"+more)
	}
	s.observe()
}

func (s *stack) collectorLog() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "collector.log"))
	require.NoError(s.t, err)
	return string(text)
}

func TestEngineOfALocalUserIsIgnoredByDefault(t *testing.T) {
	forged := strings.Repeat("f", 64)
	s := newStack(t, "", "auto")
	s.observeUsers(localEngine(t, hostile.Engine{ID: forged, PID: 1}), "")
	s.await("the search", func() bool { return strings.Contains(s.collectorLog(), "no runtime is observed yet") })
	time.Sleep(5 * time.Second) // further searches
	assert.Empty(t, s.events())
	assert.NotContains(t, s.collectorLog(), "docker-65534")
}

func TestEndlessListOfALocalUserLeavesTheCollectorAlive(t *testing.T) {
	s := newStack(t, "", "auto")
	s.observeUsers(localEngine(t, hostile.Engine{ID: strings.Repeat("f", 64), Endless: true}), "detect_user_sockets: true")
	s.await("the error of the list", func() bool { return strings.Contains(s.collectorLog(), "GET /containers/json exceeds a limit") })
	time.Sleep(10 * time.Second) // further lists
	assert.Less(t, process.Peak(t, s.collector.PID()), float64(maxCollectorMiB))
	for line := range strings.Lines(s.collectorLog()) {
		assert.Less(t, len(line), 4096)
	}
	assert.Empty(t, s.events())
}

func TestForgedContainerOfALocalUserBearsItsOwner(t *testing.T) {
	forged := strings.Repeat("f", 64)
	s := newStack(t, "", "auto")
	s.observeUsers(localEngine(t, hostile.Engine{ID: forged, PID: os.Getpid()}), "detect_user_sockets: true")
	s.await("the start of the forged container", func() bool { return s.kindsOf(forged)[backendapi.KindStart] == 1 })
	time.Sleep(3 * time.Second) // the first sample
	for _, e := range s.events() {
		if e.Workload == nil {
			continue
		}
		assert.Equal(t, "docker+65534://"+forged, e.Workload.ContainerID)
		assert.Equal(t, "65534", e.Annotations["zastava.runtime.owner"])
		assert.Nil(t, e.Process, "the process is not the container's")
	}
	assert.NotContains(t, s.get(s.base+"/api/v1/containers/"+forged), `"sha256"`)
}
