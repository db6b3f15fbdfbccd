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

	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// event is a message as the engine writes it, with a secret among the labels that are mixed into its attributes.
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

func TestStopSignalIsReportedWithExit(t *testing.T) {
	nano := time.Now().Add(time.Hour).UnixNano()
	cases := []struct {
		name, signal, code, want string
	}{
		{"stopped in time", "15", "0", "SIGTERM"},
		{"killed", "9", "137", "SIGKILL"},
		{"a reload that it survived", "1", "3", ""},
		{"a reload that it did not", "1", "129", "SIGHUP"},
		{"no number", canary, "137", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := newEngine(t)
			e.events = []string{
				event("start", nano, ""), event("kill", nano+1, `"signal":"`+c.signal+`"`), event("die", nano+2, `"exitCode":"`+c.code+`"`),
				event("start", nano+3, ""), event("die", nano+4, `"exitCode":"1"`),
			}
			r := e.runtime()
			_, err := r.Info(t.Context()) // for the platform, which the signal numbers depend on
			require.NoError(t, err)
			got := watched(t, r, 4)
			require.Len(t, got, 4, "a signal alone is not posted")
			assert.Equal(t, c.want, got[1].StopSignal)
			assert.Empty(t, got[3].StopSignal, "it was of the run before")
		})
	}
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
	assert.False(t, filters["event"]["exec_start"], "command lines are not even sent")
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

func TestReplayIsBounded(t *testing.T) {
	var r replay
	for i := range 5 * maxSeen {
		assert.True(t, r.isNew(int64(i+1), id1, "start"))
		assert.False(t, r.isNew(int64(i+1), id1, "start"))
	}
	assert.Len(t, r.seen, maxSeen)
	assert.Len(t, r.order, maxSeen)
	assert.True(t, r.isNew(1, id1, "start"), "it was evicted")
	assert.GreaterOrEqual(t, maxSeen, 2*256, "a replay must not evict the keys that it repeats")
}

func TestSubscriptionBeginsBeforeLatestEvent(t *testing.T) {
	var r replay
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r.since(at.Add(-time.Hour))
	r.isNew(at.UnixNano(), id1, "start")
	r.isNew(at.Add(-time.Minute).UnixNano(), id2, "start") // reported late
	since, _ := r.since(at.Add(time.Hour))
	assert.Equal(t, at.Add(-time.Second), since)
	assert.True(t, r.isNew(0, id1, "start"))
	assert.True(t, r.isNew(0, id1, "start"), "it may be another event")
}

// TestSubscriptionHasNoActionFilterForPodman: it has other words for some, and does not take a prefix for health_status.
func TestSubscriptionHasNoActionFilterForPodman(t *testing.T) {
	e := newEngine(t)
	e.respond("/version", `{"Version":"5.0.0","ApiVersion":"1.41","Os":"linux","Arch":"amd64","Components":[{"Name":"Podman Engine"}]}`)
	nano := time.Now().Add(time.Hour).UnixNano()
	e.events = []string{event("restart", nano, "")}
	r := e.runtime()
	_, err := r.Info(t.Context())
	require.NoError(t, err)
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
	assert.Equal(t, []string{id1, id1, id2}, []string{got[0].ID, got[1].ID, got[2].ID}, "where CRI is not observed, no label hides anything")

	spoken := false // it was shown before CRI was found
	e.respond("/containers/json", `[{"Id":"`+id1+`","State":"running","Labels":{`+labels+`}}]`)
	r = e.runtime(func(o *Options) { o.ObservedThroughCRI = func() bool { return spoken } })
	_, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	spoken = true
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

func TestInspectReportsOOMKillOfChildFromEvent(t *testing.T) {
	e := newEngine(t)
	started := time.Date(2023, 11, 14, 22, 13, 21, 0, time.UTC)
	e.events = []string{event("oom", started.Add(time.Minute).UnixNano(), "")}
	e.respond("/containers/"+id1+"/json", inspection(id1, `{"Status":"running","Pid":42,"StartedAt":"2023-11-14T22:13:21Z"}`))
	r := e.runtime()
	got, err := r.Inspect(t.Context(), &container.Container{ID: id1})
	require.NoError(t, err)
	assert.False(t, got.OOM)
	watched(t, r, 1)
	got, err = r.Inspect(t.Context(), &container.Container{ID: id1})
	require.NoError(t, err)
	assert.True(t, got.OOM, "20.10 reports it only by an event")
}

func TestNoticeDescribesContainer(t *testing.T) {
	e := newEngine(t)
	e.events = []string{event("create", time.Now().UnixNano(),
		`"app":"shop","tier.signal":"x","signal":"`+canary+`","com.docker.compose.project":"p","com.docker.compose.service":"s","com.docker.compose.container-number":"2",`+
			`"com.docker.swarm.task.id":"t"`)}
	got := watched(t, e.runtime(), 1)
	require.Len(t, got, 1)
	assert.Equal(t, &container.Container{
		Name: "web", Image: container.Image{Reference: "example.test/web:1"}, Labels: map[string]string{"app": "shop", "tier.signal": "x"},
		Compose: container.Compose{Project: "p", Service: "s", Number: "2"}, Swarm: container.Swarm{TaskID: "t"},
	}, got[0].Described)

	e = newEngine(t)
	e.events = []string{event("die", time.Now().UnixNano(), `"exitCode":"1","tier.x":"x"`)}
	o := Options{Name: "all", Endpoint: e.endpoint, Timeout: 5 * time.Second, Labels: []string{"app", "exitCode", "name", "image", "signal"}}
	r, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	assert.Nil(t, watched(t, r, 1)[0].Described.Labels, "the engine's own attributes are not labels")
}

// TestLabelsDoNotReplaceEngineAttributes: Docker copies a container's labels over the exit code and the signal of its events.
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
	check("an event that has none of its own", e, e.runtime(), 3)

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

	e = newEngine(t) // one label of the two, and the event of the other kind shows it
	e.events = []string{event("kill", nano, `"exitCode":"0","signal":"15"`), event("die", nano+1, `"exitCode":"0"`)}
	assert.Equal(t, runtime.NoticeChanged, watched(t, e.runtime(), 1)[0].Kind)
	e = newEngine(t)
	e.events = []string{event("die", nano, `"exitCode":"1","signal":"15"`), event("kill", nano+1, `"signal":"15"`), event("die", nano+2, `"exitCode":"143","signal":"15"`)}
	got := watched(t, e.runtime(), 2)
	assert.Equal(t, runtime.NoticeExited, got[1].Kind)
	assert.EqualValues(t, 143, got[1].ExitCode)
	assert.Empty(t, got[1].StopSignal)
}

func TestEventsOfEarlierRunDoNotAffectLaterRun(t *testing.T) {
	at := time.Date(2023, 11, 14, 22, 13, 21, 0, time.UTC)
	e := newEngine(t)
	e.events = []string{event("oom", at.Add(-time.Minute).UnixNano(), ""), event("kill", at.Add(-time.Minute).UnixNano(), `"signal":"15"`), event("pause", at.UnixNano(), "")}
	r := e.runtime()
	_, err := r.Info(t.Context())
	require.NoError(t, err)
	watched(t, r, 2)
	inspect := func(state string) container.Snapshot {
		e.respond("/containers/"+id1+"/json", inspection(id1, state))
		s, err := r.Inspect(t.Context(), &container.Container{ID: id1})
		require.NoError(t, err)
		return s
	}
	assert.False(t, inspect(`{"Status":"running","StartedAt":"2023-11-14T22:13:21Z"}`).OOM)
	assert.Empty(t, inspect(`{"Status":"exited","ExitCode":143,"StartedAt":"2023-11-14T22:13:21Z","FinishedAt":"2023-11-14T22:14:21Z"}`).Run.StopSignal)
	assert.Equal(t, "SIGTERM", inspect(`{"Status":"exited","ExitCode":143,"StartedAt":"2023-11-14T22:00:00Z","FinishedAt":"2023-11-14T22:12:21Z"}`).Run.StopSignal)
	assert.Empty(t, inspect(`{"Status":"exited","ExitCode":143,"StartedAt":"2023-11-14T22:00:00Z","FinishedAt":"2023-11-14T22:10:21Z"}`).Run.StopSignal, "it was sent after the exit")
}

// TestOOMKillIsNotReportedWhenKillWasRequested: a process inside was killed so, and then somebody ended the container.
func TestOOMKillIsNotReportedWhenKillWasRequested(t *testing.T) {
	e := newEngine(t)
	at := time.Date(2023, 11, 14, 22, 14, 0, 0, time.UTC)
	e.events = []string{event("kill", at.UnixNano(), `"signal":"9"`), event("pause", at.UnixNano()+1, "")}
	e.respond("/containers/"+id1+"/json", inspection(id1, `{"Status":"exited","ExitCode":137,"OOMKilled":true,"StartedAt":"2023-11-14T22:13:21Z","FinishedAt":"2023-11-14T22:14:00.1Z"}`))
	r := e.runtime()
	_, err := r.Info(t.Context())
	require.NoError(t, err)
	watched(t, r, 1)
	s, err := r.Inspect(t.Context(), &container.Container{ID: id1})
	require.NoError(t, err)
	assert.False(t, s.Run.OOMKilled)
	assert.Equal(t, "Error", s.Run.Reason)
}

func TestPodmanExitCodeIsNotReadFromLabel(t *testing.T) {
	e := newEngine(t)
	e.respond("/version", `{"Version":"4.3.1","ApiVersion":"1.41","Os":"linux","Arch":"amd64","Components":[{"Name":"Podman Engine"}]}`)
	nano := time.Now().Add(time.Hour).UnixNano()
	e.events = []string{event("start", nano, `"exitCode":"0"`), event("died", nano+1, `"exitCode":"0","containerExitCode":"5"`)}
	r := e.runtime()
	_, err := r.Info(t.Context())
	require.NoError(t, err)
	got := watched(t, r, 2)
	assert.Equal(t, runtime.NoticeExited, got[1].Kind)
	assert.EqualValues(t, 5, got[1].ExitCode)
}

// TestStopSignalIncludesStopSignalOfImage is Apache's httpd, which ends gracefully at SIGWINCH and exits with 0.
func TestStopSignalIncludesStopSignalOfImage(t *testing.T) {
	nano := time.Now().Add(time.Hour).UnixNano()
	for signal, want := range map[string]string{"SIGWINCH": "SIGWINCH", "28": "SIGWINCH", "SIGTERM": "", "": ""} {
		e := newEngine(t)
		e.respond("/containers/"+id1+"/json", `{"Id":"`+id1+`","State":{"Status":"running"},"Config":{"StopSignal":"`+signal+`"}}`)
		e.events = []string{event("kill", nano, `"signal":"28"`), event("die", nano+1, `"exitCode":"0"`)}
		r := e.runtime()
		_, err := r.Info(t.Context())
		require.NoError(t, err)
		_, err = r.Inspect(t.Context(), &container.Container{ID: id1})
		require.NoError(t, err)
		assert.Equal(t, want, watched(t, r, 1)[0].StopSignal, signal)
	}
}

func TestOOMKillIsReportedWithExitOrAfterIt(t *testing.T) {
	at := time.Now().Add(time.Hour)
	play := func(events ...string) []runtime.Notice {
		e := newEngine(t)
		e.events = events
		notices := 0
		for _, raw := range events {
			if !strings.Contains(raw, `"kill"`) {
				notices++
			}
		}
		return watched(t, e.runtime(), notices)
	}
	nano := func(after time.Duration) int64 { return at.Add(after).UnixNano() }
	oom := func(after time.Duration) string { return event("oom", nano(after), "") }
	die := func(after time.Duration, code string) string {
		return event("die", nano(after), `"exitCode":"`+code+`"`)
	}

	got := play(oom(0), die(time.Millisecond, "137"))
	assert.False(t, got[0].OOMKilled, "the kill is not reported yet")
	assert.True(t, got[1].OOMKilled)
	got = play(die(0, "137"), oom(time.Millisecond))
	assert.False(t, got[0].OOMKilled)
	assert.True(t, got[1].OOMKilled)
	assert.False(t, play(oom(0), die(time.Millisecond, "1"))[1].OOMKilled, "that was a process inside")
	assert.False(t, play(oom(0), event("kill", nano(1), `"signal":"9"`), die(time.Millisecond, "137"))[1].OOMKilled, "the kill was requested")
	assert.False(t, play(oom(0), event("start", nano(1), ""), die(time.Millisecond, "137"))[2].OOMKilled, "that was in the run before")
	assert.False(t, play(die(0, "137"), event("start", nano(1), ""), oom(2))[2].OOMKilled, "that is in the next run")
	assert.False(t, play(die(0, "137"), oom(time.Second+1))[1].OOMKilled, "too late to be of that end")
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(event("die", 1700000000e9, `"exitCode":"1"`)))
	f.Add([]byte(event("exec_start: "+canary, 1700000000e9, "")))
	f.Add([]byte(`{"Action":"health_status: ` + canary + `","Actor":{"ID":"x"},"timeNano":-1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
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

func FuzzInspect(f *testing.F) {
	f.Add([]byte(inspection(id1, `{"Status":"exited","ExitCode":-1073741510,"StartedAt":"2023-11-14T22:13:21.5Z","FinishedAt":"2023-11-14T22:14:00Z"}`)))
	f.Add([]byte(inspection(id1, `{"Status":"created","ExitCode":127,"Error":"`+canary+`"}`)))
	f.Add([]byte(`{"State":{"Status":"running","Health":{"Status":"` + canary + `"}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var in api.InspectResponse
		if json.Unmarshal(raw, &in) != nil {
			return
		}
		s := snapshot(&container.Container{ID: id1}, &in, peer{})
		if s.Container == nil || s.State > container.StateExited || knownHealth(s.Health) != s.Health {
			t.Fatalf("%+v", s)
		}
		for _, at := range []time.Time{s.Run.StartedAt, s.Run.FinishedAt, s.Container.CreatedAt} {
			if !at.IsZero() && (at.Before(earliest) || at.After(latest)) {
				t.Fatalf("an implausible time: %v", at)
			}
		}
	})
}
