// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

func TestMain(m *testing.M) {
	if served() {
		return
	}
	goleak.VerifyTestMain(m)
}

// fakeRuntime is a runtime without a stream. The test sets its containers and its faults.
type fakeRuntime struct {
	mu           sync.Mutex
	containers   map[string]container.Snapshot
	fingerprints map[string]uint64
	unknown      map[string]bool // listed, but an inspection does not find them

	listErr      error
	hangList     bool
	slowList     time.Duration
	hangDescribe string          // the description of this one waits for its deadline
	hangInspect  map[string]bool // the inspections of these wait for their deadline
	slowInspect  time.Duration

	lists    int // calls
	inspects map[string]int
	pids     int
}

func newFakeRuntime() *fakeRuntime {
	return &fakeRuntime{containers: map[string]container.Snapshot{}, hangInspect: map[string]bool{}, inspects: map[string]int{}, unknown: map[string]bool{}}
}

func (r *fakeRuntime) do(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// edit changes a container.
func (r *fakeRuntime) edit(id string, change func(*container.Snapshot)) {
	r.do(func() {
		s := r.containers[id]
		change(&s)
		r.containers[id] = s
	})
}

func (r *fakeRuntime) create(id string) {
	r.edit(id, func(s *container.Snapshot) {
		*s = container.Snapshot{Container: &container.Container{ID: id, Name: id, CreatedAt: time.Now()}, State: container.StateCreated}
	})
}

func (r *fakeRuntime) start(id string) {
	r.edit(id, func(s *container.Snapshot) {
		s.State, s.Run = container.StateRunning, container.Run{StartedAt: time.Now()}
	})
}

func (r *fakeRuntime) exit(id string, code uint32, reason string) {
	r.edit(id, func(s *container.Snapshot) {
		s.State = container.StateExited
		s.Run.FinishedAt, s.Run.ExitCode, s.Run.ExitKnown, s.Run.Reason, s.Run.OOMKilled = time.Now(), code, true, reason, reason == reasonOOMKilled
	})
}

func (r *fakeRuntime) remove(id string) { r.do(func() { delete(r.containers, id) }) }

func (r *fakeRuntime) Info(context.Context) (runtime.Info, error) {
	return runtime.Info{Engine: "scripted", Version: "1"}, nil
}

func (r *fakeRuntime) List(ctx context.Context, dst []runtime.Summary) ([]runtime.Summary, error) {
	r.mu.Lock()
	r.lists++
	hang, slow, err := r.hangList, r.slowList, r.listErr
	for _, id := range slices.Sorted(maps.Keys(r.containers)) {
		s := r.containers[id]
		dst = append(dst, runtime.Summary{ID: id, State: s.State, CreatedAt: s.Container.CreatedAt.UnixNano(), Attempt: s.Container.Attempt, Fingerprint: r.fingerprints[id]})
	}
	r.mu.Unlock()
	time.Sleep(slow)
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return dst, err
}

func (r *fakeRuntime) Find(_ context.Context, id string) (runtime.Summary, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.containers[id]
	if !ok {
		return runtime.Summary{}, runtime.ErrNotFound
	}
	return runtime.Summary{ID: id, State: s.State}, nil
}

func (r *fakeRuntime) Describe(ctx context.Context, s runtime.Summary) (*container.Container, error) {
	r.mu.Lock()
	hang := r.hangDescribe == s.ID
	c, ok := r.containers[s.ID]
	r.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if !ok {
		return &container.Container{ID: s.ID, Name: s.ID}, nil
	}
	described := *c.Container
	return &described, nil
}

func (r *fakeRuntime) Inspect(ctx context.Context, c *container.Container) (container.Snapshot, error) {
	r.mu.Lock()
	r.inspects[c.ID]++
	s, ok := r.containers[c.ID]
	hang, slow := r.hangInspect[c.ID], r.slowInspect
	ok = ok && !r.unknown[c.ID]
	r.mu.Unlock()
	time.Sleep(slow)
	if hang {
		<-ctx.Done()
		return container.Snapshot{}, ctx.Err()
	}
	if !ok {
		return container.Snapshot{}, fmt.Errorf("container %q: %w", c.ID, runtime.ErrNotFound)
	}
	s.Container = c
	return s, nil
}

func (r *fakeRuntime) PID(_ context.Context, id string) (uint32, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pids++
	return 4711, nil
}

func (r *fakeRuntime) Close() error { return nil }

// streamRuntime is a fakeRuntime with a stream, on which the test posts notices and which it ends.
type streamRuntime struct {
	*fakeRuntime
	post     func(runtime.Notice)
	broken   chan error
	watchErr error // every subscription fails with it
}

func newStreamRuntime() *streamRuntime {
	return &streamRuntime{fakeRuntime: newFakeRuntime(), broken: make(chan error)}
}

func (r *streamRuntime) Watch(ctx context.Context, ready func(), post func(runtime.Notice)) error {
	var err error
	r.do(func() { r.post, err = post, r.watchErr })
	if err != nil {
		return err
	}
	ready()
	select {
	case err := <-r.broken:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (r *streamRuntime) notice(n runtime.Notice) {
	r.mu.Lock()
	post := r.post
	r.mu.Unlock()
	post(n)
}

// recorder is a sink that keeps what it accepts.
type recorder struct {
	mu          sync.Mutex
	transitions []container.Transition
	gaps        []container.Gap
	block       chan struct{} // if set, Deliver waits until it is closed
}

func (r *recorder) Deliver(ctx context.Context, items []Item) error {
	r.mu.Lock()
	block := r.block
	r.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, it := range items {
		r.transitions = append(r.transitions, it.Transitions...)
		if it.Gap != nil {
			r.gaps = append(r.gaps, *it.Gap)
		}
	}
	return nil
}

// reported returns "id kind" of all transitions, in order.
func (r *recorder) reported() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]string, 0, len(r.transitions))
	for i := range r.transitions {
		out = append(out, r.transitions[i].Container.ID+" "+r.transitions[i].Kind.String())
	}
	return out
}

// countingTelemetry counts what the observer counts, and keeps what it logs.
type countingTelemetry struct {
	mu                                         sync.Mutex
	coalesced, overflowed, failed, reconnected int
	gaps, logged                               []string
}

func (c *countingTelemetry) Listed(time.Duration, error)     {}
func (c *countingTelemetry) InspectFailed()                  { c.add(&c.failed) }
func (c *countingTelemetry) Transitions(container.Kind, int) {}
func (c *countingTelemetry) Reconnected()                    { c.add(&c.reconnected) }
func (c *countingTelemetry) MailboxOverflowed()              { c.add(&c.overflowed) }
func (c *countingTelemetry) Coalesced(int)                   { c.add(&c.coalesced) }
func (c *countingTelemetry) Gap(cause string) {
	c.mu.Lock()
	c.gaps = append(c.gaps, cause)
	c.mu.Unlock()
}
func (c *countingTelemetry) CheckpointFailed() {}
func (c *countingTelemetry) add(n *int)        { c.mu.Lock(); *n++; c.mu.Unlock() }
func (c *countingTelemetry) Info(m string, _ ...any) {
	c.mu.Lock()
	c.logged = append(c.logged, m)
	c.mu.Unlock()
}
func (c *countingTelemetry) Warn(m string, _ ...any) { c.Info(m) }

// memoryCheckpoint is a checkpoint in memory, which outlives the observers that use it.
type memoryCheckpoint struct {
	mu    sync.Mutex
	known map[string]*tracker.Known
	seen  time.Time
	boot  string
	saves int
}

func newMemoryCheckpoint() *memoryCheckpoint {
	return &memoryCheckpoint{known: map[string]*tracker.Known{}}
}

// use has an observer use the checkpoint.
func (r *memoryCheckpoint) use(b *fixture, _ *Options) { b.cp = r }

func (r *memoryCheckpoint) Load(context.Context) (Remembered, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Remembered{Containers: maps.Clone(r.known), Seen: r.seen, BootID: r.boot}, nil
}

func (r *memoryCheckpoint) Save(_ context.Context, changes []tracker.Change, seen time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.saves++
	for _, c := range changes {
		if c.Next == nil {
			delete(r.known, c.ID)
		} else {
			r.known[c.ID] = c.Next
		}
	}
	if seen.After(r.seen) {
		r.seen = seen
	}
	return nil
}

// fixture is one observer under test, in a bubble of fake time.
type fixture struct {
	sink   *recorder
	tel    *countingTelemetry
	health []error
	cp     Checkpoint
	obs    *Observer
	stop   func()
}

// observe starts an observer of a runtime, until stop is called. change changes the fixture and the options before that.
func observe(t *testing.T, rt runtime.Runtime, change func(*fixture, *Options)) *fixture {
	t.Helper()
	b := &fixture{sink: &recorder{}, tel: &countingTelemetry{}}
	opts := Options{
		Name: "test", PollInterval: 2 * time.Second, ResyncInterval: time.Minute, Timeout: 5 * time.Second,
		Backoff: retry.Options{Initial: time.Second, Max: time.Minute, Multiplier: 2, Jitter: 0.5},
	}
	if change != nil {
		change(b, &opts)
	}
	b.obs = New(opts, func(ctx context.Context) (runtime.Runtime, runtime.Info, error) {
		info, err := rt.Info(ctx)
		return rt, info, err
	}, b.sink, b.cp, Host{BootID: "boot-2", BootTime: time.Now().Add(-time.Second)}, b.tel, b.tel, func(err error) { b.health = append(b.health, err) })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		b.obs.Run(ctx)
		close(done)
	}()
	b.stop = func() {
		cancel()
		<-done
	}
	return b
}

// observeLists runs a test with an observer of a runtime without a stream.
func observeLists(t *testing.T, test func(*testing.T, *fakeRuntime, *fixture)) {
	t.Helper()
	observed(t, newFakeRuntime, test)
}

// observeStream runs a test with an observer of a runtime with a stream.
func observeStream(t *testing.T, test func(*testing.T, *streamRuntime, *fixture)) {
	t.Helper()
	observed(t, newStreamRuntime, test)
}

// observeDocker runs a test with an observer of a runtime where one id has many runs.
func observeDocker(t *testing.T, test func(*testing.T, *dockerRuntime, *fixture)) {
	t.Helper()
	observed(t, newDockerRuntime, test)
}

// observed makes the runtime inside the bubble, because a channel from outside it stops fake time.
func observed[R runtime.Runtime](t *testing.T, newRuntime func() R, test func(*testing.T, R, *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRuntime()
		test(t, r, observe(t, r, nil))
	})
}

// advance lets d of fake time pass and all goroutines settle.
func advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
