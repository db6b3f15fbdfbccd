// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/container"
)

// A user's runtime reports a container with the id, the pod and the pid of root's.
func TestUsersRuntimeCannotForgeAContainerOfRoot(t *testing.T) {
	started := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	event := func(owner uint32) (*backendapi.Event, map[string]any) {
		c := &container.Container{
			Engine: "docker", ID: "f00d", Name: "web", Owner: owner, CreatedAt: started,
			Pod: container.Pod{UID: "uid", Name: "web-0", Namespace: "shop", SandboxID: "s"},
		}
		e := Encoder{HostName: "node"}
		batch := e.NewBatch()
		batch.Append(&container.Transition{
			Container: c, Kind: container.KindStarted, When: started, Run: container.Run{StartedAt: started, PID: 1},
			Previous: &container.PreviousRun{ContainerID: "cafe"}, Provenance: container.Provenance{ObservedAt: started},
		})
		rl := batch.Logs().ResourceLogs().At(0)
		attributes := rl.Resource().Attributes().AsRaw()
		lr := rl.ScopeLogs().At(0).LogRecords().At(0)
		maps.Copy(attributes, lr.Attributes().AsRaw())
		o := (&Decoder{Tenant: "t"}).Origin(rl.Resource())
		ev, err := o.Event(lr)
		require.NoError(t, err)
		return &ev, attributes
	}
	roots, _ := event(0)
	users, attributes := event(1000)
	assert.Equal(t, "docker://f00d", roots.Workload.ContainerID)
	assert.Equal(t, "docker+1000://f00d", users.Workload.ContainerID)
	assert.Equal(t, "docker+1000://cafe", users.Previous.ContainerID)
	assert.NotEqual(t, roots.EventID, users.EventID)
	assert.Equal(t, "1000", users.Annotations[AttrRuntimeOwner])
	assert.Empty(t, users.Workload.PodUID)
	assert.Equal(t, int64(1000), attributes[AttrRuntimeOwner])
	for _, name := range []string{AttrProcessPID, AttrPodUID, AttrPodName} {
		assert.NotContains(t, attributes, name)
	}
	assert.NotEqual(t, GapID("node", &container.Gap{Engine: "docker", Owner: 1000}), GapID("node", &container.Gap{Engine: "docker"}))
}
