// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package docker_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/docker"
	"github.com/zastava-otel/zastava/internal/test/engine"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// kind is a kind of engine that the tests run on.
type kind struct {
	name   string
	start  func(t *testing.T, o engine.Options) host
	podman bool
	// refusesEvents means that the engine refuses the request for its events.
	refusesEvents bool
}

// host is a private engine.
type host interface {
	Endpoint() string
	Client() *client.Client
	CgroupParent() string
	Kill() error
	Stop(ctx context.Context) error
	Restart(ctx context.Context) error
}

func kinds() []kind {
	return []kind{
		{name: "installed", start: func(t *testing.T, o engine.Options) host { t.Helper(); return engine.ForTest(t, o) }},
		{name: "29", start: func(t *testing.T, o engine.Options) host {
			t.Helper()
			var err error
			if o.Release, err = realruntime.Docker29().In(filepath.Join("..", "..", "..")); err != nil {
				t.Skip(err)
			}
			if o.Release.BinDirs[0], err = filepath.Abs(o.Release.BinDirs[0]); err == nil {
				o.Release.BinDirs[1], err = filepath.Abs(o.Release.BinDirs[1])
			}
			require.NoError(t, err)
			return engine.ForTest(t, o)
		}},
		{name: "podman", podman: true, start: func(t *testing.T, _ engine.Options) host { t.Helper(); return engine.PodmanForTest(t) }},
	}
}

// long reports whether to run the long form: every engine, with and without events, 300 lives. `make e2e` sets it.
func long() bool { return os.Getenv("ZASTAVA_E2E") == "long" }

// parallel runs a test in parallel with others, because it mostly waits for an engine. The long form would overload a small
// machine.
func parallel(t *testing.T) {
	t.Helper()
	if !long() {
		t.Parallel()
	}
}

// eachSetup runs a test for every engine, with and without its events. In the short form, only the installed engine is tested
// without events.
func eachSetup(t *testing.T, test func(t *testing.T, k kind, stream bool)) {
	t.Helper()
	for i, k := range kinds() {
		for _, stream := range []bool{true, false} {
			if stream || i == 0 || long() {
				t.Run(k.name+map[bool]string{true: " with events", false: " by lists alone"}[stream], func(t *testing.T) {
					parallel(t)
					test(t, k, stream)
				})
			}
		}
	}
}

// eachEngine runs a test for every engine. The short form has only the installed one.
func eachEngine(t *testing.T, test func(t *testing.T, k kind)) {
	t.Helper()
	for _, k := range kinds() {
		if k.name == "installed" || long() {
			t.Run(k.name, func(t *testing.T) { test(t, k) })
		}
	}
}

// polled hides the event stream of a runtime.
type polled struct {
	runtime.Runtime
	runtime.Finder
	runtime.PIDReader
}

// lab is an observed private engine.
type lab struct {
	*recorder
	t      *testing.T
	kind   kind
	stream bool
	docker host
	obs    *observer.Observer

	witness *witness
}

// watch starts a private engine and observes it until the test ends.
func watch(t *testing.T, k kind, o engine.Options, stream bool) *lab {
	t.Helper()
	l := &lab{recorder: &recorder{}, t: t, kind: k, stream: stream, docker: k.start(t, o)}
	l.witness = newWitness(t, l.docker)
	opts := observer.Options{
		Name: "docker", PollInterval: 200 * time.Millisecond, ResyncInterval: 5 * time.Second, Timeout: 10 * time.Second,
		Backoff: retry.Options{Initial: 100 * time.Millisecond, Max: time.Second, Multiplier: 2, Jitter: 0.2},
		Tracker: tracker.Options{CrashLoopThreshold: 3, CrashLoopWindow: time.Minute},
	}
	open := func(ctx context.Context) (runtime.Runtime, runtime.Info, error) {
		rt, err := docker.New(docker.Options{Name: "docker", Endpoint: l.docker.Endpoint(), Labels: []string{"app"}})
		if err != nil {
			return nil, runtime.Info{}, err
		}
		info, err := rt.Info(ctx)
		t.Log("observing", info.Engine, info.Version, "API", info.APIVersion)
		if !stream && !k.refusesEvents {
			return polled{rt, rt, rt}, info, err
		}
		return rt, info, err
	}
	l.obs = observer.New(opts, open, l.recorder, nil, observer.Host{}, l.recorder, l.recorder, func(error) {})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		l.obs.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	l.until("the observer is running", func() bool {
		s := l.obs.Stats()
		return !s.LastGoodList.IsZero() && s.Streaming == stream
	})
	return l
}

// ctx limits one call to the engine, because an old dockerd may hang on one container without limit.
func (l *lab) ctx() context.Context {
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	l.t.Cleanup(cancel)
	return ctx
}

func (l *lab) until(what string, done func() bool) {
	l.t.Helper()
	require.Eventually(l.t, done, time.Minute, 10*time.Millisecond, what)
}

// untilStarted waits until the creation and the start of a container are reported.
func (l *lab) untilStarted(id string) {
	l.t.Helper()
	l.until("started", func() bool { return len(l.kinds(id)) == 2 })
}

// untilStopped waits until a stop of a container is reported.
func (l *lab) untilStopped(id string) {
	l.t.Helper()
	l.until("stopped", func() bool { return len(l.stops(id)) > 0 })
}

// untilLast waits until the latest transition of a container is of this kind.
func (l *lab) untilLast(id, kind string) {
	l.t.Helper()
	l.until(kind, func() bool {
		kinds := l.kinds(id)
		return len(kinds) > 0 && kinds[len(kinds)-1] == kind
	})
}

// ended waits for the stop of a container and compares the report with the engine's own status.
func (l *lab) ended(id string) container.Transition {
	l.t.Helper()
	if !assert.Eventually(l.t, func() bool { return len(l.stops(id)) > 0 }, time.Minute, 10*time.Millisecond, "its stop is reported") {
		require.FailNow(l.t, "its stop is not reported", "reported: %v; the engine's status: %+v", l.kinds(id), *l.inspect(id).State)
	}
	l.until("the engine's OOMKilled is reported", func() bool {
		return l.lastStop(id).Run.OOMKilled == l.inspect(id).State.OOMKilled
	})
	return l.endedBy(id, l.inspect(id).State.OOMKilled)
}

// endedBy is like ended, for a container whose exit need not be due to the engine's OOMKilled. oom is the OOMKilled to expect.
func (l *lab) endedBy(id string, oom bool) container.Transition {
	l.t.Helper()
	l.untilStopped(id)
	status := l.inspect(id)
	l.until("the latest run is reported", func() bool {
		last := l.lastStop(id).Run
		return last.OOMKilled == oom && last.StartedAt.Format(time.RFC3339Nano) == status.State.StartedAt
	})
	last := l.lastStop(id)
	assert.EqualValues(l.t, status.State.ExitCode, last.Run.ExitCode)
	assert.True(l.t, last.Run.ExitKnown)
	started, err := time.Parse(time.RFC3339Nano, status.State.StartedAt)
	require.NoError(l.t, err)
	finished, err := time.Parse(time.RFC3339Nano, status.State.FinishedAt)
	require.NoError(l.t, err)
	assert.True(l.t, started.Equal(last.Run.StartedAt), "started at %v, reported %v", started, last.Run.StartedAt)
	assert.WithinDuration(l.t, finished, last.Run.FinishedAt, 2*time.Second) // an event reports it a little later
	return last
}

// accounted waits until every run that the witness saw is either reported or counted as missed.
func (l *lab) accounted(id string) {
	l.t.Helper()
	runs := func() int {
		n := 0
		for _, tr := range l.transitions(id) {
			switch tr.Kind {
			case container.KindStarted:
				n++
			case container.KindRestarted:
				n += 1 + int(tr.Provenance.MissedRuns)
				assert.False(l.t, tr.Provenance.MissedUnknown)
			default:
			}
		}
		return n
	}
	starts := func() int { return l.witness.count(id, "start") }
	assert.Eventually(l.t, func() bool { return runs() == starts() }, 10*time.Second, 50*time.Millisecond,
		"%s: the number of runs differs", strings.Join(l.kinds(id), " "))
	assert.Equal(l.t, starts(), runs())
	assert.Positive(l.t, runs())
}
