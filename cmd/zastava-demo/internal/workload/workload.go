// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package workload plays what happens on a busy little node, over and over: a
// steady service, jobs that end well, crashes, an out-of-memory kill, a crash
// loop with a kubelet's back-off, containers stopped and removed. It fills a
// page at once and then slows down to what one can follow. The number of pods
// is bounded, and it leaves them to the owner of the runtime to wipe.
package workload

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/zastava-otel/zastava/internal/privateruntime"
)

const (
	namespace = "shop"

	// firstPause lies between the scenes of the first round, and each round's
	// is longer by a third until lastPause: a scene makes some 4 events.
	firstPause = 300 * time.Millisecond
	lastPause  = 5 * time.Second

	// keptPods is how many pods of ended scenes stay to be looked at.
	keptPods = 6

	// The back-off of a crash loop. A kubelet's is 10 s to 5 min; these show
	// the same within a minute.
	firstBackoff = time.Second
	lastBackoff  = 20 * time.Second

	// callLimit is how much longer the calls to the runtime may take when the
	// end has come. They are not cut short at once: containerd 1.6 leaves a
	// shim's socket behind when a start is canceled at the wrong moment.
	callLimit = 10 * time.Second

	memoryLimit = 32 << 20 // bytes
	grace       = 5 * time.Second
)

// scene is one pod's story. It returns with the pod still there.
type scene struct {
	pod  string
	play func(ctx context.Context, s *stage, pod *privateruntime.Pod) error
}

// scenes are the ones that repeat, each time in a new pod.
var scenes = []scene{
	{"checkout-report", ends("report", "sleepms", "700")}, // exit 0
	{"image-resizer", crashesOnce},                        // exit 3, then restarted
	{"recommender", outOfMemory},                          // OOMKilled, then restarted
	{"nightly-sync", shortJobs},                           // three lives of 50 ms
	{"session", stopped},                                  // SIGTERM, exit 0, removed
	{"legacy-batch", stubborn},                            // ignores SIGTERM: 137
	{"price-import", ends("import", "segv")},              // 139
	{"misconfigured", startFails},                         // StartError
	{"audit-log", ends("ship", "sleepms", "1200", "1")},   // exit 1
	{"mail-sender", ends("send", "sleepms", "300")},       // exit 0
}

// stage is one run of the workload. The context of a scene is for its calls;
// over is closed when the scene should come to its end.
type stage struct {
	driver *privateruntime.Driver
	over   <-chan struct{}
	round  int
	kept   []*privateruntime.Pod
}

// Play runs the workload until ctx is done, and returns nil then, or the
// first fault of the runtime. It may take some seconds to come to the end of
// what it is doing.
func Play(ctx context.Context, driver *privateruntime.Driver) error {
	ctx, cancel := context.WithCancel(ctx)
	calls, cancelCalls := context.WithCancel(context.WithoutCancel(ctx))
	var limit sync.WaitGroup
	limit.Go(func() {
		<-ctx.Done()
		sleep(calls.Done(), callLimit)
		cancelCalls()
	})
	defer limit.Wait()
	defer cancelCalls()
	defer cancel()
	s := &stage{driver: driver, over: ctx.Done()}
	var wait sync.WaitGroup
	var once sync.Once
	var fault error
	for _, part := range []func(context.Context) error{s.steady, s.crashLoop, s.rounds} {
		wait.Go(func() {
			// A call that fails because the end has come is no fault.
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

// steady runs a service of two containers that nothing ever happens to.
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
	<-s.over
	return nil
}

// crashLoop restarts a failing container as a kubelet does: same pod, same
// name, attempt + 1, a longer pause each time, one dead container kept.
func (s *stage) crashLoop(ctx context.Context) error {
	pod, err := s.driver.RunPod(ctx, privateruntime.PodSpec{Name: "payments-0", Namespace: namespace, Labels: map[string]string{"app": "payments"}})
	if err != nil {
		return err
	}
	backoff := firstBackoff
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
		if !sleep(s.over, backoff) {
			return nil
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// rounds plays all scenes one after the other, again and again.
func (s *stage) rounds(ctx context.Context) error {
	pause := firstPause
	for {
		s.round++
		for _, scene := range scenes {
			if err := s.perform(ctx, scene); err != nil {
				return err
			}
			if !sleep(s.over, pause) {
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

// ends is a scene of one container that ends by itself.
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
	if !sleep(s.over, time.Second) {
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

// sleep reports whether the time passed before it was over.
func sleep(over <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-over:
		return false
	}
}
