// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/container"
)

func TestComposeAndSwarmAreEncodedAsResourceAttributes(t *testing.T) {
	c := &container.Container{
		Engine: "docker", ID: "c1", Name: "shop-web-2", CreatedAt: created,
		Compose: container.Compose{Project: "shop", Service: "web", Number: "2"},
		Swarm:   container.Swarm{ServiceID: "s1", ServiceName: "web", TaskID: "t1"},
	}
	batch := sampleEncoder().NewBatch()
	batch.Append(&container.Transition{Kind: container.KindCreated, When: created, Container: c})
	attributes := batch.Logs().ResourceLogs().At(0).Resource().Attributes()
	for name, want := range map[string]string{
		AttrComposeProject: "shop", AttrComposeService: "web", AttrComposeNumber: "2",
		AttrSwarmServiceID: "s1", AttrSwarmServiceName: "web", AttrSwarmTaskID: "t1",
	} {
		got, ok := attributes.Get(name)
		require.True(t, ok, name)
		assert.Equal(t, want, got.Str())
	}
	_, pod := attributes.Get(AttrPodName)
	assert.False(t, pod, "a container outside Kubernetes has no pod")
}

func TestStopSignalAndWindowsExitCodeAreDecoded(t *testing.T) {
	c := &container.Container{Engine: "docker", ID: "c1", Name: "web", CreatedAt: created}
	run := container.Run{StartedAt: started, FinishedAt: finished, ExitCode: 3221225786, ExitKnown: true, Reason: "Error", StopSignal: "SIGTERM"}
	batch := sampleEncoder().NewBatch()
	batch.Append(&container.Transition{Kind: container.KindStopped, When: finished, Container: c, State: container.StateExited, Run: run})
	rl := batch.Logs().ResourceLogs().At(0)
	ev, err := (&Decoder{Tenant: "acme"}).Origin(rl.Resource()).Event(rl.ScopeLogs().At(0).LogRecords().At(0))
	require.NoError(t, err)
	require.NotNil(t, ev.Run.ExitCode)
	assert.EqualValues(t, 3221225786, *ev.Run.ExitCode)
	assert.Equal(t, []backendapi.Evidence{{Signal: AttrStopSignal, Value: "SIGTERM"}}, ev.Evidence)
}

func TestOSAndIsolationAreDecodedAsAnnotations(t *testing.T) {
	c := &container.Container{Engine: "docker", ID: "c1", Name: "iis", CreatedAt: created, Platform: container.Platform{OS: "windows", Arch: "amd64", Isolation: container.IsolationHyperV}}
	run := container.Run{StartedAt: started, FinishedAt: finished, ExitCode: 137, ExitKnown: true, Reason: "Error"}
	batch := sampleEncoder().NewBatch()
	batch.Append(&container.Transition{Kind: container.KindStopped, When: finished, Container: c, State: container.StateExited, Run: run})
	rl := batch.Logs().ResourceLogs().At(0)
	for name, want := range map[string]string{AttrOSType: "windows", AttrIsolation: "hyperv"} {
		got, ok := rl.Resource().Attributes().Get(name)
		require.True(t, ok, name)
		assert.Equal(t, want, got.Str())
	}
	_, ok := rl.ScopeLogs().At(0).LogRecords().At(0).Attributes().Get(AttrExitSignal)
	assert.False(t, ok, "Windows has no signals")
	ev, err := (&Decoder{Tenant: "acme", Annotations: map[string]string{"environment": "prod"}}).Origin(rl.Resource()).Event(rl.ScopeLogs().At(0).LogRecords().At(0))
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"environment": "prod", "os.type": "windows", "zastava.container.isolation": "hyperv"}, ev.Annotations)
}
