// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

// event returns a message in the engine's format. The labels in its attributes contain a secret.
func event(action string, nano int64, attributes string) string {
	if attributes != "" {
		attributes = "," + attributes
	}
	return fmt.Sprintf(`{"status":%q,"id":%q,"from":"example.test/web:1","Type":"container","Action":%q,"Actor":{"ID":%q,"Attributes":{"name":"web",`+
		`"image":"example.test/web:1","token":%q%s}},"scope":"local","time":%d,"timeNano":%d}`, action, id1, action, id1, canary, attributes, nano/1e9, nano)
}

// watched runs a Watch until it has posted n notices, and returns them.
func watched(t *testing.T, r *Runtime, n int) []runtime.Notice {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var mu sync.Mutex
	var got []runtime.Notice
	ready := false
	require.NoError(t, r.Watch(ctx, func() { ready = true }, func(m runtime.Notice) {
		mu.Lock()
		defer mu.Unlock()
		if got = append(got, m); len(got) == n {
			cancel()
		}
	}))
	assert.True(t, ready)
	assertNoCanary(t, got)
	return got
}

func TestNoticeMatchesEachEvent(t *testing.T) {
	at := time.Now().Add(time.Hour).UTC() // after the subscription
	cases := []struct {
		action, attributes string
		want               runtime.Notice
	}{
		{"create", "", runtime.Notice{Kind: runtime.NoticeCreated}},
		{"start", "", runtime.Notice{Kind: runtime.NoticeStarted}},
		{"die", `"exitCode":"137"`, runtime.Notice{Kind: runtime.NoticeExited, ExitCode: 137}},
		{"die", `"exitCode":"3221225786"`, runtime.Notice{Kind: runtime.NoticeExited, ExitCode: 3221225786}},
		{"die", `"exitCode":"-1073741510"`, runtime.Notice{Kind: runtime.NoticeExited, ExitCode: 3221225786}},
		{"die", `"exitCode":"` + canary + `"`, runtime.Notice{Kind: runtime.NoticeChanged}},
		{"die", "", runtime.Notice{Kind: runtime.NoticeChanged}},
		{"die", `"containerExitCode":"3"`, runtime.Notice{Kind: runtime.NoticeChanged}}, // a label: it is Podman's word
		{"oom", "", runtime.Notice{Kind: runtime.NoticeOOM}},
		{"pause", "", runtime.Notice{Kind: runtime.NoticePaused}},
		{"unpause", "", runtime.Notice{Kind: runtime.NoticeResumed}},
		{"destroy", "", runtime.Notice{Kind: runtime.NoticeDeleted}},
		{"remove", "", runtime.Notice{Kind: runtime.NoticeDeleted}},
		{"rename", `"oldName":"/x"`, runtime.Notice{Kind: runtime.NoticeChanged}},
		{"health_status: unhealthy", "", runtime.Notice{Kind: runtime.NoticeHealth, Health: "unhealthy"}},
		{"health_status: " + canary, "", runtime.Notice{Kind: runtime.NoticeChanged}},
	}
	for _, c := range cases {
		t.Run(c.action+" "+c.attributes, func(t *testing.T) {
			e := newEngine(t)
			e.events = []string{event(c.action, at.UnixNano(), c.attributes)}
			c.want.ID, c.want.At = id1, at.Round(0)
			c.want.Described = &container.Container{Name: "web", Image: container.Image{Reference: "example.test/web:1"}}
			assert.Equal(t, []runtime.Notice{c.want}, watched(t, e.runtime(), 1))
		})
	}
}

func TestNoticeIgnoresOtherEvents(t *testing.T) {
	nano := time.Now().Add(time.Hour).UnixNano()
	e := newEngine(t)
	for i, action := range []string{"exec_create: sh -c " + canary, "exec_start: sh -c " + canary, "exec_die", "attach", "top", "stop", "init", "cleanup", canary} {
		e.events = append(e.events, event(action, nano+int64(i), ""))
	}
	e.events = append(e.events,
		`{"Type":"network","Action":"connect","Actor":{"ID":"`+id2+`"},"timeNano":1}`,
		`{"Type":"container","Action":"start","Actor":{"ID":"../../version"},"timeNano":2}`,
		event("pause", nano+200, ""))
	got := watched(t, e.runtime(), 1)
	require.Len(t, got, 1)
	assert.Equal(t, runtime.NoticePaused, got[0].Kind)
}

func TestSubscriptionFiltersAndReachesBack(t *testing.T) {
	e := newEngine(t)
	nano := time.Now().UnixNano()
	e.events = []string{event("start", nano, ""), event("die", nano+5, `"exitCode":"1"`)}
	r := e.runtime()
	first := watched(t, r, 2)
	assert.Len(t, first, 2)
	last := r.replay.last
	assert.False(t, last.Before(time.Unix(0, nano+5)))

	e.mu.Lock() // the engine replays, and has one more
	e.events = append(e.events, event("destroy", nano+10, ""))
	e.mu.Unlock()
	again := watched(t, r, 1)
	require.Len(t, again, 1)
	assert.Equal(t, runtime.NoticeDeleted, again[0].Kind)
	assert.True(t, again[0].Replayed)

	query, err := url.ParseQuery(e.queries[1])
	require.NoError(t, err)
	since := last.Add(-time.Second)
	assert.Equal(t, fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond()), query.Get("since"))
	var filters map[string]map[string]bool
	require.NoError(t, json.Unmarshal([]byte(query.Get("filters")), &filters))
	assert.True(t, filters["type"]["container"])
	assert.True(t, filters["event"]["die"])
	assert.False(t, filters["event"]["exec_start"], "no command lines are requested")
}

func TestWatchFailsWhenStreamEnds(t *testing.T) {
	e := newEngine(t)
	close(e.hangUp)
	err := e.runtime().Watch(t.Context(), func() {}, func(runtime.Notice) {})
	require.ErrorContains(t, err, "the engine ended the stream")

	broken := newEngine(t)
	broken.events = []string{`{"Type":`}
	close(broken.hangUp)
	require.Error(t, broken.runtime().Watch(t.Context(), func() {}, func(runtime.Notice) {}))

	gone, err := New(Options{Endpoint: nowhere})
	require.NoError(t, err)
	require.ErrorContains(t, gone.Watch(t.Context(), func() { t.Error("not ready") }, func(runtime.Notice) {}), "does not exist")
}

// TestSubscriptionHasNoActionFilterForPodman: Podman uses other words for some actions, and does not match health_status as a prefix.
func TestSubscriptionHasNoActionFilterForPodman(t *testing.T) {
	e := newPodman(t)
	nano := time.Now().Add(time.Hour).UnixNano()
	e.events = []string{event("restart", nano, "")}
	r := e.informed()
	assert.Equal(t, runtime.NoticeChanged, watched(t, r, 1)[0].Kind)
	query, err := url.ParseQuery(e.queries[0])
	require.NoError(t, err)
	assert.JSONEq(t, `{"type":{"container":true}}`, query.Get("filters"))
}

func TestWatchOmitsKubernetesContainersWhenObservedThroughCRI(t *testing.T) {
	const labels = `"io.kubernetes.pod.uid":"u1","io.kubernetes.container.name":"api"`
	nano := time.Now().Add(time.Hour).UnixNano()
	e := newEngine(t)
	e.events = []string{
		event("die", nano, labels+`,"exitCode":"1"`), event("start", nano+1, `"io.kubernetes.docker.type":"podsandbox"`),
		strings.ReplaceAll(event("pause", nano+2, ""), id1, id2),
	}
	r := e.runtime(func(o *Options) { o.ObservedThroughCRI = func() bool { return true } })
	assert.Equal(t, id2, watched(t, r, 1)[0].ID)
	r = e.runtime(func(o *Options) { o.ObservedThroughCRI = func() bool { return false } })
	got := watched(t, r, 3)
	assert.Equal(t, []string{id1, id1, id2}, []string{got[0].ID, got[1].ID, got[2].ID}, "without CRI the labels have no meaning")

	observed := false // a list shows it before CRI is found
	e.respond("/containers/json", `[{"Id":"`+id1+`","State":"running","Labels":{`+labels+`}}]`)
	r = e.runtime(func(o *Options) { o.ObservedThroughCRI = func() bool { return observed } })
	_, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	observed = true
	assert.Equal(t, id1, watched(t, r, 1)[0].ID, "its start was reported here, so its exit is, too")
}

func TestWatchReturnsErrNoStreamWhenRefused(t *testing.T) {
	e := newEngine(t)
	e.refuse["/events"] = http.StatusForbidden
	err := e.runtime().Watch(t.Context(), func() { t.Error("not ready") }, func(runtime.Notice) {})
	require.ErrorIs(t, err, runtime.ErrNoStream)
}

func TestEventTimesAreValidated(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, c := range []struct {
		message events.Message
		want    time.Time
	}{
		{events.Message{Time: at.Unix(), TimeNano: at.UnixNano()}, at},
		{events.Message{Time: at.Unix()}, at.Truncate(time.Second)},
		{events.Message{}, time.Time{}},
		{events.Message{TimeNano: 1}, time.Time{}},
	} {
		assert.Equal(t, c.want, timeOf(&c.message))
	}
}

// TestLabelsDoNotReplaceEngineAttributes: Docker overwrites the exit code and the signal of an event with the container's labels.
func TestLabelsDoNotReplaceEngineAttributes(t *testing.T) {
	nano := time.Now().Add(time.Hour).UnixNano()
	const labels = `"exitCode":"0","signal":"15"`
	kill, die := event("kill", nano+2, labels), event("die", nano+3, labels)
	check := func(name string, e *engine, r *Runtime, notices int) {
		t.Helper()
		_, err := r.Info(t.Context())
		require.NoError(t, err)
		e.events = append(e.events, kill, die)
		got := watched(t, r, notices)
		last := got[len(got)-1]
		assert.Equal(t, runtime.NoticeChanged, last.Kind, name+": only an inspection shows the exit")
		assert.Zero(t, last.ExitCode, name)
		assert.Empty(t, last.StopSignal, name)
		assert.Zero(t, r.memory.containers[id1].signal, name)
	}

	e := newEngine(t)
	e.events = []string{event("create", nano, labels), event("start", nano+1, labels)}
	check("an event with neither attribute", e, e.runtime(), 3)

	e = newEngine(t)
	e.respond("/containers/json", `[{"Id":"`+id1+`","Names":["/web"],"State":"running","Status":"Up 1 second","Labels":{`+labels+`}}]`)
	r := e.runtime()
	_, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	check("a list", e, r, 1)

	e = newEngine(t)
	e.respond("/containers/"+id1+"/json", `{"Id":"`+id1+`","Config":{"Labels":{`+labels+`}}}`)
	r = e.runtime()
	_, err = r.Inspect(t.Context(), &container.Container{ID: id1})
	require.NoError(t, err)
	check("an inspect", e, r, 1)

	e = newEngine(t) // only one of the two labels is set, and the event of the other kind shows it
	e.events = []string{event("kill", nano, `"exitCode":"0","signal":"15"`), event("die", nano+1, `"exitCode":"0"`)}
	assert.Equal(t, runtime.NoticeChanged, watched(t, e.runtime(), 1)[0].Kind)
	e = newEngine(t)
	e.events = []string{event("die", nano, `"exitCode":"1","signal":"15"`), event("kill", nano+1, `"signal":"15"`), event("die", nano+2, `"exitCode":"143","signal":"15"`)}
	got := watched(t, e.runtime(), 2)
	assert.Equal(t, runtime.NoticeExited, got[1].Kind)
	assert.EqualValues(t, 143, got[1].ExitCode)
	assert.Empty(t, got[1].StopSignal)
}

func TestPodmanExitCodeIsNotReadFromLabel(t *testing.T) {
	e := newPodman(t)
	nano := time.Now().Add(time.Hour).UnixNano()
	e.events = []string{event("start", nano, `"exitCode":"0"`), event("died", nano+1, `"exitCode":"0","containerExitCode":"5"`)}
	r := e.informed()
	got := watched(t, r, 2)
	assert.Equal(t, runtime.NoticeExited, got[1].Kind)
	assert.EqualValues(t, 5, got[1].ExitCode)
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(event("die", 1700000000e9, `"exitCode":"1"`)))
	f.Add([]byte(event("exec_start: "+canary, 1700000000e9, "")))
	f.Add([]byte(`{"Action":"health_status: ` + canary + `","Actor":{"ID":"x"},"timeNano":-1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		oracle.Bound(t, oracle.Parsing(len(raw)))
		var m events.Message
		if json.Unmarshal(raw, &m) != nil {
			return
		}
		var r Runtime
		r.process(&m, time.Now(), func(n runtime.Notice) {
			if !validID(n.ID) || (n.Described != nil && (len(n.Described.Name) > 3*runtime.MaxText || len(n.Described.Image.Reference) > 3*runtime.MaxText || n.Described.Labels != nil)) || (n.Health != "" && knownHealth(n.Health) == "") {
				t.Fatalf("%+v", n)
			}
			if !n.At.IsZero() && (n.At.Before(earliest) || n.At.After(latest)) {
				t.Fatalf("an implausible time: %v", n.At)
			}
		})
	})
}
