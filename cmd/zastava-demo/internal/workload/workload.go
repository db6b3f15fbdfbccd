// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package workload plays what happens on a small busy node, again and again: a steady service, jobs that succeed, crashes, an
// out-of-memory kill, a crash loop with a kubelet's back-off, containers that are stopped and removed. It starts fast, to fill a page,
// and then slows down to what a viewer can follow. The number of pods is bounded. The owner of the runtime removes them.
package workload

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/retry"
)

const (
	namespace = "shop"

	// firstPause is the pause between the scenes of the first round. It grows by a third each round, up to lastPause. A scene results
	// in some 4 events.
	firstPause = 300 * time.Millisecond
	lastPause  = 5 * time.Second

	// keptPods is how many pods of ended scenes stay, so that their containers can be inspected.
	keptPods = 6

	// The back-off of a crash loop. A kubelet's is 10 s to 5 min; this one shows the same within a minute.
	firstBackoff = time.Second
	lastBackoff  = 20 * time.Second

	// callLimit is how long calls to the runtime may go on after the end. Canceling them at once makes containerd 1.6 leave a shim's
	// socket behind when the call is a start.
	callLimit = 10 * time.Second

	memoryLimit = 32 << 20 // bytes
	grace       = 5 * time.Second
)

// scene is what happens to one pod. The pod still exists when play returns.
type scene struct {
	pod  string
	play func(ctx context.Context, s *stage, pod *privateruntime.Pod) error
}

// scenes are repeated, each time in a new pod.
var scenes = []scene{
	{"checkout-report", ends("report", "sleepms", "700")}, // exit 0
	{"image-resizer", crashesOnce},                        // exit 3, then restarted
	{"recommender", outOfMemory},                          // OOMKilled, then restarted
	{"nightly-sync", shortJobs},                           // three containers of 50 ms
	{"session", stopped},                                  // SIGTERM, exit 0, removed
	{"legacy-batch", stubborn},                            // ignores SIGTERM: 137
	{"price-import", ends("import", "segv")},              // 139
	{"misconfigured", startFails},                         // StartError
	{"audit-log", ends("ship", "sleepms", "1200", "1")},   // exit 1
	{"mail-sender", ends("send", "sleepms", "300")},       // exit 0
}

// stage is one run of the workload. The context of a scene is for its calls, and lasts a little longer than end, after which the
// scene should come to its end.
type stage struct {
	driver *privateruntime.Driver
	end    context.Context
	round  int
	kept   []*privateruntime.Pod
}

// Play runs the workload until ctx ends and then returns nil, or until the runtime fails and then returns its first error. It may
// take some seconds after ctx has ended to finish its calls.
func Play(ctx context.Context, driver *privateruntime.Driver) error {
	ctx, cancel := context.WithCancel(ctx)
	calls, cancelCalls := context.WithCancel(context.WithoutCancel(ctx))
	var limit sync.WaitGroup
	limit.Go(func() {
		<-ctx.Done()
		retry.Sleep(calls, callLimit)
		cancelCalls()
	})
	defer limit.Wait()
	defer cancelCalls()
	defer cancel()
	s := &stage{driver: driver, end: ctx}
	var wait sync.WaitGroup
	var once sync.Once
	var fault error
	for _, part := range []func(context.Context) error{s.steady, s.crashLoop, s.rounds} {
		wait.Go(func() {
			// A call that fails after the end is no fault.
			if err := part(calls); err != nil && ctx.Err() == nil {
				once.Do(func() { fault = err })
				cancel()
			}
		})
	}
	wait.Wait()
	if fault != nil {
		return fmt.Errorf("play the workload: %w", fault)
	}
	return nil
}

// steady runs a service of two containers that never change.
func (s *stage) steady(ctx context.Context) error {
	pod, err := s.driver.RunPod(ctx, privateruntime.PodSpec{Name: "storefront-0", Namespace: namespace, Labels: map[string]string{"app": "storefront"}})
	if err != nil {
		return err
	}
	for _, name := range []string{"web", "cache"} {
		if _, err := s.driver.Run(ctx, pod, privateruntime.ContainerSpec{Name: name, Args: []string{"pause"}}); err != nil {
			return err
		}
	}
	<-s.end.Done()
	return nil
}

// crashLoop restarts a failing container as a kubelet does: same pod, same name, next attempt, a longer pause each time, and the last
// exited container kept.
func (s *stage) crashLoop(ctx context.Context) error {
	pod, err := s.driver.RunPod(ctx, privateruntime.PodSpec{Name: "payments-0", Namespace: namespace, Labels: map[string]string{"app": "payments"}})
	if err != nil {
		return err
	}
	wait := retry.NewBackOff(retry.Options{Initial: firstBackoff, Max: lastBackoff, Multiplier: 2})
	var last string
	for attempt := uint32(0); ; attempt++ {
		r, err := s.driver.Play(ctx, pod, privateruntime.Life{Name: "api", Args: []string{"sleepms", "400", "1"}}, attempt)
		if err != nil {
			return err
		}
		if last != "" {
			if err := s.driver.Remove(ctx, last); err != nil {
				return err
			}
		}
		last = r.ID
		s.driver.Forget()
		if !retry.Sleep(s.end, wait.NextBackOff()) {
			return nil
		}
	}
}

// rounds plays all scenes in order, again and again.
func (s *stage) rounds(ctx context.Context) error {
	pause := firstPause
	for {
		s.round++
		for _, scene := range scenes {
			if err := s.perform(ctx, scene); err != nil {
				return err
			}
			if !retry.Sleep(s.end, pause) {
				return nil
			}
		}
		pause = min(pause*4/3+200*time.Millisecond, lastPause)
	}
}

func (s *stage) perform(ctx context.Context, scene scene) error {
	name := fmt.Sprintf("%s-%d", scene.pod, s.round)
	pod, err := s.driver.RunPod(ctx, privateruntime.PodSpec{Name: name, Namespace: namespace, Labels: map[string]string{"app": scene.pod}})
	if err != nil {
		return err
	}
	s.kept = append(s.kept, pod)
	if err := scene.play(ctx, s, pod); err != nil {
		return fmt.Errorf("pod %s: %w", name, err)
	}
	for len(s.kept) > keptPods {
		if err := s.driver.RemovePod(ctx, s.kept[0]); err != nil {
			return err
		}
		s.kept = s.kept[1:]
	}
	s.driver.Forget()
	return nil
}

// ends returns a scene of one container that ends by itself.
func ends(name string, args ...string) func(context.Context, *stage, *privateruntime.Pod) error {
	return func(ctx context.Context, s *stage, pod *privateruntime.Pod) error {
		_, err := s.driver.Play(ctx, pod, privateruntime.Life{Name: name, Args: args}, 0)
		return err
	}
}

func crashesOnce(ctx context.Context, s *stage, pod *privateruntime.Pod) error {
	if _, err := s.driver.Play(ctx, pod, privateruntime.Life{Name: "resize", Args: []string{"sleepms", "500", "3"}}, 0); err != nil {
		return err
	}
	_, err := s.driver.Run(ctx, pod, privateruntime.ContainerSpec{Name: "resize", Attempt: 1, Args: []string{"pause"}})
	return err
}

func outOfMemory(ctx context.Context, s *stage, pod *privateruntime.Pod) error {
	if _, err := s.driver.Play(ctx, pod, privateruntime.Life{Name: "model", Args: []string{"oom", "1"}, MemoryLimit: memoryLimit}, 0); err != nil {
		return err
	}
	_, err := s.driver.Run(ctx, pod, privateruntime.ContainerSpec{Name: "model", Attempt: 1, Args: []string{"pause"}, MemoryLimit: memoryLimit})
	return err
}

func shortJobs(ctx context.Context, s *stage, pod *privateruntime.Pod) error {
	for _, name := range []string{"fetch", "convert", "store"} {
		if _, err := s.driver.Play(ctx, pod, privateruntime.Life{Name: name, Args: []string{"sleepms", "50"}}, 0); err != nil {
			return err
		}
	}
	return nil
}

func stopped(ctx context.Context, s *stage, pod *privateruntime.Pod) error {
	id, err := s.driver.Run(ctx, pod, privateruntime.ContainerSpec{Name: "user", Args: []string{"pause"}})
	if err != nil {
		return err
	}
	if !retry.Sleep(s.end, time.Second) {
		return nil
	}
	if err := s.driver.Ready(ctx, id); err != nil {
		return err
	}
	if err := s.driver.Stop(ctx, id, grace); err != nil {
		return err
	}
	return s.driver.Remove(ctx, id)
}

func stubborn(ctx context.Context, s *stage, pod *privateruntime.Pod) error {
	_, err := s.driver.Play(ctx, pod, privateruntime.Life{Name: "import", Args: []string{"stubborn"}, Stop: time.Second}, 0)
	return err
}

func startFails(ctx context.Context, s *stage, pod *privateruntime.Pod) error {
	_, err := s.driver.Play(ctx, pod, privateruntime.Life{
		Name: "app", Command: []string{"/opt/app/serve"}, Expect: privateruntime.End{ExitCode: 128, Reason: "StartError"},
	}, 0)
	return err
}
