// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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

// scripted is a runtime whose containers the test sets.
type scripted struct {
	mu         sync.Mutex
	containers map[string]container.Snapshot
	listErr    error
	hang       map[string]bool // inspects of these wait for their deadline
	mute       string          // the description of this one does
	hangList   bool
	slowList   time.Duration
	slow       time.Duration // each inspect takes so long
	inspects   map[string]int
	lists      int
	pids       int             // times that a pid was asked for
	forgets    map[string]bool // listed, but inspect says not found
	marks      map[string]uint64
}

func newScripted() *scripted {
	return &scripted{containers: map[string]container.Snapshot{}, hang: map[string]bool{}, inspects: map[string]int{}, forgets: map[string]bool{}}
}

func (r *scripted) do(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *scripted) create(id string) {
	r.do(func() {
		r.containers[id] = container.Snapshot{Container: &container.Container{ID: id, Name: id, CreatedAt: time.Now()}, State: container.StateCreated}
	})
}

func (r *scripted) start(id string) {
	r.do(func() {
		s := r.containers[id]
		s.State, s.Run = container.StateRunning, container.Run{StartedAt: time.Now()}
		r.containers[id] = s
	})
}

func (r *scripted) exit(id string, code uint32, reason string) {
	r.do(func() {
		s := r.containers[id]
		s.State = container.StateExited
		s.Run.FinishedAt, s.Run.ExitCode, s.Run.ExitKnown, s.Run.Reason, s.Run.OOMKilled = time.Now(), code, true, reason, reason == "OOMKilled"
		r.containers[id] = s
	})
}

func (r *scripted) remove(id string) { r.do(func() { delete(r.containers, id) }) }

func (r *scripted) Info(context.Context) (runtime.Info, error) {
	return runtime.Info{Engine: "scripted", Version: "1"}, nil
}

func (r *scripted) List(ctx context.Context, dst []runtime.Summary) ([]runtime.Summary, error) {
	r.mu.Lock()
	r.lists++
	hang, slow, err := r.hangList, r.slowList, r.listErr
	for _, id := range slices.Sorted(maps.Keys(r.containers)) {
		s := r.containers[id]
		dst = append(dst, runtime.Summary{ID: id, State: s.State, CreatedAt: s.Container.CreatedAt.UnixNano(), Attempt: s.Container.Attempt, Fingerprint: r.marks[id]})
	}
	r.mu.Unlock()
	time.Sleep(slow)
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return dst, err
}

func (r *scripted) Find(_ context.Context, id string) (runtime.Summary, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.containers[id]
	if !ok {
		return runtime.Summary{}, runtime.ErrNotFound
	}
	return runtime.Summary{ID: id, State: s.State}, nil
}

func (r *scripted) Describe(ctx context.Context, s runtime.Summary) (*container.Container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mute == s.ID {
		r.mu.Unlock()
		<-ctx.Done()
		r.mu.Lock()
		return nil, ctx.Err()
	}
	c, ok := r.containers[s.ID]
	if !ok {
		return &container.Container{ID: s.ID, Name: s.ID}, nil
	}
	described := *c.Container
	return &described, nil
}

func (r *scripted) Inspect(ctx context.Context, c *container.Container) (container.Snapshot, error) {
	r.mu.Lock()
	r.inspects[c.ID]++
	s, ok := r.containers[c.ID]
	hang, slow := r.hang[c.ID], r.slow
	ok = ok && !r.forgets[c.ID]
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

func (r *scripted) PID(_ context.Context, id string) (uint32, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pids++
	return 4711, nil
}

func (r *scripted) Close() error { return nil }

// streaming is a scripted runtime with a stream.
type streaming struct {
	*scripted
	post   func(runtime.Notice)
	broken chan error
}

func (r *streaming) Watch(ctx context.Context, ready func(), post func(runtime.Notice)) error {
	r.do(func() { r.post = post })
	ready()
	select {
	case err := <-r.broken:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (r *streaming) notice(n runtime.Notice) {
	r.mu.Lock()
	post := r.post
	r.mu.Unlock()
	post(n)
}

// kept is a sink that keeps what it accepts.
type kept struct {
	mu    sync.Mutex
	trs   []container.Transition
	gaps  []container.Gap
	block chan struct{} // not nil: Deliver waits for it to be closed
}

func (k *kept) Deliver(ctx context.Context, items []Item) error {
	k.mu.Lock()
	block := k.block
	k.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, it := range items {
		k.trs = append(k.trs, it.Transitions...)
		if it.Gap != nil {
			k.gaps = append(k.gaps, *it.Gap)
		}
	}
	return nil
}

// told gives "id kind" of everything delivered, in order.
func (k *kept) told() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]string, 0, len(k.trs))
	for i := range k.trs {
		out = append(out, k.trs[i].Container.ID+" "+k.trs[i].Kind.String())
	}
	return out
}

type counted struct {
	mu                                      sync.Mutex
	folded, overflowed, failed, reconnected int
	gaps, said                              []string
}

func (c *counted) Listed(time.Duration, error)     {}
func (c *counted) InspectFailed()                  { c.add(&c.failed) }
func (c *counted) Transitions(container.Kind, int) {}
func (c *counted) Reconnected()                    { c.add(&c.reconnected) }
func (c *counted) MailboxOverflowed()              { c.add(&c.overflowed) }
func (c *counted) Coalesced(n int)                 { c.add(&c.folded) }
func (c *counted) Gap(cause string)                { c.mu.Lock(); c.gaps = append(c.gaps, cause); c.mu.Unlock() }
func (c *counted) CheckpointFailed()               {}
func (c *counted) add(n *int)                      { c.mu.Lock(); *n++; c.mu.Unlock() }
func (c *counted) Info(m string, _ ...any)         { c.mu.Lock(); c.said = append(c.said, m); c.mu.Unlock() }
func (c *counted) Warn(m string, _ ...any)         { c.Info(m) }

// remembered is a checkpoint in memory.
type remembered struct {
	mu    sync.Mutex
	known map[string]*tracker.Known
	seen  time.Time
	boot  string
	saves int
}

func (r *remembered) Load(context.Context) (Remembered, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Remembered{Containers: maps.Clone(r.known), Seen: r.seen, BootID: r.boot}, nil
}

func (r *remembered) Save(_ context.Context, changes []tracker.Change, seen time.Time) error {
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

// bench is one observer under test, in a bubble of fake time.
type bench struct {
	rt     *scripted
	sink   *kept
	tel    *counted
	health []error
	cp     *remembered
	obs    *Observer
	stop   func()
}

func observe(t *testing.T, rt runtime.Runtime, base *scripted, change func(*bench, *Options)) *bench {
	t.Helper()
	b := &bench{rt: base, sink: &kept{}, tel: &counted{}}
	opts := Options{Name: "test", PollInterval: 2 * time.Second, ResyncInterval: time.Minute, Timeout: 5 * time.Second, Backoff: retry.Options{Initial: time.Second, Max: time.Minute, Multiplier: 2, Jitter: 0.5}}
	if change != nil {
		change(b, &opts)
	}
	var cp Checkpoint
	if b.cp != nil {
		cp = b.cp
	}
	b.obs = New(opts, func(ctx context.Context) (runtime.Runtime, runtime.Info, error) {
		info, err := rt.Info(ctx)
		return rt, info, err
	}, b.sink, cp, Host{BootID: "boot-2", BootTime: time.Now().Add(-time.Second)}, b.tel, b.tel, func(err error) { b.health = append(b.health, err) })
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

// pass lets d of fake time go by and everything settle.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestListing(t *testing.T) {
	tests := []struct {
		name   string
		before func(r *scripted) // before the first look
		then   func(r *scripted)
		expect []string
	}{
		{"inventory of what runs", func(r *scripted) { r.create("a"); r.start("a"); r.create("b") }, func(*scripted) {}, []string{"a started"}},
		{"a whole life, looked at step by step", nil, func(r *scripted) {
			r.create("a")
			pass(2 * time.Second)
			r.start("a")
			pass(2 * time.Second)
			r.exit("a", 3, "Error")
			pass(2 * time.Second)
			r.remove("a")
		}, []string{"a created", "a started", "a stopped", "a removed"}},
		{"twenty lives between two looks", nil, func(r *scripted) {
			for i := range 20 {
				id := fmt.Sprintf("c%02d", i)
				r.create(id)
				time.Sleep(10 * time.Millisecond)
				r.start(id)
				time.Sleep(50 * time.Millisecond)
				r.exit(id, 0, "Completed")
			}
		}, func() (out []string) {
			for i := range 20 {
				id := fmt.Sprintf("c%02d", i)
				out = append(out, id+" created", id+" started", id+" stopped")
			}
			return out
		}()},
		{"OOM known a moment later", nil, func(r *scripted) {
			r.create("a")
			r.start("a")
			pass(2 * time.Second)
			r.exit("a", 137, "Error")
			pass(2100 * time.Millisecond)
			r.do(func() {
				s := r.containers["a"]
				s.Run.Reason, s.Run.OOMKilled = "OOMKilled", true
				r.containers["a"] = s
			})
		}, []string{"a created", "a started", "a stopped", "a stopped"}},
		{"vanished while running", nil, func(r *scripted) {
			r.create("a")
			r.start("a")
			pass(2 * time.Second)
			r.remove("a")
		}, []string{"a created", "a started", "a stopped", "a removed"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newScripted()
				if tt.before != nil {
					tt.before(r)
				}
				b := observe(t, r, r, nil)
				pass(100 * time.Millisecond)
				tt.then(r)
				pass(10 * time.Second)
				b.stop()
				got := b.sink.told()
				slices.SortStableFunc(got, func(x, y string) int { return strings.Compare(strings.Fields(x)[0], strings.Fields(y)[0]) })
				assert.Equal(t, tt.expect, got)
			})
		})
	}
}

func TestThePIDIsAskedForOnceARunUnlessANoticeToldIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		r.create("inventory")
		r.start("inventory")
		b := observe(t, r, r.scripted, nil)
		pass(time.Second)
		r.create("listed")
		r.start("listed")
		r.broken <- errors.New("cut, so that a list finds it")
		pass(5 * time.Second)
		r.create("told")
		r.notice(runtime.Notice{ID: "told", Kind: runtime.NoticeCreated})
		pass(100 * time.Millisecond)
		r.start("told")
		r.notice(runtime.Notice{ID: "told", Kind: runtime.NoticeStarted, PID: 99})
		pass(2 * time.Minute)
		b.stop()
		assert.Equal(t, 1, r.pids)
		for _, tr := range b.sink.trs {
			if tr.Kind == container.KindStarted {
				assert.EqualValues(t, map[string]int{"inventory": 0, "listed": 4711, "told": 99}[tr.Container.ID], tr.Run.PID, tr.Container.ID)
			}
		}
	})
}

func TestNothingChangedCostsOneListAPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newScripted()
		for i := range 100 {
			id := fmt.Sprint("c", i)
			r.create(id)
			r.start(id)
		}
		b := observe(t, r, r, nil)
		pass(100 * time.Millisecond)
		r.do(func() { clear(r.inspects); r.lists = 0 })
		pass(20 * time.Second)
		b.stop()
		assert.Equal(t, 10, r.lists)
		assert.Empty(t, r.inspects)
	})
}

func TestListsDuringALongInventoryAskForNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newScripted()
		r.slow = time.Second
		for i := range 40 { // 8 at once: 5 seconds, and a list every two
			id := fmt.Sprint("c", i)
			r.create(id)
			r.start(id)
		}
		b := observe(t, r, r, nil)
		pass(30 * time.Second)
		b.stop()
		assert.Len(t, r.inspects, 40)
		for id, n := range r.inspects {
			assert.Equal(t, 1, n, id)
		}
		assert.Len(t, b.sink.told(), 40)
	})
}

func TestOneHungContainerDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newScripted()
		b := observe(t, r, r, nil)
		pass(100 * time.Millisecond)
		r.do(func() { r.hang["hung"] = true })
		for _, id := range []string{"a", "hung", "z"} {
			r.create(id)
			r.start(id)
		}
		pass(2 * time.Second)
		assert.ElementsMatch(t, []string{"a created", "a started", "z created", "z started"}, b.sink.told())
		r.create("later")
		r.start("later")
		pass(2 * time.Second)
		assert.Contains(t, b.sink.told(), "later started", "while the inspect still hangs")
		r.do(func() { r.hang["hung"] = false })
		pass(30 * time.Second)
		b.stop()
		assert.Contains(t, b.sink.told(), "hung started")
		assert.Positive(t, b.tel.failed)
	})
}

func TestOneContainerThatIsNotDescribedDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newScripted()
		b := observe(t, r, r, nil)
		pass(100 * time.Millisecond)
		r.do(func() { r.mute = "mute" })
		for _, id := range []string{"a", "mute", "z"} {
			r.create(id)
			r.start(id)
		}
		pass(2*time.Second + 2*describeTime)
		assert.ElementsMatch(t, []string{"a created", "a started", "z created", "z started"}, b.sink.told())
		r.do(func() { r.mute = "" })
		pass(30 * time.Second)
		b.stop()
		assert.Contains(t, b.sink.told(), "mute started")
	})
}

func TestARuntimeThatIsDownComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newScripted()
		r.listErr = errors.New("connection refused")
		b := observe(t, r, r, nil)
		pass(10 * time.Second)
		require.Len(t, b.health, 1, "told once")
		require.ErrorContains(t, b.health[0], "connection refused")
		r.create("a")
		r.start("a")
		r.do(func() { r.listErr = nil })
		pass(time.Minute)
		require.Len(t, b.health, 2)
		require.NoError(t, b.health[1])
		assert.Equal(t, []string{"a started"}, b.sink.told(), "the first good look is the inventory")

		r.do(func() { r.hangList = true })
		pass(time.Minute)
		require.Len(t, b.health, 3)
		require.ErrorContains(t, b.health[2], "deadline")
		r.exit("a", 0, "Completed")
		r.do(func() { r.hangList = false })
		pass(2 * time.Minute)
		b.stop()
		assert.Equal(t, []string{"a started", "a stopped"}, b.sink.told())
		assert.Equal(t, []string{container.CauseListFailed}, b.tel.gaps, "what came and went meanwhile nobody saw")
		assert.Equal(t, []string{
			"observing a runtime", "the runtime cannot be observed; trying again", "the runtime answers now",
			"the runtime cannot be observed; trying again", "the runtime answers again",
		}, b.tel.said, "once for each outage")
	})
}

func TestAFullOutboxFoldsAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newScripted()
		b := observe(t, r, r, func(_ *bench, o *Options) { o.OutboxCapacity = 10 })
		pass(100 * time.Millisecond)
		block := make(chan struct{})
		b.sink.block = block
		for i := range 20 {
			id := fmt.Sprint("c", i)
			r.create(id)
			r.start(id)
		}
		pass(10 * time.Second)
		assert.Empty(t, b.sink.told())
		assert.LessOrEqual(t, b.obs.Stats().Outbox, 10)
		for i := range 20 {
			r.exit(fmt.Sprint("c", i), 0, "Completed")
		}
		for i := range 15 {
			r.create(fmt.Sprint("ghost", i))
		}
		pass(10 * time.Second)
		for i := range 15 {
			r.remove(fmt.Sprint("ghost", i)) // came and went while nothing could be handed on
		}
		pass(10 * time.Second)
		close(block)
		pass(time.Minute)
		b.stop()
		told := b.sink.told()
		for i := range 20 {
			for _, kind := range []string{"created", "started", "stopped"} {
				n := 0
				for _, s := range told {
					if s == fmt.Sprintf("c%d %s", i, kind) {
						n++
					}
				}
				assert.Equal(t, 1, n, "c%d %s", i, kind)
			}
		}
		ghosts := 0
		for _, s := range told {
			if strings.HasPrefix(s, "ghost") && strings.HasSuffix(s, "removed") {
				ghosts++
			}
		}
		assert.Equal(t, 10, ghosts, "as many as the outbox may hold are remembered")
		assert.Equal(t, 5, b.tel.folded, "the others are counted, and told")
		require.Len(t, b.sink.gaps, 1)
		assert.Equal(t, container.CauseOutboxFull, b.sink.gaps[0].Cause)
		assert.EqualValues(t, 5, b.sink.gaps[0].Coalesced)
	})
}

func TestGoneBetweenListAndInspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newScripted()
		b := observe(t, r, r, nil)
		pass(100 * time.Millisecond)
		r.create("a")
		r.exit("a", 0, "Completed")
		r.do(func() { r.forgets["a"] = true })
		pass(2 * time.Second)
		r.remove("a")
		pass(5 * time.Second)
		b.stop()
		assert.Equal(t, []string{"a created", "a removed"}, b.sink.told())
		assert.Equal(t, []string{container.CauseRemovedUnseen}, b.tel.gaps, "its run was never seen, and that is said")
	})
}

func TestRestartOfTheObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newScripted()
		for _, id := range []string{"stays", "ends", "goes"} {
			r.create(id)
			r.start(id)
		}
		cp := &remembered{known: map[string]*tracker.Known{}}
		with := func(b *bench, _ *Options) { b.cp = cp }
		b := observe(t, r, r, with)
		pass(5 * time.Second)
		b.stop()
		assert.Len(t, b.sink.told(), 3)
		assert.Len(t, cp.known, 3)
		seen := cp.seen

		pass(time.Hour)
		r.exit("ends", 7, "Error")
		r.remove("goes")
		r.create("new")
		r.start("new")
		b = observe(t, r, r, with)
		pass(5 * time.Second)
		b.stop()
		assert.ElementsMatch(t, []string{"ends stopped", "goes stopped", "goes removed", "new created", "new started"}, b.sink.told())
		for _, tr := range b.sink.trs {
			assert.Equal(t, container.SourceCheckpoint, tr.Provenance.Source)
			if tr.Container.ID == "goes" {
				assert.Equal(t, container.PrecisionWindow, tr.Provenance.Precision)
				assert.False(t, tr.Provenance.WindowStart.After(seen))
				assert.WithinDuration(t, seen, tr.Provenance.WindowStart, 5*time.Second)
			}
		}
		assert.Contains(t, b.tel.gaps, container.CauseObserverDown)
	})
}

func TestRebootOfTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newScripted()
		r.create("a")
		r.start("a")
		snap := r.containers["a"]
		r.remove("a")
		cp := &remembered{known: map[string]*tracker.Known{"a": {Container: snap.Container, State: snap.State, Run: snap.Run}}, seen: time.Now(), boot: "boot-1"}
		pass(time.Minute)
		b := observe(t, r, r, func(b *bench, _ *Options) { b.cp = cp })
		pass(5 * time.Second)
		b.stop()
		require.Equal(t, []string{"a stopped", "a removed"}, b.sink.told())
		assert.Equal(t, tracker.ReasonHostReboot, b.sink.trs[0].Run.Reason)
	})
}

func TestFilteredContainersAreNotEvenInspected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newScripted()
		b := observe(t, r, r, func(_ *bench, o *Options) {
			f, err := NewFilter(nil, []Match{{Containers: []string{"noisy-*"}}})
			require.NoError(t, err)
			o.Filter = f
		})
		pass(100 * time.Millisecond)
		r.create("noisy-1")
		r.create("api")
		pass(10 * time.Second)
		r.remove("noisy-1")
		pass(10 * time.Second)
		b.stop()
		assert.Equal(t, []string{"api created"}, b.sink.told())
		assert.Zero(t, r.inspects["noisy-1"])
	})
}

func newStreaming() *streaming {
	return &streaming{scripted: newScripted(), broken: make(chan error)}
}

func TestNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		b := observe(t, r, r.scripted, nil)
		pass(time.Second)
		require.True(t, b.obs.Stats().Streaming)

		r.create("a")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeCreated})
		pass(10 * time.Millisecond)
		r.start("a")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeStarted, PID: 7})
		pass(10 * time.Millisecond)
		assert.Equal(t, []string{"a created", "a started"}, b.sink.told())

		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticePaused, At: time.Now()})
		pass(10 * time.Millisecond)
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeResumed, At: time.Now()})
		pass(10 * time.Millisecond)

		ended := time.Now()
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: ended, ExitCode: 3})
		pass(time.Millisecond) // the runtime's own status still says that it runs
		told := b.sink.told()
		require.Equal(t, []string{"a created", "a started", "a paused", "a unpaused", "a stopped"}, told)
		stop := b.sink.trs[4]
		assert.Equal(t, ended, stop.When)
		assert.EqualValues(t, 3, stop.Run.ExitCode)
		assert.Equal(t, container.SourceStream, stop.Provenance.Source)
		assert.Equal(t, container.PrecisionExact, stop.Provenance.Precision)

		r.do(func() {
			s := r.containers["a"]
			s.State = container.StateExited
			s.Run.FinishedAt, s.Run.ExitCode, s.Run.ExitKnown, s.Run.Reason = ended, 3, true, "Error"
			r.containers["a"] = s
		})
		pass(2 * time.Second)
		assert.Len(t, b.sink.told(), 5, "a status that confirms is no revision")
		r.remove("a")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeDeleted, At: time.Now()})
		pass(time.Millisecond)
		b.stop()
		assert.Equal(t, "a removed", b.sink.told()[5])
		assert.Equal(t, container.PrecisionExact, b.sink.trs[5].Provenance.Precision)
	})
}

func TestANoticeBeforeTheStatusIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		b := observe(t, r, r.scripted, nil)
		pass(time.Second)
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeCreated})
		pass(5 * time.Millisecond)
		r.create("a")
		pass(20 * time.Millisecond)
		assert.Equal(t, []string{"a created"}, b.sink.told())
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeStarted})
		pass(5 * time.Millisecond)
		r.start("a")
		pass(20 * time.Millisecond)
		assert.Equal(t, []string{"a created", "a started"}, b.sink.told())
		// A short life: start and exit are told, the status shows neither yet.
		r.create("b")
		r.notice(runtime.Notice{ID: "b", Kind: runtime.NoticeStarted})
		r.notice(runtime.Notice{ID: "b", Kind: runtime.NoticeExited, At: time.Now().Add(4 * time.Millisecond), ExitCode: 9})
		pass(3 * time.Millisecond)
		r.start("b")
		pass(20 * time.Millisecond)
		b.stop()
		assert.Equal(t, []string{"b created", "b started", "b stopped"}, b.sink.told()[2:])
		assert.EqualValues(t, 9, b.sink.trs[4].Run.ExitCode)
	})
}

func TestAStartThatFailsWithoutAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		b := observe(t, r, r.scripted, nil)
		pass(time.Second)
		r.create("a")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeCreated})
		pass(100 * time.Millisecond)
		r.exit("a", 128, "StartError")
		pass(2 * time.Second)
		b.stop()
		assert.Equal(t, []string{"a created", "a stopped"}, b.sink.told(), "long before the next list")
	})
}

func TestALifeThatNoticesToldAndNobodyCanAskAboutAnyMore(t *testing.T) {
	at := time.Date(2000, 1, 1, 0, 0, 1, 0, time.UTC) // synctest's clock begins a second before
	run := container.Run{StartedAt: at}
	for name, c := range map[string]struct {
		start     runtime.Notice
		exit      *container.Snapshot
		precision container.Precision
		when      time.Time
	}{
		"the notice of its start told it": {
			runtime.Notice{Kind: runtime.NoticeStarted, Snapshot: &container.Snapshot{State: container.StateRunning, Run: run}},
			nil,
			container.PrecisionExact, at,
		},
		"that of its end told it": {
			runtime.Notice{Kind: runtime.NoticeChanged},
			&container.Snapshot{State: container.StateExited, Run: run},
			container.PrecisionExact, at,
		},
		"notices without a status": {runtime.Notice{Kind: runtime.NoticeStarted, At: at}, nil, container.PrecisionWindow, at.Add(25 * time.Millisecond)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newStreaming()
				b := observe(t, r, r.scripted, nil)
				pass(time.Second)
				r.create("a")
				r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeCreated})
				pass(20 * time.Millisecond)
				r.do(func() { r.slow = 5 * time.Millisecond })
				ended := time.Now()
				r.remove("a")
				r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeChanged}) // so that a look is under way, and no status is taken
				pass(0)
				c.start.ID = "a"
				r.notice(c.start)
				r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: ended, ExitCode: 5, Snapshot: c.exit})
				r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeDeleted, At: ended.Add(time.Millisecond)})
				pass(10 * time.Second)
				b.stop()
				require.Equal(t, []string{"a created", "a started", "a stopped", "a removed"}, b.sink.told())
				assert.Equal(t, c.precision, b.sink.trs[1].Provenance.Precision)
				assert.Equal(t, c.when, b.sink.trs[1].When.UTC())
				assert.EqualValues(t, 5, b.sink.trs[2].Run.ExitCode)
				assert.Equal(t, ended, b.sink.trs[2].When)
			})
		})
	}
}

func TestAListThatIsOlderThanARemovalBringsNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		b := observe(t, r, r.scripted, nil)
		r.create("a")
		r.start("a")
		pass(time.Minute)
		r.exit("a", 0, "Completed")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: time.Now()})
		pass(2 * time.Second)
		told := b.sink.told()
		r.do(func() { r.slowList = time.Second }) // it shows what was there when it began
		r.broken <- errors.New("cut, so that a list begins")
		pass(100 * time.Millisecond)
		r.remove("a")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeDeleted, At: time.Now()})
		pass(time.Minute)
		b.stop()
		assert.Equal(t, append(told, "a removed"), b.sink.told())
	})
}

func TestAnIdleObserverWithAStreamOnlyLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		r.create("never started")
		r.create("runs")
		r.start("runs")
		r.create("ended")
		r.exit("ended", 0, "Completed")
		b := observe(t, r, r.scripted, nil)
		pass(5 * time.Minute)
		r.do(func() { clear(r.inspects); r.lists = 0 })
		pass(20 * time.Minute)
		b.stop()
		assert.Equal(t, 20, r.lists, "one a resync_interval")
		assert.Empty(t, r.inspects)
	})
}

func TestSandboxNoticesAreIgnoredButAContainerIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		b := observe(t, r, r.scripted, nil)
		pass(time.Second)
		r.notice(runtime.Notice{ID: "sandbox", Kind: runtime.NoticeCreated})
		r.notice(runtime.Notice{ID: "late", Kind: runtime.NoticeCreated})
		pass(5 * time.Second)
		assert.Empty(t, b.sink.told())
		r.create("late") // only now does CRI know it; the list shows it
		pass(time.Minute)
		b.stop()
		assert.Equal(t, []string{"late created"}, b.sink.told())
	})
}

func TestStreamLossIsHealedByAList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		b := observe(t, r, r.scripted, nil)
		pass(5 * time.Second)
		r.create("silent")
		pass(10 * time.Second)
		assert.Empty(t, b.sink.told(), "no notice, and the next list is a minute away")
		r.broken <- errors.New("stream cut")
		pass(time.Second)
		assert.Equal(t, []string{"silent created"}, b.sink.told())
		pass(10 * time.Second)
		assert.True(t, b.obs.Stats().Streaming, "subscribed again")
		b.stop()
		assert.Positive(t, b.tel.reconnected)
	})
}

func TestAListThatDoesNotShowAContainerBeginsNoWindowOfItsRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		r.create("a")
		r.start("a")
		b := observe(t, r, r.scripted, nil)
		pass(10 * time.Second)
		r.do(func() { r.slow = 10 * time.Millisecond })
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeChanged})
		pass(time.Millisecond) // the inspect has seen it running, and has not answered
		removed := time.Now()
		r.remove("a")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeDeleted})
		pass(time.Millisecond)
		r.broken <- errors.New("stream cut") // lists at once
		pass(10 * time.Second)
		b.stop()
		require.Equal(t, []string{"a started", "a stopped", "a removed"}, b.sink.told())
		for _, tr := range b.sink.trs[1:] {
			assert.False(t, tr.Provenance.WindowStart.After(removed), "%s: the window begins %s after it", tr.Kind, tr.Provenance.WindowStart.Sub(removed))
		}
	})
}

func TestALateNoticeDuringASlowListIsAGapUntilTheNextList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		b := observe(t, r, r.scripted, nil)
		pass(5 * time.Second)
		r.do(func() { r.slowList = 4 * time.Second })
		pass(time.Minute - 2*time.Second)
		require.True(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.lists > 2 }())
		r.create("a")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeCreated, At: time.Now().Add(-1100 * time.Millisecond)})
		pass(time.Minute)
		b.stop()
		b.sink.mu.Lock()
		defer b.sink.mu.Unlock()
		require.Len(t, b.sink.gaps, 1)
		assert.False(t, b.sink.gaps[0].To.Before(b.sink.gaps[0].From), "%+v", b.sink.gaps[0])
	})
}

func TestARuntimeWithoutAStreamIsPolledAndLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		b := observe(t, r, r.scripted, nil)
		pass(time.Second)
		r.broken <- runtime.ErrNoStream
		pass(time.Second)
		assert.False(t, b.obs.Stats().Streaming)
		r.create("a")
		pass(3 * time.Second)
		assert.Equal(t, []string{"a created"}, b.sink.told())
		pass(9 * time.Minute)
		assert.False(t, b.obs.Stats().Streaming)
		pass(2 * time.Minute)
		assert.True(t, b.obs.Stats().Streaming)
		b.stop()
	})
}

func TestClockJumps(t *testing.T) {
	now := time.Now()
	assert.False(t, jumped(elapsed(now, now.Add(time.Hour))))
	assert.False(t, jumped(5*time.Second, 6*time.Second), "a slow machine is no jump")
	assert.True(t, jumped(time.Hour, 5*time.Second), "the machine slept, or the clock was set forward")
	assert.True(t, jumped(-time.Hour, 5*time.Second), "the clock was set back")
}

func TestMailboxNeverWaits(t *testing.T) {
	spilled := 0
	m := newMailbox(2, func() { spilled++ })
	for range 100 {
		m.post(runtime.Notice{ID: "a", Kind: runtime.NoticeOOM})
	}
	m.post(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, ExitCode: 1})
	m.post(runtime.Notice{ID: "a", Kind: runtime.NoticeStarted})
	m.post(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, ExitCode: 2})
	m.post(runtime.Notice{ID: "b", Kind: runtime.NoticeCreated})
	m.post(runtime.Notice{ID: "c", Kind: runtime.NoticeCreated})
	notices, overflowed := m.empty()
	assert.True(t, overflowed)
	assert.Equal(t, 1, spilled)
	var kinds []runtime.NoticeKind
	for _, n := range notices {
		kinds = append(kinds, n.Kind)
	}
	assert.Equal(t, []runtime.NoticeKind{runtime.NoticeOOM, runtime.NoticeExited, runtime.NoticeStarted, runtime.NoticeExited, runtime.NoticeCreated}, kinds,
		"repeats fold; the ends of two runs are both kept")
	_, overflowed = m.empty()
	assert.False(t, overflowed)
}

func TestFilter(t *testing.T) {
	c := &container.Container{Name: "api", Pod: container.Pod{Namespace: "payments", Name: "api-7c9f"}, Image: container.Image{Reference: "ghcr.io/acme/api:1.8"}}
	tests := []struct {
		name             string
		include, exclude []Match
		allows           bool
	}{
		{"none", nil, nil, true},
		{"included by namespace", []Match{{Namespaces: []string{"pay*"}}}, nil, true},
		{"not included", []Match{{Namespaces: []string{"kube-*"}}}, nil, false},
		{"all lists of a match must fit", []Match{{Namespaces: []string{"payments"}, Containers: []string{"db"}}}, nil, false},
		{"one include is enough", []Match{{Containers: []string{"db"}}, {Images: []string{"ghcr.io/*"}}}, nil, true},
		{"exclude wins", []Match{{Namespaces: []string{"*"}}}, []Match{{Pods: []string{"api-????"}}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := NewFilter(tt.include, tt.exclude)
			require.NoError(t, err)
			assert.Equal(t, tt.allows, f.Allows(c))
		})
	}
	_, err := NewFilter([]Match{{Pods: []string{"ok", "[bad"}}}, nil)
	require.ErrorContains(t, err, `include[0].pods[1]: "[bad" is not a glob`)
	_, err = NewFilter(nil, []Match{{}})
	require.ErrorContains(t, err, "exclude[0]: is empty")
}
