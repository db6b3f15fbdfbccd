//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/retry"
)

// churn runs and ends containers at random, with several workers. Each worker uses a pod of its own and replaces it after perPod
// containers. Calls that fail because containerd is down are retried until it is back.
type churn struct {
	t       *testing.T
	d       *privateruntime.Driver
	workers int
	perPod  int // containers in one pod
	kept    int // containers that each worker leaves running
	linger  time.Duration

	work      sync.WaitGroup
	lives     atomic.Int64 // containers created
	abandoned atomic.Int64 // containers given up because a call failed for callLimit
	pods      atomic.Int64
	mu        sync.Mutex
	faults    []string // why containers were given up
}

const (
	callLimit = 30 * time.Second // how long a worker retries a call
	memory    = 32 << 20
)

// mayOOM reports whether a container whose name churn made may run out of memory.
func mayOOM(name string) bool {
	return strings.HasPrefix(name, "out-of-memory") || strings.HasPrefix(name, "child-oom")
}

// begin starts the workers. They run until ctx ends, and then finish their current container.
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
			var created *privateruntime.Pod
			if !c.attempt("run a pod", func(ctx context.Context) (err error) {
				created, err = c.d.RunPod(ctx, privateruntime.PodSpec{Name: fmt.Sprintf("churn-%d-%d", w, p), Namespace: "churn"})
				return err
			}) {
				pod = nil
				continue
			}
			pod = created
		}
		if kept < c.kept && random.IntN(10) == 0 {
			c.keep(pod, w, n)
			kept++
			continue
		}
		c.live(ctx, pod, w, n, random)
	}
}

// keep starts a container that runs until the end of the test.
func (c *churn) keep(pod *privateruntime.Pod, w, n int) {
	id, ok := c.create(pod, privateruntime.ContainerSpec{Name: fmt.Sprintf("kept-%d-%d", w, n), Args: []string{"pause"}})
	if ok {
		c.start(id)
	}
}

// live plays one random life, or several attempts of it, and removes each attempt some time after its end.
func (c *churn) live(ctx context.Context, pod *privateruntime.Pod, w, n int, random *rand.Rand) {
	lives := append(privateruntime.Lives(),
		privateruntime.Life{Name: "removed-by-force", Args: []string{"pause"}},
		privateruntime.Life{Name: "child-oom", Args: []string{"forkoom", "1", "4"}, MemoryLimit: memory, Signal: syscall.SIGKILL, Expect: privateruntime.End{ExitCode: 137, Reason: "Error"}},
		privateruntime.Life{Name: "never-started"},
	)
	life := lives[random.IntN(len(lives))]
	if life.Name == "stopped-stubborn" && random.IntN(3) > 0 {
		return // its grace period lasts a second, in which nothing happens
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
		if mayOOM(spec.Name) || life.Expect.Reason == "StartError" {
			pause, until = pause+3*time.Second, finally() // the runtime knows the reason later, and sends no event for it
		}
		if attempt+1 == attempts || random.IntN(2) == 0 {
			retry.Sleep(until, pause)
			c.attempt("remove "+spec.Name, func(ctx context.Context) error { return c.d.Remove(ctx, id) })
		}
	}
}

func (c *churn) create(pod *privateruntime.Pod, spec privateruntime.ContainerSpec) (id string, ok bool) {
	c.lives.Add(1)
	try := 0
	name := spec.Name
	ok = c.attempt("create "+spec.Name, func(ctx context.Context) (err error) {
		if try > 0 { // an interrupted call may have created the container: its name is taken, and Reconcile finds it
			spec.Name = fmt.Sprintf("%s-again-%d", name, try)
		}
		try++
		id, err = c.d.Create(ctx, pod, spec)
		if err != nil && id != "" {
			err = nil // created; only the status call after it was interrupted
		}
		return err
	})
	return id, ok
}

// start starts a container. If the call fails, a status call decides: it may have started nevertheless.
func (c *churn) start(id string) bool {
	refused := false
	ok := c.attempt("start "+id, func(ctx context.Context) error {
		err := c.d.Start(ctx, id)
		if err == nil {
			return nil
		}
		status, statusErr := c.d.Status(ctx, id)
		switch {
		case statusErr != nil:
			return errors.Join(err, statusErr)
		case status.GetState() == cri.ContainerState_CONTAINER_CREATED:
			return err
		case status.GetReason() == "StartError":
			refused = true
		}
		return nil
	})
	return ok && !refused
}

// end ends a container in the way of its life, and waits for the end.
func (c *churn) end(life privateruntime.Life, id string) bool {
	exited := func(ctx context.Context) error { _, err := c.d.Wait(ctx, id); return err }
	switch {
	case life.Name == "never-started":
		return true
	case life.Name == "removed-by-force":
		return c.attempt("inspect "+id, func(ctx context.Context) error { _, err := c.d.Status(ctx, id); return err })
	case life.Signal != 0:
		return c.attempt("signal "+id, func(ctx context.Context) error {
			status, err := c.d.Status(ctx, id)
			if err != nil || status.GetState() == cri.ContainerState_CONTAINER_EXITED {
				return err
			}
			if life.Name == "child-oom" && status.GetReason() != "OOMKilled" && time.Since(time.Unix(0, status.GetStartedAt())) < 5*time.Second {
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

// attempt retries a call until it succeeds. After callLimit it gives up and returns false; the container stays as it is.
func (c *churn) attempt(what string, call func(ctx context.Context) error) bool {
	ctx, cancel := context.WithTimeout(finally(), callLimit)
	defer cancel()
	for {
		err := call(ctx)
		if err == nil {
			return true
		}
		retry.Sleep(ctx, 50*time.Millisecond)
		if ctx.Err() != nil {
			c.abandoned.Add(1)
			c.mu.Lock()
			c.faults = append(c.faults, what+": "+err.Error())
			c.mu.Unlock()
			return false
		}
	}
}
