// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/engine"
	"github.com/zastava-otel/zastava/internal/test/process"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
	"github.com/zastava-otel/zastava/internal/test/socketdir"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver"
)

// dockerLife is the run of one container, with the times of the engine's inspect.
type dockerLife struct {
	id                string
	started, finished time.Time
}

// BenchmarkDockerLatency measures, on a real dockerd under light churn, the time until the receiver calls ConsumeLogs. In the same run,
// over the same containers, it measures a bare reader of /events for comparison. since-state counts from the engine's own time of the
// start or end, which a record has; since-event counts from the time in the event, which is later. added is the receiver minus the bare
// reader, container by container.
//
// A second run has no receiver. The bare reader inspects each container whose start it reads, as every client must that needs the
// engine's own time of the start: start/inspect is what the inspection adds to the event.
//
// It runs on the installed dockerd, and on the one below build/runtimes if it was built.
func BenchmarkDockerLatency(b *testing.B) {
	for _, release := range []realruntime.Release{realruntime.System(), realruntime.Docker29()} {
		release, err := release.In(process.Root(b))
		if err != nil {
			b.Log(err)
			continue
		}
		b.Run("dockerd="+release.Name, func(b *testing.B) {
			d, err := engine.Start(b.Context(), engine.Options{Dir: socketdir.New(b), Release: release})
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
	bare, received, event := newReader(), newReader(), newReader()
	all := dockerChurn(b, d, "life", []*reader{bare, received}, received, func(_ context.Context, m *events.Message, now time.Time) {
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
		compare(b, name+"/since-state", received.since(all, end, state), bare.since(all, end, state))
		compare(b, name+"/since-event", received.since(all, end, sinceEvent), bare.since(all, end, sinceEvent))
		dockerAlone(b, name+"/added", received.since(all, end, func(l *dockerLife) time.Time { return bare.at(l.id, end) }))
	}
}

func dockerInspect(b *testing.B, d *engine.Docker) {
	b.Helper()
	bare, inspected := newReader(), newReader()
	all := dockerChurn(b, d, "inspected", []*reader{inspected}, nil, func(ctx context.Context, m *events.Message, now time.Time) {
		if m.Action != events.ActionStart {
			inspected.note(m.Actor.ID, true, now)
			return
		}
		bare.note(m.Actor.ID, false, now)
		if _, err := d.Client().ContainerInspect(ctx, m.Actor.ID, client.ContainerInspectOptions{}); err == nil {
			inspected.note(m.Actor.ID, false, time.Now())
		}
	})
	dockerAlone(b, "start/inspect", inspected.since(all, false, func(l *dockerLife) time.Time { return bare.at(l.id, false) }))
}

// dockerChurn runs containers until all readers have noted every start and end. It calls handle for each start and end in the engine's
// events. It runs the receiver, which notes in received, unless received is nil.
func dockerChurn(b *testing.B, d *engine.Docker, name string, readers []*reader, received *reader, handle func(context.Context, *events.Message, time.Time)) []dockerLife {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var work sync.WaitGroup
	defer func() {
		cancel()
		work.Wait()
	}()
	readEvents(ctx, d.Client(), &work, handle)
	if received != nil {
		defer receiveDocker(b, d.Endpoint(), received)()
	}
	time.Sleep(time.Second) // until both subscriptions are established

	const warm = 5 // lives before those that count
	var all []dockerLife
	for i := range warm + lives {
		created, err := d.Client().ContainerCreate(b.Context(), client.ContainerCreateOptions{
			Name:       fmt.Sprintf("%s-%d", name, i),
			Config:     &api.Config{Image: privateruntime.ProbeImage, Cmd: []string{"sleepms", strconv.Itoa(lifetime)}},
			HostConfig: &api.HostConfig{NetworkMode: "none"},
		})
		require.NoError(b, err)
		_, err = d.Client().ContainerStart(b.Context(), created.ID, client.ContainerStartOptions{})
		require.NoError(b, err)
		if i >= warm {
			all = append(all, dockerLife{id: created.ID})
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

// since returns how long after a time of each life the reader noted its start or end, sorted.
func (r *reader) since(all []dockerLife, end bool, moment func(*dockerLife) time.Time) []time.Duration {
	out := make([]time.Duration, len(all))
	for i := range all {
		out[i] = r.at(all[i].id, end).Sub(moment(&all[i]))
	}
	slices.Sort(out)
	return out
}

// dockerAlone reports durations without a comparison, as a line of its own.
func dockerAlone(b *testing.B, name string, sorted []time.Duration) {
	b.Helper()
	b.Run(name, func(b *testing.B) {
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(quantile(sorted, 0.5), "p50-ms")
		b.ReportMetric(quantile(sorted, 0.99), "p99-ms")
	})
}

// compare reports durations measured before, and those of the bare reader, as a line of its own.
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

// readEvents calls handle with each start and end in the engine's events, and the time at which it was read.
func readEvents(ctx context.Context, c *client.Client, work *sync.WaitGroup, handle func(context.Context, *events.Message, time.Time)) {
	stream := c.Events(ctx, client.EventsListOptions{Filters: make(client.Filters).Add("type", "container").Add("event", "start", "die")})
	work.Go(func() {
		for {
			select {
			case m := <-stream.Messages:
				handle(ctx, &m, time.Now())
			case <-stream.Err:
				return
			}
		}
	})
}

// receiveDocker starts the receiver for a Docker Engine. It returns the function that ends it.
func receiveDocker(b *testing.B, endpoint string, r *reader) (stop func()) {
	b.Helper()
	return receiveWith(b, r, nil, func(cfg *criobserverreceiver.Config) {
		cfg.Runtimes = []criobserverreceiver.RuntimeConfig{{Engine: criobserverreceiver.EngineDocker, Endpoint: endpoint}}
	})
}
