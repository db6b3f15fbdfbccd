//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/test/certs"
	"github.com/zastava-otel/zastava/internal/test/crifake"
	"github.com/zastava-otel/zastava/internal/test/process"
)

// relay is an agent and a gateway before a stack's backend, in the configurations of docs/examples.
type relay struct {
	*stack
	runtime        *crifake.Server
	address        string // of the gateway
	agent, gateway *process.Process
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	rt, err := crifake.Start(filepath.Join(t.TempDir(), "c.sock"), crifake.Options{Name: "cri-o", Version: "1.36.0", Events: crifake.EventsEnd, Seed: 7})
	require.NoError(t, err)
	t.Cleanup(rt.Stop)
	r := &relay{stack: newStack(t, "", ""), runtime: rt, address: process.FreeAddress(t)}
	ca := certs.New(t)
	ca.WriteTo(filepath.Join(r.dir, "ca.pem"))
	ca.Issue(r.dir, "tls", certs.None)
	r.startGateway()
	r.startAgent()
	return r
}

func (r *relay) startGateway() {
	r.t.Helper()
	r.gateway = r.collect("gateway", "ZASTAVA_LISTEN="+r.address, "ZASTAVA_ENDPOINT="+r.base, "ZASTAVA_TENANT="+tenant)
}

func (r *relay) startAgent() {
	r.t.Helper()
	r.agent = r.collect("agent", "ZASTAVA_GATEWAY="+r.address, "ZASTAVA_RUNTIME_ENDPOINT="+r.runtime.Endpoint(), "K8S_NODE_NAME=node-of-the-agent")
}

// retrySoon makes both retry soon: the test is about whether they do, not about how long they wait.
const retrySoon = "exporters::%s::retry_on_failure: {initial_interval: 50ms, max_interval: 500ms, max_elapsed_time: 0}"

func (r *relay) collect(which string, env ...string) *process.Process {
	r.t.Helper()
	exporter, more := "zastavabackend", "yaml:processors::memory_limiter::limit_mib: 512"
	if which == "agent" {
		exporter, more = "otlp_grpc", "yaml:receivers::criobserver::poll_interval: 100ms"
	}
	env = append(env, "ZASTAVA_TLS_DIR="+r.dir, "ZASTAVA_STORAGE_DIR="+filepath.Join(r.dir, which))
	return r.run(which, []string{
		"--config", filepath.Join(process.Root(r.t), "docs", "examples", which+".yaml"),
		"--config", "yaml:service::telemetry::metrics::level: none", // two collectors, one port
		"--config", "yaml:" + fmt.Sprintf(retrySoon, exporter), "--config", more,
	}, env...)
}

// live runs containers until the channel is closed: some end between two lists of the agent, some do not, and every third one is
// restarted. It returns the ids of all.
func (r *relay) live(stop <-chan struct{}) (ids []string) {
	pods := make([]string, 4)
	for i := range pods {
		pods[i] = r.runtime.RunPod("shop", fmt.Sprintf("web-%d", i))
	}
	pause := func(most time.Duration) { time.Sleep(mrand.N(most)) }
	done := func(err error) bool {
		if err != nil {
			r.t.Error(err)
		}
		return err == nil
	}
	for n := 0; ; n++ {
		select {
		case <-stop:
			return ids
		default:
		}
		for attempt := range uint32(1 + n%3/2) {
			id, err := r.runtime.Create(pods[n%len(pods)], fmt.Sprintf("c%d", n), attempt)
			if !done(err) {
				return ids
			}
			ids = append(ids, id)
			if n%5 == 0 {
				pause(200 * time.Millisecond)
			}
			done(r.runtime.Start(id))
			if n%4 == 0 {
				pause(200 * time.Millisecond)
			}
			code, reason := int32(0), "Completed"
			if n%3 == 0 {
				code, reason = 137, "OOMKilled"
			}
			done(r.runtime.Exit(id, code, reason))
		}
		pause(20 * time.Millisecond)
	}
}

// expected returns the events that a container's life must result in.
func (r *relay) expected(id string) []backendapi.Event {
	l, ok := r.runtime.Life(id)
	require.True(r.t, ok)
	one := func(kind backendapi.Kind, when, key time.Time) backendapi.Event {
		return backendapi.Event{EventID: backendapi.EventID("cri-o", id, kind, key, 0), Kind: kind, When: when}
	}
	began := backendapi.KindStart
	if l.Attempt > 0 {
		began = backendapi.KindRestart
	}
	stop := one(backendapi.KindStop, l.Finished, l.Started)
	stop.Run = &backendapi.Run{ExitCode: new(uint32(l.ExitCode)), Reason: l.Reason}
	return []backendapi.Event{one(backendapi.KindCreate, l.Created, l.Created), one(began, l.Started, l.Started), stop}
}

// TestGatewayLosesNothingWhenKilled kills the gateway while containers start and end, once while the backend is down and the gateway
// has events only in its queue. In the end the backend must have every event once, under the id that follows from what happened, with
// its time, provenance and node, and in the order of the container's life.
func TestGatewayLosesNothingWhenKilled(t *testing.T) {
	kills := 3
	if os.Getenv("ZASTAVA_E2E") == "long" {
		kills = 30
	}
	r := newRelay(t)
	first := r.runtime.Fill(1, 1)[0]
	r.await("the first list", func() bool { return find(r.events(), first, backendapi.KindStart) != nil })
	stop := make(chan struct{})
	var ids []string
	var living sync.WaitGroup
	living.Go(func() { ids = r.live(stop) })
	ended := sync.OnceFunc(func() { close(stop); living.Wait() })
	defer ended()

	more := func(what string) {
		seen := len(r.events())
		r.await(what, func() bool { return len(r.events()) >= seen+30 })
	}
	for k := range kills {
		more(fmt.Sprintf("events before kill %d", k))
		time.Sleep(mrand.N(200 * time.Millisecond))
		r.gateway.Kill()
		time.Sleep(mrand.N(300 * time.Millisecond))
		r.startGateway()
	}
	more("events through the last gateway")
	r.backend.Kill()
	time.Sleep(500 * time.Millisecond) // the gateway queues what the backend cannot receive
	r.gateway.Kill()
	r.startGateway()
	r.backend.Restart()
	more("events after the backend was down")
	ended()

	r.verify(ids, first)
	t.Logf("%d containers over %d kills of the gateway", len(ids), kills+1)

	t.Run("a revision keeps its number", func(t *testing.T) {
		last, err := r.runtime.Create(r.runtime.RunPod("shop", "revised"), "c", 0) // a new one: the observer does not recheck an end that is long past
		require.NoError(t, err)
		require.NoError(t, r.runtime.Start(last))
		require.NoError(t, r.runtime.Exit(last, 137, "Error"))
		r.await("the stop", func() bool { return find(r.events(), last, backendapi.KindStop) != nil })
		r.agent.Stop()
		require.NoError(t, r.runtime.Edit(last, func(_ *runtimeapi.Container, status *runtimeapi.ContainerStatus) string {
			status.Reason = "Evicted"
			return ""
		}))
		r.startAgent()
		r.await("the revision", func() bool {
			e := find(r.events(), last, backendapi.KindStop)
			return e != nil && e.Revision == 1
		})
		e := find(r.events(), last, backendapi.KindStop)
		assert.Equal(t, r.expected(last)[2].EventID, e.EventID)
		assert.Equal(t, "Evicted", e.Run.Reason)
	})
}

// verify checks that the backend has the expected events of these containers, and no others but those of the container except.
func (r *relay) verify(ids []string, except string) {
	r.t.Helper()
	want := map[string]backendapi.Event{}
	for _, id := range ids {
		for _, e := range r.expected(id) {
			want[e.EventID] = e
		}
	}
	r.await("every event", func() bool {
		there := map[string]bool{}
		for _, e := range r.events() {
			there[e.EventID] = true
		}
		for id := range want {
			if !there[id] {
				return false
			}
		}
		return true
	})
	got := map[string][]backendapi.Event{}
	for _, e := range r.events() {
		if e.Workload != nil && strings.HasSuffix(e.Workload.ContainerID, except) {
			continue
		}
		w, ok := want[e.EventID]
		if !assert.True(r.t, ok, "%s %s of %v did not happen, or has another id", e.Kind, e.EventID, e.Workload) {
			continue
		}
		delete(want, e.EventID)
		got[e.Workload.ContainerID] = append(got[e.Workload.ContainerID], e)
		relayed(r.t, w, e)
	}
	assert.Empty(r.t, want, "lost")
	for id, events := range got { // newest first
		slices.Reverse(events)
		kinds := []backendapi.Kind{events[0].Kind, events[1].Kind, events[2].Kind}
		assert.Equal(r.t, backendapi.KindCreate, kinds[0], id)
		assert.Equal(r.t, backendapi.KindStop, kinds[2], id)
	}
}

// relayed compares an event with the expected one, and checks its provenance and node.
func relayed(tb testing.TB, w, e backendapi.Event) {
	tb.Helper()
	assert.Equal(tb, w.Kind, e.Kind)
	assert.Equal(tb, w.When, e.When, "%s", e.Kind)
	assert.Zero(tb, e.Revision)
	assert.Equal(tb, "node-of-the-agent", e.Node)
	assert.Equal(tb, tenant, e.Tenant)
	assert.Equal(tb, backendapi.Runtime{Engine: "cri-o", Version: "1.36.0"}, e.Runtime)
	assert.Equal(tb, "list", e.Observation.Source)
	assert.Equal(tb, "exact", e.Observation.Precision)
	if assert.NotNil(tb, e.Observation.ObservedAt) {
		assert.False(tb, e.Observation.ObservedAt.Before(e.When), "observed before it happened")
	}
	if w.Run != nil {
		assert.Equal(tb, *w.Run.ExitCode, *e.Run.ExitCode)
		assert.Equal(tb, w.Run.Reason, e.Run.Reason)
	}
}
