// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package docker_test

import (
	"bytes"
	"context"
	"fmt"
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
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/docker"
	"github.com/zastava-otel/zastava/internal/testdocker"
	"github.com/zastava-otel/zastava/internal/testruntime"
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
func (s *seen) Folded(int)                      {}
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

type lab struct {
	*seen
	t      *testing.T
	docker *testdocker.Docker
	obs    *observer.Observer
}

// watch observes a private dockerd until the test ends.
func watch(t *testing.T, stream bool) *lab {
	t.Helper()
	l := &lab{seen: &seen{}, t: t, docker: testdocker.ForTest(t)}
	opts := observer.Options{
		Name: "docker", PollInterval: 200 * time.Millisecond, ResyncInterval: 5 * time.Second, Timeout: 10 * time.Second,
		Backoff: observer.BackoffOptions{Initial: 100 * time.Millisecond, Max: time.Second, Multiplier: 2, Jitter: 0.2},
		Tracker: tracker.Options{CrashLoopThreshold: 3, CrashLoopWindow: time.Minute},
	}
	open := func(ctx context.Context) (runtime.Runtime, runtime.Info, error) {
		rt, err := docker.New(docker.Options{Name: "docker", Endpoint: l.docker.Endpoint(), Labels: []string{"app"}})
		if err != nil {
			return nil, runtime.Info{}, err
		}
		info, err := rt.Info(ctx)
		if !stream {
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

func (l *lab) until(what string, done func() bool) {
	l.t.Helper()
	require.Eventually(l.t, done, time.Minute, 10*time.Millisecond, what)
}

func (l *lab) create(name string, change func(*api.Config, *api.HostConfig), args ...string) string {
	l.t.Helper()
	c := &api.Config{Image: testruntime.ProbeImage, Cmd: args}
	h := &api.HostConfig{NetworkMode: "none"}
	if change != nil {
		change(c, h)
	}
	made, err := l.docker.Client().ContainerCreate(l.t.Context(), client.ContainerCreateOptions{Config: c, HostConfig: h, Name: name})
	require.NoError(l.t, err)
	return made.ID
}

func (l *lab) start(id string) {
	l.t.Helper()
	_, err := l.docker.Client().ContainerStart(l.t.Context(), id, client.ContainerStartOptions{})
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
	answer, err := l.docker.Client().ContainerInspect(l.t.Context(), id, client.ContainerInspectOptions{})
	require.NoError(l.t, err)
	return answer.Container
}

// ended waits for a container's end and compares what was told of it with what the engine says.
func (l *lab) ended(id string) container.Transition {
	l.t.Helper()
	l.until("its end is told", func() bool { return len(l.stops(id)) > 0 })
	truth := l.truth(id)
	l.until("the last account is the engine's", func() bool {
		stops := l.stops(id)
		last := stops[len(stops)-1].Run
		return last.OOMKilled == truth.State.OOMKilled && last.StartedAt.Format(time.RFC3339Nano) == truth.State.StartedAt
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

func TestRealDocker(t *testing.T) {
	for _, stream := range []bool{true, false} {
		t.Run(map[bool]string{true: "with events", false: "by lists alone"}[stream], func(t *testing.T) {
			l := watch(t, stream)
			sub := func(name string, f func(*lab)) {
				t.Run(name, func(t *testing.T) {
					inner := *l
					inner.t = t
					f(&inner)
				})
			}
			sub("exits", func(l *lab) {
				for name, want := range map[string]struct {
					args []string
					code uint32
				}{
					"completed": {[]string{"exit", "0"}, 0}, "failed": {[]string{"exit", "3"}, 3},
					"segv": {[]string{"segv"}, 139}, "panic": {[]string{"panic"}, 2},
				} {
					id := l.run(name, nil, want.args...)
					assert.Equal(l.t, want.code, l.ended(id).Run.ExitCode, name)
					assert.Equal(l.t, []string{"created", "started", "stopped"}, l.kinds(id), name)
				}
			})
			sub("stopped on request", func(l *lab) {
				for signal, name := range map[string]string{"KILL": "SIGKILL", "TERM": "SIGTERM"} {
					id := l.run("by-"+signal, nil, "pause")
					l.until("started", func() bool { return len(l.kinds(id)) == 2 })
					_, err := l.docker.Client().ContainerKill(l.t.Context(), id, client.ContainerKillOptions{Signal: signal})
					require.NoError(l.t, err)
					last := l.ended(id)
					if stream {
						assert.Equal(l.t, name, last.Run.StopSignal)
					}
				}
			})
			sub("OOM", func(l *lab) {
				id := l.run("oom", func(_ *api.Config, h *api.HostConfig) { h.Memory, h.MemorySwap = 32<<20, 32<<20 }, "oom")
				last := l.ended(id)
				assert.True(l.t, last.Run.OOMKilled)
				assert.Equal(l.t, "OOMKilled", last.Run.Reason)
				assert.EqualValues(l.t, 137, last.Run.ExitCode)
			})
			sub("a start that fails", func(l *lab) {
				id := l.create("nostart", func(c *api.Config, _ *api.HostConfig) { c.Entrypoint = []string{"/nonexistent-" + canary} })
				_, err := l.docker.Client().ContainerStart(l.t.Context(), id, client.ContainerStartOptions{})
				require.Error(l.t, err)
				l.until("its end is told", func() bool { return len(l.stops(id)) > 0 })
				assert.Equal(l.t, []string{"created", "stopped"}, l.kinds(id))
				assert.EqualValues(l.t, 127, l.stops(id)[0].Run.ExitCode)
				assert.Equal(l.t, "StartError", l.stops(id)[0].Run.Reason)
			})
			sub("restart policy", func(l *lab) {
				id := l.run("crashing", func(_ *api.Config, h *api.HostConfig) {
					h.RestartPolicy = api.RestartPolicy{Name: "on-failure", MaximumRetryCount: 4}
				}, "sleepms", "50", "1")
				l.until("the engine gave up", func() bool {
					state := l.truth(id).State
					return string(state.Status) == "exited" && l.truth(id).RestartCount == 4
				})
				l.ended(id)
				l.accounted(id, 5)
				if stream {
					assert.Contains(l.t, l.kinds(id), "crash_loop")
				}
			})
			sub("docker restart", func(l *lab) {
				id := l.run("restarted", nil, "pause")
				l.until("started", func() bool { return len(l.kinds(id)) == 2 })
				time.Sleep(1500 * time.Millisecond) // by lists alone, two starts must be told apart by their age in seconds
				_, err := l.docker.Client().ContainerRestart(l.t.Context(), id, client.ContainerRestartOptions{})
				require.NoError(l.t, err)
				l.until("restarted", func() bool { return len(l.kinds(id)) == 4 })
				assert.Equal(l.t, []string{"created", "started", "stopped", "restarted"}, l.kinds(id))
				last := l.of(id)[len(l.of(id))-1]
				require.NotNil(l.t, last.Previous)
				if stream {
					assert.True(l.t, last.Previous.ExitKnown)
					assert.False(l.t, last.Provenance.MissedUnknown)
				}
			})
			sub("pause, rename, health", func(l *lab) {
				id := l.run("before", func(c *api.Config, _ *api.HostConfig) {
					c.Healthcheck = &api.HealthConfig{Test: []string{"CMD", "/probe", "flip", "/healthy"}, Interval: 100 * time.Millisecond, Timeout: time.Second, Retries: 2}
				}, "pause")
				l.until("unhealthy", func() bool { return l.health(id) == "unhealthy" })
				_, err := l.docker.Client().ContainerRename(l.t.Context(), id, client.ContainerRenameOptions{NewName: "after"})
				require.NoError(l.t, err)
				for _, what := range []string{"paused", "unpaused"} {
					if what == "paused" {
						_, err = l.docker.Client().ContainerPause(l.t.Context(), id, client.ContainerPauseOptions{})
					} else {
						_, err = l.docker.Client().ContainerUnpause(l.t.Context(), id, client.ContainerUnpauseOptions{})
					}
					require.NoError(l.t, err)
					l.until(what, func() bool { kinds := l.kinds(id); return kinds[len(kinds)-1] == what })
				}
				assert.Equal(l.t, []string{"created", "started", "health_changed", "paused", "unpaused"}, l.kinds(id))
				assert.Equal(l.t, "after", l.of(id)[len(l.of(id))-1].Container.Name)
			})
			if stream {
				sub("a container that removes itself", func(l *lab) {
					id := l.run("rm", func(_ *api.Config, h *api.HostConfig) { h.AutoRemove = true }, "exit", "7")
					l.until("removed", func() bool { kinds := l.kinds(id); return len(kinds) > 0 && kinds[len(kinds)-1] == "removed" })
					assert.Equal(l.t, []string{"created", "started", "stopped", "removed"}, l.kinds(id))
					assert.EqualValues(l.t, 7, l.stops(id)[0].Run.ExitCode)
				})
			}
			sub("secrets", func(l *lab) {
				id := l.run("secret", func(c *api.Config, _ *api.HostConfig) {
					c.Env = []string{"PASSWORD=" + canary}
					c.Labels = map[string]string{"app": "web", "token": canary, "signal": canary, "exitCode": canary}
					c.Healthcheck = &api.HealthConfig{Test: []string{"CMD", "/probe", "flip", "/" + canary}, Interval: 100 * time.Millisecond, Timeout: time.Second, Retries: 1}
				}, "log", "100000", "10", "100", canary)
				exec, err := l.docker.Client().ExecCreate(l.t.Context(), id, client.ExecCreateOptions{Cmd: []string{"/probe", "exit", "0", canary}})
				require.NoError(l.t, err)
				_, err = l.docker.Client().ExecStart(l.t.Context(), exec.ID, client.ExecStartOptions{Detach: true})
				require.NoError(l.t, err)
				l.until("unhealthy", func() bool { return l.health(id) == "unhealthy" })
				_, err = l.docker.Client().ContainerRemove(l.t.Context(), id, client.ContainerRemoveOptions{Force: true})
				require.NoError(l.t, err)
				l.until("removed", func() bool { kinds := l.kinds(id); return kinds[len(kinds)-1] == "removed" })
				assert.Equal(l.t, "web", l.of(id)[0].Container.Labels["app"])
			})
			l.mu.Lock()
			defer l.mu.Unlock()
			assert.NotContains(t, l.records.String(), canary)
			assert.NotContains(t, l.logs.String(), canary)
			assert.Contains(t, l.records.String(), "zastava.local/probe", "there is something to find")
		})
	}
}

func (l *lab) health(id string) string {
	health := ""
	for _, tr := range l.of(id) {
		if tr.Kind == container.KindHealthChanged {
			health = tr.Health
		}
	}
	return health
}

// accounted checks that every run is either told or counted as missed.
func (l *lab) accounted(id string, runs int) {
	l.t.Helper()
	told := 0
	for _, tr := range l.of(id) {
		switch tr.Kind {
		case container.KindStarted:
			told++
		case container.KindRestarted:
			told += 1 + int(tr.Provenance.MissedRuns)
			assert.False(l.t, tr.Provenance.MissedUnknown)
		default:
		}
	}
	assert.Equal(l.t, runs, told, "%s", strings.Join(l.kinds(id), " "))
}

func TestRealDockerBurst(t *testing.T) {
	l := watch(t, true)
	const lives, atOnce = 300, 6
	ids := make(chan string, lives)
	var wg sync.WaitGroup
	for w := range atOnce {
		wg.Go(func() {
			for i := w; i < lives; i += atOnce {
				made, err := l.docker.Client().ContainerCreate(t.Context(), client.ContainerCreateOptions{
					Config:     &api.Config{Image: testruntime.ProbeImage, Cmd: []string{"exit", strconv.Itoa(i % 100)}},
					HostConfig: &api.HostConfig{NetworkMode: "host", AutoRemove: true}, Name: fmt.Sprintf("burst-%03d", i),
				})
				if err == nil {
					_, err = l.docker.Client().ContainerStart(t.Context(), made.ID, client.ContainerStartOptions{})
				}
				if err != nil {
					t.Error(err)
					return
				}
				ids <- fmt.Sprint(i%100, " ", made.ID)
			}
		})
	}
	wg.Wait()
	close(ids)
	for line := range ids {
		var code uint32
		var id string
		_, err := fmt.Sscan(line, &code, &id)
		require.NoError(t, err)
		l.until("removed", func() bool { kinds := l.kinds(id); return len(kinds) > 0 && kinds[len(kinds)-1] == "removed" })
		if !assert.Equal(t, []string{"created", "started", "stopped", "removed"}, l.kinds(id)) {
			for _, tr := range l.of(id) {
				t.Log(tr.Kind, tr.Container.Name, tr.Container.CreatedAt, tr.Provenance, tr.Run)
			}
			t.FailNow()
		}
		require.Equal(t, code, l.stops(id)[0].Run.ExitCode)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	assert.Empty(t, l.gaps)
}

func TestRealDockerThatIsKilledAndRestarted(t *testing.T) {
	l := watch(t, true)
	lost := l.run("lost", nil, "pause")
	always := l.run("always", func(_ *api.Config, h *api.HostConfig) { h.RestartPolicy = api.RestartPolicy{Name: "always"} }, "pause")
	l.until("both started", func() bool { return len(l.kinds(lost)) == 2 && len(l.kinds(always)) == 2 })
	require.NoError(t, l.docker.Kill())
	l.until("the observer noticed", func() bool { return !l.obs.Stats().Streaming })
	require.NoError(t, l.docker.Restart(t.Context()))
	l.until("the stream is back", func() bool { return l.obs.Stats().Streaming })
	l.until("restarted", func() bool { kinds := l.kinds(always); return kinds[len(kinds)-1] == "restarted" })
	assert.Equal(t, []string{"created", "started", "stopped", "restarted"}, l.kinds(always))
	l.ended(lost)
	assert.Equal(t, []string{"created", "started", "stopped"}, l.kinds(lost))
	l.until("it says that it could not see", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.gaps) > 0
	})

	after := l.run("after", nil, "exit", "5")
	assert.EqualValues(t, 5, l.ended(after).Run.ExitCode)
}
