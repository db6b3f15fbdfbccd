// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package docker_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/docker"
	"github.com/zastava-otel/zastava/internal/test/engine"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// canary stands for a secret: it is planted in an environment, a label, arguments, an exec and a health check.
const canary = "hunter2-canary"

// seen is a sink that keeps what it accepts, as transitions and as the records that would leave the node.
type seen struct {
	mu      sync.Mutex
	trs     []container.Transition
	gaps    []container.Gap
	records bytes.Buffer
	logs    bytes.Buffer
}

func (s *seen) Deliver(_ context.Context, items []observer.Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := (&record.Encoder{HostName: "h"}).NewBatch()
	for i := range items {
		for j := range items[i].Transitions {
			batch.Append(&items[i].Transitions[j])
		}
		s.trs = append(s.trs, items[i].Transitions...)
		if g := items[i].Gap; g != nil {
			s.gaps = append(s.gaps, *g)
			batch.AppendGap(g, g.To)
		}
	}
	raw, err := (&plog.JSONMarshaler{}).MarshalLogs(batch.Logs())
	if err == nil {
		s.records.Write(raw)
	}
	return err
}

func (s *seen) of(id string) []container.Transition {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []container.Transition
	for i := range s.trs {
		if s.trs[i].Container.ID == id {
			out = append(out, s.trs[i])
		}
	}
	return out
}

// kinds gives what was told of a container, without better accounts of what was told already.
func (s *seen) kinds(id string) []string {
	out := []string{}
	for _, tr := range s.of(id) {
		if tr.Revision == 0 {
			out = append(out, tr.Kind.String())
		}
	}
	return out
}

// stops gives the ends that were told of a container, each as it was told last.
func (s *seen) stops(id string) []container.Transition {
	var out []container.Transition
	for _, tr := range s.of(id) {
		switch {
		case tr.Kind != container.KindStopped:
		case tr.Revision > 0:
			out[len(out)-1] = tr
		default:
			out = append(out, tr)
		}
	}
	return out
}

// The observer's telemetry and log.
func (s *seen) Listed(time.Duration, error)     {}
func (s *seen) InspectFailed()                  {}
func (s *seen) Transitions(container.Kind, int) {}
func (s *seen) Reconnected()                    {}
func (s *seen) MailboxOverflowed()              {}
func (s *seen) Coalesced(int)                   {}
func (s *seen) Gap(string)                      {}
func (s *seen) CheckpointFailed()               {}
func (s *seen) Info(m string, f ...any)         { s.say(m, f) }
func (s *seen) Warn(m string, f ...any)         { s.say(m, f) }
func (s *seen) say(m string, f []any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(&s.logs, m, f)
}

// polled hides the stream.
type polled struct {
	runtime.Runtime
	runtime.Finder
	runtime.PIDReader
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

// kind is an engine that everything must hold on, and what it does not do.
type kind struct {
	name   string
	start  func(t *testing.T, o engine.Options) host
	podman bool
	// refusesEvents: it is asked for its events, and says no.
	refusesEvents bool
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

// long tells that time is no matter: every engine, both ways of looking, 300 lives. `make e2e` sets it.
func long() bool { return os.Getenv("ZASTAVA_E2E") == "long" }

// sideBySide has a test go on beside others, for most of its time is spent waiting for an engine. The long form is too much for a
// small machine to do at once.
func sideBySide(t *testing.T) {
	t.Helper()
	if !long() {
		t.Parallel()
	}
}

// eachSetup runs a test for every engine, with and without its events. The short form leaves out the lists of all but the
// installed one.
func eachSetup(t *testing.T, test func(t *testing.T, k kind, stream bool)) {
	t.Helper()
	for i, k := range kinds() {
		for _, stream := range []bool{true, false} {
			if stream || i == 0 || long() {
				t.Run(k.name+map[bool]string{true: " with events", false: " by lists alone"}[stream], func(t *testing.T) {
					sideBySide(t)
					test(t, k, stream)
				})
			}
		}
	}
}

type lab struct {
	*seen
	t      *testing.T
	kind   kind
	stream bool
	docker host
	obs    *observer.Observer

	witness *witness
}

// watch observes a private engine until the test ends.
func watch(t *testing.T, k kind, o engine.Options, stream bool) *lab {
	t.Helper()
	l := &lab{seen: &seen{}, t: t, kind: k, stream: stream, docker: k.start(t, o)}
	l.witness = testify(t, l.docker)
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
	l.obs = observer.New(opts, open, l.seen, nil, observer.Host{}, l.seen, l.seen, func(error) {})
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
	l.until("the observer is up", func() bool {
		s := l.obs.Stats()
		return !s.LastGoodList.IsZero() && s.Streaming == stream
	})
	return l
}

// ctx bounds one call to the engine: an old dockerd may hang for ever on one container, and the test is then to say on which.
func (l *lab) ctx() context.Context {
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	l.t.Cleanup(cancel)
	return ctx
}

func (l *lab) until(what string, done func() bool) {
	l.t.Helper()
	require.Eventually(l.t, done, time.Minute, 10*time.Millisecond, what)
}

func (l *lab) create(name string, change func(*api.Config, *api.HostConfig), args ...string) string {
	l.t.Helper()
	c := &api.Config{Image: privateruntime.ProbeImage, Cmd: args}
	h := &api.HostConfig{NetworkMode: "none", Resources: api.Resources{CgroupParent: l.docker.CgroupParent()}}
	if change != nil {
		change(c, h)
	}
	made, err := l.docker.Client().ContainerCreate(l.ctx(), client.ContainerCreateOptions{Config: c, HostConfig: h, Name: name})
	require.NoError(l.t, err)
	return made.ID
}

func (l *lab) start(id string) {
	l.t.Helper()
	_, err := l.docker.Client().ContainerStart(l.ctx(), id, client.ContainerStartOptions{})
	require.NoError(l.t, err)
}

func (l *lab) run(name string, change func(*api.Config, *api.HostConfig), args ...string) string {
	l.t.Helper()
	id := l.create(name, change, args...)
	l.start(id)
	return id
}

func (l *lab) truth(id string) api.InspectResponse {
	l.t.Helper()
	answer, err := l.docker.Client().ContainerInspect(l.ctx(), id, client.ContainerInspectOptions{})
	require.NoError(l.t, err)
	return answer.Container
}

// ended waits for a container's end and compares what was told of it with what the engine says.
func (l *lab) ended(id string) container.Transition {
	l.t.Helper()
	if !assert.Eventually(l.t, func() bool { return len(l.stops(id)) > 0 }, time.Minute, 10*time.Millisecond, "its end is told") {
		require.FailNow(l.t, "its end is not told", "told: %v; the engine says: %+v", l.kinds(id), *l.truth(id).State)
	}
	l.until("the engine's verdict is told", func() bool {
		stops := l.stops(id)
		return stops[len(stops)-1].Run.OOMKilled == l.truth(id).State.OOMKilled
	})
	return l.endedBy(id, l.truth(id).State.OOMKilled)
}

// endedBy is ended where what the engine calls OOMKilled need not be what ended the container.
func (l *lab) endedBy(id string, oom bool) container.Transition {
	l.t.Helper()
	l.until("its end is told", func() bool { return len(l.stops(id)) > 0 })
	truth := l.truth(id)
	l.until("the last account is the engine's", func() bool {
		stops := l.stops(id)
		last := stops[len(stops)-1].Run
		return last.OOMKilled == oom && last.StartedAt.Format(time.RFC3339Nano) == truth.State.StartedAt
	})
	stops := l.stops(id)
	last := stops[len(stops)-1]
	assert.EqualValues(l.t, truth.State.ExitCode, last.Run.ExitCode)
	assert.True(l.t, last.Run.ExitKnown)
	started, err := time.Parse(time.RFC3339Nano, truth.State.StartedAt)
	require.NoError(l.t, err)
	finished, err := time.Parse(time.RFC3339Nano, truth.State.FinishedAt)
	require.NoError(l.t, err)
	assert.True(l.t, started.Equal(last.Run.StartedAt), "started at %v, and %v was told", started, last.Run.StartedAt)
	assert.WithinDuration(l.t, finished, last.Run.FinishedAt, 2*time.Second) // an event tells it a little later
	return last
}

// health gives the verdict that was told last.
func (l *lab) health(id string) string {
	if all := l.healths(id); len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// witness reads the engine's events beside the observer, and keeps the actions of each container in order.
type witness struct {
	mu    sync.Mutex
	heard map[string][]string
}

func (w *witness) of(id, action string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, heard := range w.heard[id] {
		if heard == action {
			n++
		}
	}
	return n
}

// before tells whether the engine told one action of a container before another.
func (w *witness) before(id, one, other string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	first, second := slices.Index(w.heard[id], one), slices.Index(w.heard[id], other)
	return first >= 0 && second >= 0 && first < second
}

// testify follows the events until the test ends, or the engine does.
func testify(t *testing.T, h host) *witness {
	t.Helper()
	w := &witness{heard: map[string][]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	stream := h.Client().Events(ctx, client.EventsListOptions{
		Since: strconv.FormatInt(time.Now().Add(-time.Minute).Unix(), 10), Filters: make(client.Filters).Add("type", "container"),
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case m := <-stream.Messages:
				w.mu.Lock()
				w.heard[m.Actor.ID] = append(w.heard[m.Actor.ID], string(m.Action))
				w.mu.Unlock()
			case <-stream.Err:
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return w
}

// accounted waits until every run that the witness heard of is either told or counted as missed.
func (l *lab) accounted(id string) {
	l.t.Helper()
	told := func() int {
		n := 0
		for _, tr := range l.of(id) {
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
	starts := func() int { return l.witness.of(id, "start") }
	assert.Eventually(l.t, func() bool { return told() == starts() }, 10*time.Second, 50*time.Millisecond,
		"%s: not as many runs were told as there were", strings.Join(l.kinds(id), " "))
	assert.Equal(l.t, starts(), told())
	assert.Positive(l.t, told())
}
