// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

func TestListReturnsAllStates(t *testing.T) {
	states := map[string]container.State{
		"created": container.StateCreated, "running": container.StateRunning, "paused": container.StatePaused,
		"restarting": container.StateExited, "removing": container.StateExited, "exited": container.StateExited, "dead": container.StateExited,
		"configured": container.StateCreated, "stopped": container.StateExited, "": container.StateUnknown, "new": container.StateUnknown,
	}
	for word, want := range states {
		t.Run("state "+word, func(t *testing.T) {
			e := newEngine(t)
			e.respond("/containers/json", "["+listItem(id1, word, "Up 1 second", "")+"]")
			list, err := e.runtime().List(t.Context(), nil)
			require.NoError(t, err)
			require.Len(t, list, 1)
			assert.Equal(t, want, list[0].State)
			assert.Equal(t, id1, list[0].ID)
			assert.Equal(t, int64(1700000000e9), list[0].CreatedAt)
		})
	}
}

func TestListFailsWhenResponseIsCutOff(t *testing.T) {
	e := newEngine(t)
	e.respond("/containers/json", "["+listItem(id1, "running", "Up 1 second", "")+",")
	_, err := e.runtime().List(t.Context(), nil)
	require.Error(t, err)
}

func TestListOmitsKubernetesContainersWhenObservedThroughCRI(t *testing.T) {
	const labels = `"io.kubernetes.pod.uid":"u1","io.kubernetes.pod.name":"p","io.kubernetes.pod.namespace":"ns","io.kubernetes.container.name":"api"`
	item := `{"Id":"` + id1 + `","Names":["/k8s_api_p_ns_u1_3"],"Image":"` + img + `","ImageID":"` + img + `","Created":1700000000,"Labels":{` + labels + `},"State":"running","Status":"Up 1 second"}`
	sandbox := `{"Id":"` + id2 + `","Names":["/k8s_POD_p_ns_u1_0"],"Created":1700000000,"Labels":{` + labels + `,"io.kubernetes.docker.type":"podsandbox"},"State":"running","Status":"Up 1 second"}`
	e := newEngine(t)
	e.respond("/containers/json", "["+item+","+sandbox+"]")
	observed := false
	r := e.runtime(func(o *Options) { o.ObservedThroughCRI = func() bool { return observed } })
	list, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, list, 2, "without CRI the labels have no meaning, because any container may have them")
	c, err := r.Describe(t.Context(), list[0])
	require.NoError(t, err)
	assert.Equal(t, container.Pod{Namespace: "ns", Name: "p", UID: "u1"}, c.Pod)
	assert.Equal(t, "api", c.Name)
	assert.EqualValues(t, 3, c.Attempt)
	assert.Empty(t, c.Image.Reference, "an image id is not a reference")

	observed = true
	list, err = r.List(t.Context(), nil)
	require.NoError(t, err)
	assert.Len(t, list, 2, "a listed container is not omitted later")
	fresh := e.runtime(func(o *Options) { o.ObservedThroughCRI = func() bool { return true } })
	list, err = fresh.List(t.Context(), nil)
	require.NoError(t, err)
	assert.Empty(t, list, "it is observed through CRI")
}

func TestListKeepsFailedStartExited(t *testing.T) {
	e := newEngine(t)
	e.respond("/containers/json", "["+listItem(id1, "created", "Created", "")+"]")
	e.respond("/containers/"+id1+"/json", inspection(id1, `{"Status":"created","ExitCode":127,"Error":"x"}`))
	r := e.runtime()
	list, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, container.StateCreated, list[0].State)
	_, err = r.Inspect(t.Context(), &container.Container{ID: id1})
	require.NoError(t, err)
	before, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, container.StateExited, before[0].State)
	after, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, before[0].Fingerprint, after[0].Fingerprint, "it is not inspected again")
}

// TestFingerprintChangesWithListItem checks the fingerprint because only a container whose fingerprint changed is inspected.
func TestFingerprintChangesWithListItem(t *testing.T) {
	item := func(names, state, status, more string) string {
		return fmt.Sprintf(`[{"Id":%q,"Names":%s,"Created":1700000000,"State":%q,"Status":%q%s}]`, id1, names, state, status, more)
	}
	cases := []struct {
		name, one, other string
		changes          bool
	}{
		{"nothing", item(`["/a"]`, "running", "Up 5 hours", ""), item(`["/a"]`, "running", "Up 5 hours", ""), false},
		{"it grew older", item(`["/a"]`, "running", "Up 59 minutes", ""), item(`["/a"]`, "running", "Up About an hour", ""), false},
		{"a link to it", item(`["/a"]`, "running", "Up 5 hours", ""), item(`["/other/alias","/a"]`, "running", "Up 5 hours", ""), false},
		{"renamed", item(`["/a"]`, "running", "Up 5 hours", ""), item(`["/b"]`, "running", "Up 5 hours", ""), true},
		{"restarted", item(`["/a"]`, "running", "Up 5 hours", ""), item(`["/a"]`, "running", "Up 1 second", ""), true},
		{"ran once more", item(`["/a"]`, "exited", "Exited (1) 5 hours ago", ""), item(`["/a"]`, "exited", "Exited (1) 2 seconds ago", ""), true},
		{"another exit code", item(`["/a"]`, "exited", "Exited (1) 5 hours ago", ""), item(`["/a"]`, "exited", "Exited (2) 5 hours ago", ""), true},
		{"health", item(`["/a"]`, "running", "Up 5 hours (healthy)", ""), item(`["/a"]`, "running", "Up 5 hours (unhealthy)", ""), true},
		{
			"health in its own field", item(`["/a"]`, "running", "Up 5 hours", `,"Health":{"Status":"healthy"}`),
			item(`["/a"]`, "running", "Up 5 hours", `,"Health":{"Status":"unhealthy"}`), true,
		},
		{"dead", item(`["/a"]`, "exited", "Exited (1) 5 hours ago", ""), item(`["/a"]`, "dead", "Dead", ""), true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := newEngine(t)
			r := e.runtime()
			var marks []uint64
			for _, response := range []string{c.one, c.other} {
				e.respond("/containers/json", response)
				list, err := r.List(t.Context(), nil)
				require.NoError(t, err)
				marks = append(marks, list[0].Fingerprint)
			}
			assert.Equal(t, c.changes, marks[0] != marks[1])
		})
	}
}

func TestDeadContainerThatNeverRanIsInspectedOnce(t *testing.T) {
	for _, state := range []string{"dead", "removing"} {
		e := newEngine(t)
		e.respond("/containers/json", `[{"Id":"`+id1+`","Created":1700000000,"State":"`+state+`"}]`)
		e.respond("/containers/"+id1+"/json", inspection(id1, `{"Status":"`+state+`","StartedAt":"0001-01-01T00:00:00Z"}`))
		r := e.runtime()
		s, err := r.Inspect(t.Context(), &container.Container{ID: id1})
		require.NoError(t, err)
		list, err := r.List(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, s.State, list[0].State, "a state other than the inspected one causes an inspection")
	}
}

func TestRestartIsCountedWhenAgesDoNotOverlap(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	note := func(k *remembered, age, after time.Duration) {
		at := now.Add(after)
		k.noteListed("running", statusText{aged: true, min: age, max: age + time.Second}, at, at)
	}
	k := &remembered{}
	note(k, 10*time.Second, 0)
	note(k, 11*time.Second, 2*time.Second+50*time.Millisecond)
	assert.Zero(t, k.restarts, "the clock is read at an unknown time during the call")
	note(k, 10*time.Second, 4*time.Second)
	assert.EqualValues(t, 1, k.restarts, "it began later than before")
	note(k, time.Minute, 4*time.Second)
	assert.EqualValues(t, 2, k.restarts, "it began earlier than before")
}

func TestMemoryIsBounded(t *testing.T) {
	var m memory
	now := time.Now()
	for i := range maxRemembered + 10 {
		m.update(strconv.Itoa(i), func(*remembered) {})
	}
	assert.Len(t, m.containers, maxRemembered)
	m.sweep(now.Add(forgetAfter - time.Second))
	assert.Len(t, m.containers, maxRemembered, "an exit may be reported after the removal")
	m.sweep(time.Now().Add(forgetAfter + time.Second))
	assert.Empty(t, m.containers)
}

func TestMemoryRemovesUnlistedContainers(t *testing.T) {
	e := newEngine(t)
	e.respond("/containers/json", `[{"Id":"`+id1+`","State":"running"}]`)
	r := e.runtime()
	_, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	old := time.Now().Add(-2 * forgetAfter)
	r.memory.containers[id2] = &remembered{touched: old}
	r.memory.containers[id1].touched = old
	_, err = r.List(t.Context(), nil)
	require.NoError(t, err)
	assert.Contains(t, r.memory.containers, id1)
	assert.NotContains(t, r.memory.containers, id2)
}

func TestFindReturnsErrNotFoundForPrefix(t *testing.T) {
	e := newEngine(t)
	longer := id1[:63] + "2" // Docker finds by the beginning of an id, and Podman by any part
	e.respond("/containers/json", `[{"Id":"`+longer+`","State":"running"},{"Id":"`+id1+`","State":"exited"}]`)
	s, err := e.runtime().Find(t.Context(), id1)
	require.NoError(t, err)
	assert.Equal(t, id1, s.ID)
	assert.Equal(t, container.StateExited, s.State)
	_, err = e.runtime().Find(t.Context(), id2)
	require.ErrorIs(t, err, runtime.ErrNotFound)
}
