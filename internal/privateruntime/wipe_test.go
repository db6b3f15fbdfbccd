// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
)

// TestWipeLeavesNothing checks independently of Leftovers that no process has the directory in its command line, and that mounts, cgroups,
// PID namespaces and the shims' sockets are gone.
func TestWipeLeavesNothing(t *testing.T) {
	tests := map[string]struct {
		before func(c *privateruntime.Containerd) error
		wipe   func(c *privateruntime.Containerd) error
	}{
		"running":         {wipe: func(c *privateruntime.Containerd) error { return c.Wipe(t.Context()) }},
		"frozen":          {before: (*privateruntime.Containerd).Freeze, wipe: func(c *privateruntime.Containerd) error { return c.Wipe(t.Context()) }},
		"killed":          {before: (*privateruntime.Containerd).Kill, wipe: func(c *privateruntime.Containerd) error { return c.Wipe(t.Context()) }},
		"owner has ended": {wipe: func(c *privateruntime.Containerd) error { return privateruntime.WipeDir(t.Context(), c.Dir()) }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := realruntime.Containerd(t)
			d := c.Driver()
			pids := map[string]bool{} // PID namespaces
			for _, name := range []string{"one", "two"} {
				pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: name})
				require.NoError(t, err)
				id, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "stubborn", Args: []string{"stubborn"}})
				require.NoError(t, err)
				pid, err := d.PID(t.Context(), id)
				require.NoError(t, err)
				namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
				require.NoError(t, err)
				pids[namespace] = true
				if name == "two" {
					require.NoError(t, d.Pause(t.Context(), id))
				}
			}
			left, err := privateruntime.Leftovers(c.Dir())
			require.NoError(t, err)
			kinds := map[string]int{}
			var sockets []string
			for _, line := range left {
				kind, path, _ := strings.Cut(line, " ")
				kinds[kind]++
				if kind == "socket" {
					sockets = append(sockets, path)
				}
			}
			require.Len(t, sockets, 2, "one shim per pod")
			for _, kind := range []string{"process", "mount", "cgroup", "socket", "directory"} {
				assert.NotZero(t, kinds[kind], "before the wipe, %s is missing in %q", kind, left)
			}

			if tt.before != nil {
				require.NoError(t, tt.before(c))
			}
			require.NoError(t, tt.wipe(c))

			left, err = privateruntime.Leftovers(c.Dir())
			require.NoError(t, err)
			assert.Empty(t, left)
			for _, socket := range sockets {
				assert.NoFileExists(t, socket)
			}
			mounts, err := os.ReadFile("/proc/self/mountinfo")
			require.NoError(t, err)
			assert.NotContains(t, string(mounts), c.Dir())
			cgroups, err := filepath.Glob("/sys/fs/cgroup/*" + privateruntime.CgroupRoot(c.Dir()))
			require.NoError(t, err)
			assert.Empty(t, cgroups)
			assert.NoDirExists(t, "/sys/fs/cgroup"+privateruntime.CgroupRoot(c.Dir()))
			processes, err := filepath.Glob("/proc/[0-9]*")
			require.NoError(t, err)
			for _, process := range processes {
				if line, err := os.ReadFile(filepath.Join(process, "cmdline")); err == nil && process != fmt.Sprintf("/proc/%d", os.Getpid()) {
					assert.NotContains(t, string(line), c.Dir())
				}
				if namespace, err := os.Readlink(filepath.Join(process, "ns/pid")); err == nil {
					assert.False(t, pids[namespace], "%s is in a container's PID namespace", process)
				}
			}
			assert.NoDirExists(t, c.Dir())
		})
	}
}

func TestWipeLeavesAnotherDaemonAlone(t *testing.T) {
	one, two := realruntime.Containerd(t), realruntime.Containerd(t)
	for _, c := range []*privateruntime.Containerd{one, two} {
		d := c.Driver()
		pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: "same-name", UID: "same-uid"})
		require.NoError(t, err)
		_, err = d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "service", Args: []string{"pause"}})
		require.NoError(t, err)
	}
	require.NoError(t, one.Wipe(t.Context()))
	list, err := cri.NewRuntimeServiceClient(two.Conn()).ListContainers(t.Context(), &cri.ListContainersRequest{})
	require.NoError(t, err)
	require.Len(t, list.GetContainers(), 1, "the other daemon still has its container")
	assert.Equal(t, cri.ContainerState_CONTAINER_RUNNING, list.GetContainers()[0].GetState())
}
