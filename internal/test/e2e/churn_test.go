//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/proxy"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
)

// churn is a number of workers that make containers live and die at random, each in a pod of its own that it replaces now
// and then. Calls that fail because containerd is down are tried again until it is back.
type churn struct {
	t       *testing.T
	d       *privateruntime.Driver
	workers int
	perPod  int // lives in one pod
	kept    int // containers that each worker leaves running
	linger  time.Duration

	work      sync.WaitGroup
	lives     atomic.Int64 // containers made
	abandoned atomic.Int64 // containers given up because a call failed for good
	pods      atomic.Int64
	mu        sync.Mutex
	faults    []string // why
}

const (
	callLimit = 30 * time.Second // how long a worker tries a call again
	memory    = 32 << 20
)

// hungryLife tells the lives that run out of memory by the names that churn gives them.
func hungryLife(name string) bool {
	return strings.HasPrefix(name, "out-of-memory") || strings.HasPrefix(name, "child-oom")
}

// begin starts the workers, which go on until ctx ends and then finish what they do.
func (c *churn) begin(ctx context.Context, seed uint64) {
	for w := range c.workers {
		random := rand.New(rand.NewPCG(seed, uint64(w)))
		c.work.Go(func() { c.worker(ctx, w, random) })
	}
}

func (c *churn) worker(ctx context.Context, w int, random *rand.Rand) {
	var pod *privateruntime.Pod
	kept := 0
	for n := 0; ctx.Err() == nil; n++ {
		if pod == nil || n%c.perPod == 0 {
			if pod != nil && kept == 0 {
				c.attempt("remove the pod", func(ctx context.Context) error { return c.d.RemovePod(ctx, pod) })
			}
			kept = 0
			p := c.pods.Add(1)
			var made *privateruntime.Pod
			if !c.attempt("run a pod", func(ctx context.Context) (err error) {
				made, err = c.d.RunPod(ctx, privateruntime.PodSpec{Name: fmt.Sprintf("churn-%d-%d", w, p), Namespace: "churn"})
				return err
			}) {
				pod = nil
				continue
			}
			pod = made
		}
		if kept < c.kept && random.IntN(10) == 0 {
			c.keep(pod, w, n)
			kept++
			continue
		}
		c.live(ctx, pod, w, n, random)
	}
}

// keep makes a container that is there until the end.
func (c *churn) keep(pod *privateruntime.Pod, w, n int) {
	id, ok := c.create(pod, privateruntime.ContainerSpec{Name: fmt.Sprintf("kept-%d-%d", w, n), Args: []string{"pause"}})
	if ok {
		c.start(id)
	}
}

// live plays one random life, or a few attempts of it, each removed some time after its end.
func (c *churn) live(ctx context.Context, pod *privateruntime.Pod, w, n int, random *rand.Rand) {
	lives := append(privateruntime.Lives(),
		privateruntime.Life{Name: "removed-by-force", Args: []string{"pause"}},
		privateruntime.Life{Name: "child-oom", Args: []string{"forkoom", "1", "4"}, MemoryLimit: memory, Signal: syscall.SIGKILL, Expect: privateruntime.End{ExitCode: 137, Reason: "Error"}},
		privateruntime.Life{Name: "never-started"},
	)
	life := lives[random.IntN(len(lives))]
	if life.Name == "stopped-stubborn" && random.IntN(3) > 0 {
		return // its grace period takes a second, in which nothing happens
	}
	attempts := uint32(1)
	if life.Expect.Reason == "Error" && random.IntN(6) == 0 {
		attempts = 4
	}
	spec := life.Spec()
	spec.Name = fmt.Sprintf("%s-%d-%d", life.Name, w, n)
	for attempt := range attempts {
		spec.Attempt = attempt
		id, ok := c.create(pod, spec)
		if !ok {
			return
		}
		if life.Name != "never-started" && !c.start(id) && life.Expect.Reason != "StartError" {
			return
		}
		if !c.end(life, id) {
			return
		}
		pause, until := time.Duration(random.Int64N(int64(c.linger))), ctx
		if hungryLife(spec.Name) || life.Expect.Reason == "StartError" {
			pause, until = pause+3*time.Second, finally() // the reason is known later, and no event tells it
		}
		if attempt+1 == attempts || random.IntN(2) == 0 {
			sleepOrEnd(until, pause)
			c.attempt("remove "+spec.Name, func(ctx context.Context) error { return c.d.Remove(ctx, id) })
		}
	}
}

func (c *churn) create(pod *privateruntime.Pod, spec privateruntime.ContainerSpec) (id string, ok bool) {
	c.lives.Add(1)
	try := 0
	name := spec.Name
	ok = c.attempt("create "+spec.Name, func(ctx context.Context) (err error) {
		if try > 0 { // a creation that was cut off may have happened: the name is taken, and Reconcile finds it
			spec.Name = fmt.Sprintf("%s-again-%d", name, try)
		}
		try++
		id, err = c.d.Create(ctx, pod, spec)
		if err != nil && id != "" {
			err = nil // made, and its status was cut off
		}
		return err
	})
	return id, ok
}

// start starts a container. One whose start was cut off is looked at: it may have started.
func (c *churn) start(id string) bool {
	refused := false
	ok := c.attempt("start "+id, func(ctx context.Context) error {
		err := c.d.Start(ctx, id)
		if err == nil {
			return nil
		}
		said, asked := c.d.Status(ctx, id)
		switch {
		case asked != nil:
			return errors.Join(err, asked)
		case said.GetState() == cri.ContainerState_CONTAINER_CREATED:
			return err
		case said.GetReason() == "StartError":
			refused = true
		}
		return nil
	})
	return ok && !refused
}

// end ends a life in its way and waits for that.
func (c *churn) end(life privateruntime.Life, id string) bool {
	exited := func(ctx context.Context) error { _, err := c.d.Wait(ctx, id); return err }
	switch {
	case life.Name == "never-started":
		return true
	case life.Name == "removed-by-force":
		return c.attempt("look at "+id, func(ctx context.Context) error { _, err := c.d.Status(ctx, id); return err })
	case life.Signal != 0:
		return c.attempt("signal "+id, func(ctx context.Context) error {
			said, err := c.d.Status(ctx, id)
			if err != nil || said.GetState() == cri.ContainerState_CONTAINER_EXITED {
				return err
			}
			if life.Name == "child-oom" && said.GetReason() != "OOMKilled" && time.Since(time.Unix(0, said.GetStartedAt())) < 5*time.Second {
				return errors.New("no child was killed yet")
			}
			return c.d.Signal(ctx, id, life.Signal)
		}) && c.attempt("wait for "+id, exited)
	case life.Stop > 0:
		return c.attempt("stop "+id, func(ctx context.Context) error { return c.d.Stop(ctx, id, time.Second) }) && c.attempt("wait for "+id, exited)
	default:
		return c.attempt("wait for "+id, exited)
	}
}

// attempt tries a call until it succeeds, or has failed for long: then the container is left as it is.
func (c *churn) attempt(what string, call func(ctx context.Context) error) bool {
	ctx, cancel := context.WithTimeout(finally(), callLimit)
	defer cancel()
	for {
		err := call(ctx)
		if err == nil {
			return true
		}
		sleepOrEnd(ctx, 50*time.Millisecond)
		if ctx.Err() != nil {
			c.abandoned.Add(1)
			c.mu.Lock()
			c.faults = append(c.faults, what+": "+err.Error())
			c.mu.Unlock()
			return false
		}
	}
}

func sleepOrEnd(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// misfortunes are how often the collector and containerd are killed, and the connections between them cut.
type misfortunes struct {
	lasts, collectorEvery, containerdEvery, cutEvery time.Duration
}

// TestEventsAreTrueUnderChurn lets containers live and die at random while the collector and containerd are killed again and again,
// and the connections between them cut. In the end the backend must hold every run once, as the runtime knew it or marked as
// what it is, and nothing else.
func TestEventsAreTrueUnderChurn(t *testing.T) {
	m := misfortunes{lasts: 24 * time.Second, collectorEvery: 9 * time.Second, containerdEvery: 14 * time.Second, cutEvery: 7 * time.Second}
	if long() {
		m = misfortunes{lasts: 10 * time.Minute, collectorEvery: time.Minute, containerdEvery: 90 * time.Second, cutEvery: 25 * time.Second}
	}
	eachContainerd(t, []realruntime.Release{realruntime.System(), realruntime.Containerd2()}, func(t *testing.T, release realruntime.Release) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		c := realruntime.Containerd(t, release.BinDirs...)
		d := c.Driver()
		between := proxy.Start(t, "unix://"+filepath.Join(c.Dir(), "cut.sock"), c.Endpoint())
		s := newStack(t, between.Address(), "auto", "receivers::criobserver::timeout: 2s", "receivers::criobserver::backoff::max_interval: 2s")
		s.observe()
		s.observing()

		ctx, cancel := context.WithTimeout(t.Context(), m.lasts)
		defer cancel()
		ch := &churn{t: t, d: d, workers: 4, perPod: 25, kept: 2, linger: 400 * time.Millisecond}
		ch.begin(ctx, seed)
		told := chronicle{hungry: hungryLife}
		down := func(what string, end, begin func()) {
			from := time.Now()
			end()
			sleepOrEnd(t.Context(), time.Duration(random.Int64N(int64(3*time.Second))))
			begin()
			t.Logf("%s was down for %v", what, time.Since(from).Round(time.Millisecond))
			// Until the stream and a list are there again; a gap may begin with the last look before.
			told.outages = append(told.outages, span{from.Add(-2 * time.Second), time.Now().Add(5 * time.Second)})
		}
		collector, runtime, cut := time.NewTicker(m.collectorEvery), time.NewTicker(m.containerdEvery), time.NewTicker(m.cutEvery)
		defer collector.Stop()
		defer runtime.Stop()
		defer cut.Stop()
		for ctx.Err() == nil {
			select {
			case <-collector.C:
				down("the collector", s.collector.Kill, func() { s.observe(); s.observing() })
			case <-runtime.C:
				down("containerd", func() { require.NoError(t, c.Kill()) }, func() { require.NoError(t, c.Restart(t.Context())) })
			case <-cut.C:
				between.Cut()
				told.outages = append(told.outages, span{time.Now().Add(-2 * time.Second), time.Now().Add(5 * time.Second)})
			case <-ctx.Done():
			}
		}
		ch.work.Wait()
		require.NoError(t, d.Reconcile(t.Context()))
		told.records = d.Records()
		t.Logf("%d containers in %d pods; %d given up: %v", ch.lives.Load(), ch.pods.Load(), ch.abandoned.Load(), ch.faults)
		s.judged(told)
	})
}

// judged waits until the backend's events are true, and stay so for a moment.
func (s *stack) judged(told chronicle) {
	s.t.Helper()
	var v verdict
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if v = told.judge(s.events()); len(v.faults) > 0 {
			continue
		}
		time.Sleep(2500 * time.Millisecond) // a second look at every stop later, nothing was added
		if v = told.judge(s.events()); len(v.faults) == 0 {
			s.t.Logf("of %d containers: %s", len(told.records), v)
			return
		}
	}
	s.t.Fatalf("of %d containers: %s; %d faults:\n%s", len(told.records), v, len(v.faults), strings.Join(v.faults, "\n"))
}
