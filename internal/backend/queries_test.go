// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend"
	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

func TestEventFiltersSelectEvents(t *testing.T) {
	a := serve(t, nil)
	api, job := backendtest.NewLife(0), backendtest.NewLife(1)
	job.Namespace = "batch"
	a.put(api.Started(1), job.Started(2), job.Stopped(5, 2, 0, "Completed"), api.Stopped(9, 1, 137, "OOMKilled"))
	stamp := func(seconds float64) string { return url.QueryEscape(api.At(seconds).Format(time.RFC3339Nano)) }
	for query, want := range map[string][]backendapi.Kind{
		"":                          {"CONTAINER_STOP", "CONTAINER_STOP", "CONTAINER_START", "CONTAINER_START"},
		"kind=CONTAINER_START":      {"CONTAINER_START", "CONTAINER_START"},
		"namespace=batch":           {"CONTAINER_STOP", "CONTAINER_START"},
		"container=" + job.ID:       {"CONTAINER_STOP", "CONTAINER_START"},
		"limit=1":                   {"CONTAINER_STOP"},
		"since=" + stamp(5):         {"CONTAINER_STOP", "CONTAINER_STOP"},
		"until=" + stamp(5):         {"CONTAINER_START", "CONTAINER_START"},
		"container=containerd://no": nil,
		"kind=CONTAINER_START&kind=CONTAINER_STOP&namespace=batch&since=" + stamp(3): {"CONTAINER_STOP"},
		"container=" + url.QueryEscape("containerd://"+api.ID):                       {"CONTAINER_STOP", "CONTAINER_START"},
	} {
		t.Run(query, func(t *testing.T) {
			got := into[backend.EventPage](t, a.get(backendapi.EventsPath+"?"+query))
			var kinds []backendapi.Kind
			for _, e := range got.Events {
				kinds = append(kinds, e.Kind)
				assert.WithinDuration(t, time.Now(), e.ReceivedAt, time.Minute)
				assert.NotEmpty(t, e.BatchID)
			}
			assert.Equal(t, want, kinds)
			assert.Equal(t, query == "limit=1", got.NextCursor != "")
		})
	}
}

func TestListedEventsEqualSentEvents(t *testing.T) {
	a, l := serve(t, nil), backendtest.NewLife(0)
	sent := l.Stopped(9, 1, 4294967295, `<script>alert("x")</script>`)
	sent.Annotations = map[string]string{"deployment": "cluster-a"}
	a.put(sent)
	got := into[backend.EventPage](t, a.get(backendapi.EventsPath))
	require.Len(t, got.Events, 1)
	assert.Equal(t, sent, got.Events[0].Event)
}

func TestInvalidParametersAreNamed(t *testing.T) {
	a := serve(t, nil)
	for path, field := range map[string]string{
		backendapi.EventsPath + "?kind=EXPLODED":              "kind",
		backendapi.EventsPath + "?since=yesterday":            "since",
		backendapi.EventsPath + "?until=0001-01-01T00:00:00Z": "until",
		backendapi.EventsPath + "?limit=0":                    "limit",
		backendapi.EventsPath + "?limit=1001":                 "limit",
		backendapi.EventsPath + "?cursor=nonsense":            "cursor",
		backendapi.EventsPath + "?revisions=some":             "revisions",
		backendapi.EventsPath + "?namespce=payments":          "namespce",
		backendapi.EventsPath + "?namespace=a&namespace=b":    "namespace",
		backendapi.EventsPath + "?a=%zz":                      "query",
		backendapi.EventsPath + "/stream?lastEventId=x":       "lastEventId",
		backendapi.EventsPath + "/stream?lastEventId=-1":      "lastEventId",
		"/api/v1/containers?state=happy":                      "state",
		"/api/v1/containers?current=yes":                      "current",
		"/api/v1/containers?cursor=bm8":                       "cursor",
		"/api/v1/images?limit=many":                           "limit",
		"/api/v1/containers/containerd:%2F%2Fx?verbose=1":     "verbose",
	} {
		t.Run(path, func(t *testing.T) {
			got := a.get(path)
			require.Equal(t, 400, got.StatusCode, "%s", got.body)
			p := got.problem(t)
			require.Len(t, p.Errors, 1)
			assert.Equal(t, field, p.Errors[0].Field)
		})
	}
}

func TestContainerStateFollowsItsLife(t *testing.T) {
	a, l := serve(t, nil), backendtest.NewLife(0)
	one := func() store.Container {
		t.Helper()
		got := into[backend.ContainerPage](t, a.get("/api/v1/containers"))
		require.Len(t, got.Containers, 1)
		return got.Containers[0]
	}
	a.put(l.Event(backendapi.KindCreate, 0))
	assert.Equal(t, "created", one().State)
	a.put(l.Started(1))
	c := one()
	assert.Equal(t, "running", c.State)
	assert.Equal(t, l.At(1), *c.StartedAt)
	assert.Equal(t, []string{"c0", "payments", "c0-pod", "node-1", "containerd", "registry.test/acme/c0:1.8"},
		[]string{c.Name, c.Namespace, c.Pod, c.Node, c.Engine, c.ImageRef})
	a.put(l.InRun(backendapi.KindPause, 2, 1))
	assert.Equal(t, "paused", one().State)
	a.put(l.InRun(backendapi.KindUnpause, 3, 1))
	assert.Equal(t, "running", one().State)
	a.put(l.InRun(backendapi.KindHealth, 4, 1))
	c = one()
	assert.Equal(t, "running", c.State)
	assert.Equal(t, l.At(4), c.LastEventAt)
	a.put(l.Stopped(5, 1, 137, "OOMKilled"))
	c = one()
	assert.Equal(t, "exited", c.State)
	assert.Equal(t, uint32(137), *c.ExitCode)
	assert.True(t, c.OOMKilled)
	assert.True(t, c.Current)
	a.put(l.Event(backendapi.KindRemove, 6))
	c = one()
	assert.Equal(t, "removed", c.State)
	assert.False(t, c.Current)
	assert.Equal(t, "OOMKilled", c.LastExit.Reason)
}

func TestCurrentContainerIsLatestAttempt(t *testing.T) {
	a := serve(t, nil)
	first, second := backendtest.NewLife(0), backendtest.NewLife(1)
	second.Name = first.Name
	loop := second.InRun(backendapi.KindCrashLoop, 21, 20)
	loop.CrashLoop = &backendapi.CrashLoop{Count: 3, WindowSeconds: 600, ExitCode: new(uint32(3)), Reason: "Error"}
	a.put(first.Started(1), first.Stopped(10, 1, 3, "Error"), second.InRun(backendapi.KindRestart, 20, 20), loop)

	got := into[backend.ContainerPage](t, a.get("/api/v1/containers?current=true"))
	require.Len(t, got.Containers, 1, "the first attempt was replaced")
	c := got.Containers[0]
	assert.Equal(t, "containerd://"+second.ID, c.ContainerID)
	assert.Equal(t, uint32(3), *c.LastExit.ExitCode, "of the attempt before")
	require.NotNil(t, c.CrashLoop)
	assert.Equal(t, uint32(3), c.CrashLoop.Count)

	d := into[store.Detail](t, a.get("/api/v1/containers/"+url.PathEscape(c.ContainerID)))
	require.Len(t, d.Runs, 2, "the timeline spans the attempts")
	assert.False(t, d.Runs[0].Ended)
	assert.Equal(t, "containerd://"+first.ID, d.Runs[1].ContainerID)

	ended := second.InRun(backendapi.KindCrashLoopEnd, 700, 20)
	a.put(ended)
	got = into[backend.ContainerPage](t, a.get("/api/v1/containers?current=true"))
	assert.Nil(t, got.Containers[0].CrashLoop)
}

func TestContainerIsFoundByEachFormOfItsID(t *testing.T) {
	a, l := serve(t, nil), backendtest.NewLife(0)
	start := l.Started(1)
	start.Process = &backendapi.Process{PID: 7, Executable: "/bin/app"}
	start.LoadedLibs = []backendapi.LoadedLib{{Path: "/lib/libssl.so.3", Size: 689288}}
	start.Workload.Labels = map[string]string{"app": "api"}
	a.put(start, l.InRun(backendapi.KindHealth, 2, 1))
	for _, id := range []string{l.ID, "containerd:%2F%2F" + l.ID, "containerd://" + l.ID} {
		d := into[store.Detail](t, a.get("/api/v1/containers/"+id))
		assert.Equal(t, "containerd://"+l.ID, d.ContainerID)
		assert.Equal(t, start.LoadedLibs, d.LoadedLibs, "what it loads")
		assert.Equal(t, start.Process, d.Process)
		assert.Equal(t, start.Workload.Labels, d.Labels)
	}
	got := a.get("/api/v1/containers/unknown")
	assert.Equal(t, 404, got.StatusCode)
	got.problem(t)
}

func TestContainerFiltersAndPagesSelectContainers(t *testing.T) {
	a := serve(t, nil)
	for i := range 7 {
		l := backendtest.NewLife(i)
		l.Name = fmt.Sprintf("svc_%d", i)
		a.put(l.Started(1))
	}
	for query, want := range map[string]int{
		"q=SVC_3": 1, "q=svc%25": 0, "q=svcX3": 0, "q=registry.test": 7, "state=exited": 0, "state=running": 7, "namespace=no": 0,
	} {
		assert.Len(t, into[backend.ContainerPage](t, a.get("/api/v1/containers?"+query)).Containers, want, query)
	}
	seen := map[string]int{}
	for cursor := ""; ; {
		page := into[backend.ContainerPage](t, a.get("/api/v1/containers?limit=3&cursor="+cursor))
		for _, c := range page.Containers {
			seen[c.ContainerID]++
		}
		health := backendtest.NewLife(0).InRun(backendapi.KindHealth, 10, 1)
		health.EventID = uuid.NewString()
		a.put(health) // arrives between the pages
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	assert.Len(t, seen, 7)
}

func TestImagesAreCounted(t *testing.T) {
	a := serve(t, nil)
	for i := range 4 {
		l := backendtest.NewLife(i)
		start := l.Started(1)
		start.Workload.ImageRef = fmt.Sprintf("registry.test/img:%d", i/2)
		a.put(start)
	}
	stop := backendtest.NewLife(0).Stopped(2, 1, 0, "Completed")
	stop.Workload.ImageRef = "registry.test/img:0"
	a.put(stop)
	first := into[backend.ImagePage](t, a.get("/api/v1/images?limit=1"))
	require.Len(t, first.Images, 1)
	assert.Equal(t, "registry.test/img:0", first.Images[0].ImageRef)
	assert.Equal(t, 2, first.Images[0].Containers)
	assert.Equal(t, 1, first.Images[0].Running)
	second := into[backend.ImagePage](t, a.get("/api/v1/images?limit=1&cursor="+first.NextCursor))
	require.Len(t, second.Images, 1)
	assert.Equal(t, "registry.test/img:1", second.Images[0].ImageRef)
	assert.Empty(t, second.NextCursor)
}
