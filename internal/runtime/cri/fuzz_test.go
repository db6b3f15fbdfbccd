// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

// sane fails when a time is neither unset nor one of a container.
func sane(t *testing.T, at time.Time) {
	t.Helper()
	if !at.IsZero() {
		assert.GreaterOrEqual(t, at.Year(), 2001)
		assert.Less(t, at.Year(), 2200)
	}
}

func bounded(t *testing.T, c *container.Container) {
	t.Helper()
	sane(t, c.CreatedAt)
	for _, s := range []string{c.Name, c.Engine, c.Image.Reference, c.Image.ID, c.Image.ManifestDigest, c.Pod.Name, c.Pod.UID} {
		assert.LessOrEqual(t, len(s), runtime.MaxText)
	}
	assert.LessOrEqual(t, len(c.Labels), runtime.MaxKept)
}

// FuzzStatus reads any bytes as a status: no panic, no implausible time, no exit code without a finish time.
func FuzzStatus(f *testing.F) {
	seed := func(s *runtimeapi.ContainerStatus) {
		b, err := proto.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seed(&runtimeapi.ContainerStatus{})
	seed(&runtimeapi.ContainerStatus{Id: "a", State: running, StartedAt: time.Now().UnixNano(), Reason: "OOMKilled"})
	seed(&runtimeapi.ContainerStatus{
		Id: "a", State: exited, StartedAt: -6795364578871345152, FinishedAt: 1<<63 - 1, ExitCode: -1,
		Image: &runtimeapi.ImageSpec{Image: "a@sha256:b"}, ImageRef: "docker-pullable://x@sha256:0", ImageId: "sha256:",
		Annotations: map[string]string{annotationRestartCount: "1e9"},
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		oracle.Bound(t, oracle.Parsing(len(b)))
		s := &runtimeapi.ContainerStatus{}
		if proto.Unmarshal(b, s) != nil {
			return
		}
		snap := snapshot(&container.Container{ID: "a"}, s)
		bounded(t, snap.Container)
		sane(t, snap.Run.StartedAt)
		sane(t, snap.Run.FinishedAt)
		if snap.Run.ExitKnown {
			assert.False(t, snap.Run.FinishedAt.IsZero())
			assert.Equal(t, uint32(s.ExitCode), snap.Run.ExitCode)
		} else {
			assert.Zero(t, snap.Run.ExitCode)
		}
		if snap.State != container.StateExited {
			assert.True(t, snap.Run.FinishedAt.IsZero())
			assert.False(t, snap.Run.OOMKilled)
		}
	})
}

// FuzzList reads any bytes as a list: no panic, no item without an id, no implausible time, no unbounded string.
func FuzzList(f *testing.F) {
	for _, items := range [][]*runtimeapi.Container{
		{},
		{{Id: "a", CreatedAt: 1}, {}, {Id: "a", State: 9, Metadata: &runtimeapi.ContainerMetadata{Name: "n", Attempt: 1 << 31}}},
		{{Id: "b", PodSandboxId: "p", Labels: map[string]string{labelPodName: "x", labelPodNamespace: "y", labelPodUID: "z"}}},
	} {
		b, err := proto.Marshal(&runtimeapi.ListContainersResponse{Containers: items})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	r, err := New(Options{Endpoint: "/nonexistent.sock", Timeout: time.Millisecond, Labels: []string{"*"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = r.Close() })
	r.info.Store(&runtime.Info{Engine: "containerd"})
	f.Fuzz(func(t *testing.T, b []byte) {
		oracle.Bound(t, oracle.Parsing(len(b)))
		response := listResponse{bounds: &rootBounds}
		err := response.read(b)
		decoded := &runtimeapi.ListContainersResponse{}
		if proto.Unmarshal(b, decoded) == nil { // what protobuf can decode must be read the same
			require.NoError(t, err)
			var want []runtime.Summary
			for _, c := range decoded.Containers {
				if c.Id != "" {
					want = append(want, runtime.Summary{
						ID: c.Id, State: state(c.State), CreatedAt: plausibleNanos(c.CreatedAt), Attempt: c.GetMetadata().GetAttempt(),
					})
				}
			}
			require.Len(t, response.summaries, len(want))
			for i, got := range response.summaries {
				got.Item = nil
				require.Equal(t, want[i], got)
			}
		}
		for _, s := range response.summaries {
			assert.NotEmpty(t, s.ID)
			sane(t, plausibleTime(s.CreatedAt))
			assert.LessOrEqual(t, s.State, container.StateExited)
			// Without a server only containers whose labels contain the pod, or that have no pod, can be described.
			if c, err := r.Describe(t.Context(), s); err == nil {
				assert.Equal(t, s.ID, c.ID)
				bounded(t, c)
			}
		}
	})
}

// FuzzPID reads any bytes as a verbose response: no panic, and no error that quotes it.
func FuzzPID(f *testing.F) {
	f.Add(`{"sandboxID":"a","pid":4711,"config":{"envs":[{"key":"TOKEN","value":"x"}]}}`)
	f.Add(`{"config":{"pid":[1,{"pid":2}]},"pid":-1}`)
	f.Fuzz(func(t *testing.T, info string) {
		oracle.Bound(t, oracle.Parsing(len(info)))
		pid, err := pidIn(info)
		if err != nil {
			assert.Equal(t, errVerboseStatus, err)
			assert.Zero(t, pid)
		}
	})
}
