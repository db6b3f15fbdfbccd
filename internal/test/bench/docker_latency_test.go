// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/internal/test/engine"
	"github.com/zastava-otel/zastava/internal/test/process"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver"
)

// dockerLife is a life by the engine's own word: its inspect, and the times of its events.
type dockerLife struct {
	id                string
	started, finished time.Time
}

// BenchmarkDockerLatency measures, on a real dockerd under light churn, the time until the receiver calls ConsumeLogs, beside a
// bare reader of /events over the same containers in the same run. since-state counts from the engine's own time of the start or
// end, which is what a record carries; since-event from the time that the event itself carries, which is later. added is the
// receiver less the bare reader, container by container.
//
// A second run has no receiver, and the bare reader inspects each container whose start it hears of, as whoever wants the start's
// own time must: start/inspect is what that adds to the event.
//
// It runs on the installed dockerd, and on the one below build/runtimes where that was built.
func BenchmarkDockerLatency(b *testing.B) {
	for _, release := range []realruntime.Release{realruntime.System(), realruntime.Docker29()} {
		release, err := release.In(process.Root(b))
		if err != nil {
			b.Log(err)
			continue
		}
		b.Run("dockerd="+release.Name, func(b *testing.B) {
			dir, err := os.MkdirTemp("", "zsd-") //nolint:usetesting // the benchmark's own directory has too long a name for a socket
			require.NoError(b, err)
			d, err := engine.Start(b.Context(), engine.Options{Dir: dir, Release: release})
			if errors.Is(err, privateruntime.ErrUnavailable) {
				b.Skip(err)
			}
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, d.Wipe(context.Background())) })
			dockerLatency(b, d)
			dockerInspect(b, d)
		})
	}
}

func dockerLatency(b *testing.B, d *engine.Docker) {
	b.Helper()
	bare, told, event := newReader(), newReader(), newReader()
	all := dockerChurn(b, d, "life", []*reader{bare, told}, told, func(_ context.Context, m *events.Message, now time.Time) {
		bare.note(m.Actor.ID, m.Action == events.ActionDie, now)
		event.note(m.Actor.ID, m.Action == events.ActionDie, time.Unix(0, m.TimeNano))
	})
	for _, end := range []bool{false, true} {
		name := map[bool]string{false: "start", true: "stop"}[end]
		state := func(l *dockerLife) time.Time {
			if end {
				return l.finished
			}
			return l.started
		}
		sinceEvent := func(l *dockerLife) time.Time { return event.at(l.id, end) }
		compare(b, name+"/since-state", told.since(all, end, state), bare.since(all, end, state))
		compare(b, name+"/since-event", told.since(all, end, sinceEvent), bare.since(all, end, sinceEvent))
		dockerAlone(b, name+"/added", told.since(all, end, func(l *dockerLife) time.Time { return bare.at(l.id, end) }))
	}
}

func dockerInspect(b *testing.B, d *engine.Docker) {
	b.Helper()
	bare, asked := newReader(), newReader()
	all := dockerChurn(b, d, "inspected", []*reader{asked}, nil, func(ctx context.Context, m *events.Message, now time.Time) {
		if m.Action != events.ActionStart {
			asked.note(m.Actor.ID, true, now)
			return
		}
		bare.note(m.Actor.ID, false, now)
		if _, err := d.Client().ContainerInspect(ctx, m.Actor.ID, client.ContainerInspectOptions{}); err == nil {
			asked.note(m.Actor.ID, false, time.Now())
		}
	})
	dockerAlone(b, "start/inspect", asked.since(all, false, func(l *dockerLife) time.Time { return bare.at(l.id, false) }))
}

// dockerChurn has containers live and end while a bare reader of the events learns of it, and the receiver if told is not nil,
// until all of readers know. hear is called for each start and end that the bare reader is told.
func dockerChurn(b *testing.B, d *engine.Docker, name string, readers []*reader, told *reader, hear func(context.Context, *events.Message, time.Time)) []dockerLife {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var work sync.WaitGroup
	defer func() {
		cancel()
		work.Wait()
	}()
	readEvents(ctx, d.Client(), &work, hear)
	if told != nil {
		defer receiveDocker(b, d.Endpoint(), told)()
	}
	time.Sleep(time.Second) // until both subscriptions stand

	const warm = 5 // lives before those that count
	var all []dockerLife
	for i := range warm + lives {
		made, err := d.Client().ContainerCreate(b.Context(), client.ContainerCreateOptions{
			Name:       fmt.Sprintf("%s-%d", name, i),
			Config:     &api.Config{Image: privateruntime.ProbeImage, Cmd: []string{"sleepms", strconv.Itoa(lifetime)}},
			HostConfig: &api.HostConfig{NetworkMode: "none"},
		})
		require.NoError(b, err)
		_, err = d.Client().ContainerStart(b.Context(), made.ID, client.ContainerStartOptions{})
		require.NoError(b, err)
		if i >= warm {
			all = append(all, dockerLife{id: made.ID})
		}
		time.Sleep(between)
	}
	for _, r := range readers {
		require.Eventually(b, func() bool {
			return !slices.ContainsFunc(all, func(l dockerLife) bool { return r.at(l.id, false).IsZero() || r.at(l.id, true).IsZero() })
		}, 30*time.Second, 50*time.Millisecond)
	}
	for i := range all {
		answer, err := d.Client().ContainerInspect(b.Context(), all[i].id, client.ContainerInspectOptions{})
		require.NoError(b, err)
		state := answer.Container.State
		all[i].started, err = time.Parse(time.RFC3339Nano, state.StartedAt)
		require.NoError(b, err)
		all[i].finished, err = time.Parse(time.RFC3339Nano, state.FinishedAt)
		require.NoError(b, err)
	}
	return all
}

// since gives how long after a moment of each life its start or end was learnt, sorted.
func (r *reader) since(all []dockerLife, end bool, moment func(*dockerLife) time.Time) []time.Duration {
	out := make([]time.Duration, len(all))
	for i := range all {
		out[i] = r.at(all[i].id, end).Sub(moment(&all[i]))
	}
	slices.Sort(out)
	return out
}

// dockerAlone reports what has nothing beside it.
func dockerAlone(b *testing.B, name string, sorted []time.Duration) {
	b.Helper()
	b.Run(name, func(b *testing.B) {
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(quantile(sorted, 0.5), "p50-ms")
		b.ReportMetric(quantile(sorted, 0.99), "p99-ms")
	})
}

// compare reports what was measured before as a line of its own.
func compare(b *testing.B, name string, ours, bare []time.Duration) {
	b.Helper()
	b.Run(name, func(b *testing.B) {
		b.ReportMetric(0, "ns/op")
		for _, q := range []float64{0.5, 0.99} {
			b.ReportMetric(quantile(ours, q), fmt.Sprintf("p%.0f-ms", 100*q))
			b.ReportMetric(quantile(bare, q), fmt.Sprintf("bare-p%.0f-ms", 100*q))
		}
		b.ReportMetric(quantile(ours, 0.5)/quantile(bare, 0.5), "p50-ratio")
	})
}

// quantile is of sorted durations, in milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	return float64(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Microseconds()) / 1000
}

// readEvents calls hear with each start and end, and when it learnt of it.
func readEvents(ctx context.Context, c *client.Client, work *sync.WaitGroup, hear func(context.Context, *events.Message, time.Time)) {
	stream := c.Events(ctx, client.EventsListOptions{Filters: make(client.Filters).Add("type", "container").Add("event", "start", "die")})
	work.Go(func() {
		for {
			select {
			case m := <-stream.Messages:
				hear(ctx, &m, time.Now())
			case <-stream.Err:
				return
			}
		}
	})
}

// receiveDocker starts the receiver with a consumer that takes note of the time, and gives what ends it.
func receiveDocker(b *testing.B, endpoint string, r *reader) (stop func()) {
	b.Helper()
	factory := criobserverreceiver.NewFactory()
	cfg := factory.CreateDefaultConfig().(*criobserverreceiver.Config)
	cfg.Runtimes = []criobserverreceiver.RuntimeConfig{{Engine: criobserverreceiver.EngineDocker, Endpoint: endpoint}}
	next, err := consumer.NewLogs(func(_ context.Context, logs plog.Logs) error {
		now := time.Now()
		for _, rl := range logs.ResourceLogs().All() {
			id, _ := rl.Resource().Attributes().Get(record.AttrContainerID)
			for _, sl := range rl.ScopeLogs().All() {
				for _, lr := range sl.LogRecords().All() {
					switch lr.EventName() {
					case record.EventName(container.KindStarted):
						r.note(id.Str(), false, now)
					case record.EventName(container.KindStopped):
						r.note(id.Str(), true, now)
					}
				}
			}
		}
		return nil
	})
	require.NoError(b, err)
	rcv, err := factory.CreateLogs(b.Context(), receivertest.NewNopSettings(factory.Type()), cfg, next)
	require.NoError(b, err)
	require.NoError(b, rcv.Start(b.Context(), componenttest.NewNopHost()))
	return func() { require.NoError(b, rcv.Shutdown(context.Background())) }
}
