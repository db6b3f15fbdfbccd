// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/collector/extension/xextension/storage"
	"pgregory.net/rapid"

	"github.com/zastava-otel/zastava/internal/checkpoint"
	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// The model is a runtime whose answers are late and old, a disk that fails, a pipeline that refuses, and a process that dies
// at any step. The observer, tracker, mailbox, outbox and checkpoint are the real ones, in a bubble of fake time.

// life is a container of the model runtime with all that was ever true of it.
type life struct {
	c       *container.Container
	state   container.State
	run     container.Run
	removed time.Time
}

func (l *life) snapshot() container.Snapshot {
	return container.Snapshot{Container: l.c, State: l.state, Run: l.run}
}

// machine is the model runtime.
type machine struct {
	mu      sync.Mutex
	random  *rand.Rand
	carried bool // notices carry snapshots, as CRI's do; else they are bare, as containerd's own
	lives   map[string]*life
	order   []string
	told    []runtime.Notice // for replays
	post    func(runtime.Notice)
	broken  chan error
	down    bool
	listed  time.Time // when a list first succeeded
}

func (m *machine) late() {
	m.mu.Lock()
	d := time.Duration(m.random.IntN(8)) * time.Millisecond
	m.mu.Unlock()
	time.Sleep(d)
}

func (m *machine) Info(context.Context) (runtime.Info, error) {
	return runtime.Info{Engine: "model", Version: "1"}, nil
}

func (m *machine) List(_ context.Context, dst []runtime.Summary) ([]runtime.Summary, error) {
	m.mu.Lock()
	down := m.down
	for _, id := range m.order {
		if l := m.lives[id]; l.removed.IsZero() {
			dst = append(dst, runtime.Summary{ID: id, State: l.state, CreatedAt: l.c.CreatedAt.UnixNano(), Attempt: l.c.Attempt})
		}
	}
	m.mu.Unlock()
	m.late()
	if down {
		return nil, errors.New("the runtime is down")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.listed.IsZero() {
		m.listed = time.Now()
	}
	return dst, nil
}

func (m *machine) here(id string) (container.Snapshot, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.lives[id]
	if !ok || !l.removed.IsZero() {
		return container.Snapshot{}, false
	}
	return l.snapshot(), true
}

func (m *machine) Find(_ context.Context, id string) (runtime.Summary, error) {
	s, ok := m.here(id)
	m.late()
	if !ok {
		return runtime.Summary{}, runtime.ErrNotFound
	}
	return runtime.Summary{ID: id, State: s.State, CreatedAt: s.Container.CreatedAt.UnixNano()}, nil
}

// Describe works from the list item, which the runtime need not know any more.
func (m *machine) Describe(_ context.Context, s runtime.Summary) (*container.Container, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	described := *m.lives[s.ID].c
	return &described, nil
}

func (m *machine) Inspect(_ context.Context, c *container.Container) (container.Snapshot, error) {
	s, ok := m.here(c.ID)
	m.late() // what it saw may not be true any more when it is answered
	if !ok {
		return container.Snapshot{}, runtime.ErrNotFound
	}
	s.Container = c
	return s, nil
}

func (m *machine) Close() error { return nil }

func (m *machine) Watch(ctx context.Context, ready func(), post func(runtime.Notice)) error {
	m.mu.Lock()
	m.post = post
	m.mu.Unlock()
	ready()
	defer func() { m.mu.Lock(); m.post = nil; m.mu.Unlock() }()
	select {
	case err := <-m.broken:
		return err
	case <-ctx.Done():
		return nil
	}
}

// notice tells the stream, if there is one.
func (m *machine) notice(kind runtime.NoticeKind, l *life) {
	n := runtime.Notice{ID: l.c.ID, Kind: kind, At: time.Now()}
	if kind == runtime.NoticeExited {
		n.At, n.ExitCode = l.run.FinishedAt, l.run.ExitCode
	}
	if m.carried && kind != runtime.NoticeDeleted {
		s := l.snapshot()
		n.Snapshot = &s
	}
	if m.post == nil {
		return
	}
	m.told = append(m.told, n)
	m.post(n)
}

func (m *machine) pick(n int, ok func(*life) bool) *life {
	var fit []*life
	for _, id := range m.order {
		if l := m.lives[id]; l.removed.IsZero() && ok(l) {
			fit = append(fit, l)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[n%len(fit)]
}

// disk outlives the process.
type disk struct {
	mu    sync.Mutex
	data  map[string][]byte
	fails bool
	saved time.Time // when a checkpoint was first written that tells when the runtime was seen: what the stream tells may be written before
}

// death says where the process dies.
type death int

const (
	alive         death = iota
	beforeDeliver       // with transitions in the outbox
	afterDeliver        // accepted, and the checkpoint does not know
	beforeSave
	afterSave
	dead
)

// process is one life of the collector: an observer, its pipeline and its storage client.
type process struct {
	mu     sync.Mutex
	death  death
	block  chan struct{}
	world  *world
	cancel context.CancelFunc
	done   chan struct{}
	obs    *observer.Observer
}

// dies tells whether the process is dead, or dies here.
func (p *process) dies(here death) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.death == here {
		p.death = dead
	}
	return p.death == dead
}

var errDead = errors.New("the process is dead")

func (p *process) Deliver(ctx context.Context, items []observer.Item) error {
	if p.dies(beforeDeliver) {
		return errDead
	}
	p.mu.Lock()
	block := p.block
	p.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if p.dies(dead) {
		return errDead
	}
	p.world.deliver(items)
	if p.dies(afterDeliver) {
		return errDead
	}
	return nil
}

func (p *process) Get(_ context.Context, key string) ([]byte, error) {
	p.world.disk.mu.Lock()
	defer p.world.disk.mu.Unlock()
	return p.world.disk.data[key], nil
}

func (p *process) Set(ctx context.Context, key string, value []byte) error {
	return p.Batch(ctx, storage.SetOperation(key, value))
}

func (p *process) Delete(ctx context.Context, key string) error {
	return p.Batch(ctx, storage.DeleteOperation(key))
}

func (p *process) Batch(_ context.Context, ops ...*storage.Operation) error {
	writes := slices.ContainsFunc(ops, func(o *storage.Operation) bool { return o.Type != storage.Get })
	if writes && p.dies(beforeSave) {
		return errDead
	}
	d := p.world.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if writes && d.fails {
		return errors.New("the disk fails")
	}
	for _, o := range ops {
		switch o.Type {
		case storage.Get:
			o.Value = d.data[o.Key]
		case storage.Set:
			d.data[o.Key] = slices.Clone(o.Value)
		case storage.Delete:
			delete(d.data, o.Key)
		}
	}
	if d.saved.IsZero() && slices.ContainsFunc(ops, func(o *storage.Operation) bool {
		return o.Type == storage.Set && o.Key == "meta" && !bytes.Contains(o.Value, []byte(`"seen":0,`))
	}) {
		d.saved = time.Now()
	}
	if writes && p.dies(afterSave) {
		return errDead
	}
	return nil
}

func (p *process) Close(context.Context) error { return nil }

// world is all of it, and what the next consumer was given.
type world struct {
	*machine
	disk     *disk
	process  *process
	streamed bool

	accepted sync.Mutex
	trs      []container.Transition
	gaps     []container.Gap
	faults   []string
}

const outboxCapacity = 12

func (w *world) deliver(items []observer.Item) {
	w.accepted.Lock()
	defer w.accepted.Unlock()
	for _, it := range items {
		w.trs = append(w.trs, it.Transitions...)
		if it.Gap != nil {
			w.gaps = append(w.gaps, *it.Gap)
		}
	}
}

func (w *world) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// polls is a runtime without a stream.
type polls struct {
	runtime.Runtime
	runtime.Finder
}

func (w *world) boot() {
	p := &process{world: w, done: make(chan struct{})}
	var rt runtime.Runtime = w.machine
	if !w.streamed {
		rt = polls{w.machine, w.machine}
	}
	p.obs = observer.New(observer.Options{
		Name: "model", PollInterval: 2 * time.Second, ResyncInterval: time.Minute, Timeout: 5 * time.Second,
		Backoff:        retry.Options{Initial: time.Second, Max: 10 * time.Second, Multiplier: 2, Jitter: 0.5},
		Tracker:        tracker.Options{Inventory: tracker.InventoryAll},
		OutboxCapacity: outboxCapacity, MailboxCapacity: 4, InspectsAtOnce: 2,
	}, func(ctx context.Context) (runtime.Runtime, runtime.Info, error) {
		info, err := rt.Info(ctx)
		return rt, info, err
	}, p, checkpoint.New(p, "boot"), observer.Host{BootID: "boot"}, w, silent{}, func(error) {})
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() { p.obs.Run(ctx); close(p.done) }()
	w.process = p
}

// kill ends the process. Nothing of what it still does has an effect.
func (w *world) kill() {
	w.process.mu.Lock()
	w.process.death = dead
	w.process.mu.Unlock()
	w.stop()
}

// stop ends the process in an orderly way.
func (w *world) stop() {
	w.process.cancel()
	<-w.process.done
}

// The observer's telemetry: nothing of it is of interest here.

func (w *world) Listed(time.Duration, error)     {}
func (w *world) InspectFailed()                  {}
func (w *world) Transitions(container.Kind, int) {}
func (w *world) Reconnected()                    {}
func (w *world) MailboxOverflowed()              {}
func (w *world) Coalesced(int)                   {}
func (w *world) Gap(string)                      {}
func (w *world) CheckpointFailed()               {}

type silent struct{}

func (silent) Info(string, ...any) {}
func (silent) Warn(string, ...any) {}

// op is one thing that happens, drawn before the bubble begins.
type op struct {
	what string
	n    int
	wait time.Duration // before the next
}

var whats = []string{
	"create", "create", "create", "start", "start", "start", "start", "exit", "exit", "exit", "late oom", "remove", "remove",
	"flash", "flash", "flash", "replay", "burst", "cut", "down", "up", "block", "unblock", "disk fails", "disk works", "crash", "crash", "restart",
	"die before deliver", "die after deliver", "die before save", "die after save",
}

func (w *world) do(o op) {
	if o.what == "flash" { // a whole life in a moment
		w.do(op{what: "create", n: o.n})
		n := len(w.order) - 1
		for _, what := range []string{"start", "exit", "remove"} {
			time.Sleep(time.Duration(o.n%20) * time.Millisecond)
			w.doTo(w.lives[w.order[n]], op{what: what, n: o.n})
		}
		return
	}
	w.doTo(nil, o)
}

// doTo does it to the given container; nil: to any that it can be done to.
func (w *world) doTo(only *life, o op) {
	m := w.machine
	m.mu.Lock()
	locked := true
	defer func() {
		if locked {
			m.mu.Unlock()
		}
	}()
	switch o.what {
	case "create":
		c := &container.Container{Engine: "model", ID: fmt.Sprintf("c%d", len(m.order)), CreatedAt: time.Now(), Name: "app"}
		c.Pod.UID = fmt.Sprintf("u%d", o.n%3)
		for _, l := range m.lives {
			if l.c.Pod.UID == c.Pod.UID {
				c.Attempt = max(c.Attempt, l.c.Attempt+1)
			}
		}
		l := &life{c: c, state: container.StateCreated}
		m.lives[c.ID] = l
		m.order = append(m.order, c.ID)
		m.notice(runtime.NoticeCreated, l)
	case "start":
		if l := m.pick(o.n, func(l *life) bool { return (only == nil || l == only) && l.state == container.StateCreated }); l != nil {
			l.state, l.run.StartedAt = container.StateRunning, time.Now()
			m.notice(runtime.NoticeStarted, l)
		}
	case "exit":
		if l := m.pick(o.n, func(l *life) bool { return (only == nil || l == only) && l.state == container.StateRunning }); l != nil {
			l.state = container.StateExited
			l.run.FinishedAt, l.run.ExitCode, l.run.ExitKnown, l.run.Reason = time.Now(), uint32([]int{0, 1, 137}[o.n%3]), true, "Error"
			if l.run.ExitCode == 0 {
				l.run.Reason = "Completed"
			}
			m.notice(runtime.NoticeExited, l)
		}
	case "late oom":
		if l := m.pick(o.n, func(l *life) bool {
			return (only == nil || l == only) && l.state == container.StateExited && l.run.ExitCode == 137
		}); l != nil {
			l.run.Reason, l.run.OOMKilled = "OOMKilled", true
		}
	case "remove":
		if l := m.pick(o.n, func(l *life) bool { return (only == nil || l == only) && l.state != container.StateRunning }); l != nil {
			l.removed = time.Now()
			m.notice(runtime.NoticeDeleted, l)
		}
	case "replay":
		if len(m.told) > 0 && m.post != nil {
			m.post(m.told[o.n%len(m.told)])
		}
	case "burst":
		for i := range 8 {
			if m.post != nil {
				m.post(runtime.Notice{ID: fmt.Sprintf("sandbox-%d-%d", o.n, i), Kind: runtime.NoticeCreated, At: time.Now()})
			}
		}
	case "cut":
		m.mu.Unlock()
		locked = false
		select {
		case m.broken <- errors.New("the stream is cut"):
		default:
		}
	case "down", "up":
		m.down = o.what == "down"
	case "block":
		w.process.mu.Lock()
		if w.process.block == nil {
			w.process.block = make(chan struct{})
		}
		w.process.mu.Unlock()
	case "unblock":
		w.process.mu.Lock()
		if w.process.block != nil {
			close(w.process.block)
			w.process.block = nil
		}
		w.process.mu.Unlock()
	case "disk fails", "disk works":
		w.disk.mu.Lock()
		w.disk.fails = o.what == "disk fails"
		w.disk.mu.Unlock()
	case "die before deliver", "die after deliver", "die before save", "die after save":
		w.process.mu.Lock()
		w.process.death = map[string]death{
			"die before deliver": beforeDeliver, "die after deliver": afterDeliver, "die before save": beforeSave, "die after save": afterSave,
		}[o.what]
		w.process.mu.Unlock()
	case "crash", "restart":
		m.mu.Unlock()
		locked = false
		if o.what == "crash" {
			w.kill()
		} else {
			w.stop()
		}
		time.Sleep(time.Duration(o.n%10) * time.Second) // nobody watches
		w.boot()
	}
}

// play lets all of it happen, heals everything, and checks the account.
func (w *world) play(ops []op) {
	time.Sleep(time.Hour) // no checkpoint believes a time before the bubble's first moment, and a gap may begin before what shows it
	w.boot()
	for _, o := range ops {
		w.do(o)
		time.Sleep(o.wait)
		synctest.Wait()
		if n := w.process.obs.Stats().Outbox; n > outboxCapacity {
			w.fault("the outbox holds %d of %d", n, outboxCapacity)
		}
		if w.process.dies(dead) { // it died by itself: its supervisor starts it again
			w.stop()
			w.boot()
		}
	}
	for _, heal := range []string{"up", "unblock", "disk works"} {
		w.do(op{what: heal})
	}
	w.kill()
	w.boot()
	time.Sleep(10 * time.Minute)
	synctest.Wait()
	w.stop()
	w.check()
}

// check compares what was told with what was true.
func (w *world) check() {
	type about struct {
		id   string
		kind container.Kind
	}
	ids := map[about]map[string]bool{}
	for i := range w.trs {
		tr := &w.trs[i]
		a := about{tr.Container.ID, tr.Kind}
		if ids[a] == nil {
			ids[a] = map[string]bool{}
		}
		ids[a][record.EventID(tr)] = true
		w.checkTold(tr)
	}
	for a, all := range ids {
		if len(all) > 1 {
			w.fault("%s %s was told under %d ids", a.id, a.kind, len(all))
		}
	}
	told := func(id string, kinds ...container.Kind) bool {
		return slices.ContainsFunc(kinds, func(k container.Kind) bool { return len(ids[about{id, k}]) > 0 })
	}
	for _, id := range w.order {
		l := w.lives[id]
		complete := told(id, container.KindCreated) &&
			(l.run.StartedAt.IsZero() || told(id, container.KindStarted, container.KindRestarted)) &&
			(l.run.FinishedAt.IsZero() || told(id, container.KindStopped)) &&
			(l.removed.IsZero() || told(id, container.KindRemoved))
		if complete || (!l.removed.IsZero() && w.excused(l)) {
			continue
		}
		w.fault("%s (%+v, removed %s) was not told in full: %v", id, l.run, l.removed, w.account(id))
	}
}

func (w *world) account(id string) (out []string) {
	for i := range w.trs {
		if tr := &w.trs[i]; tr.Container.ID == id {
			out = append(out, fmt.Sprintf("%s at %s", tr.Kind, tr.When.Format("05.000")))
		}
	}
	for _, g := range w.gaps {
		out = append(out, fmt.Sprintf("gap %s %s to %s", g.Cause, g.From.Format("05.000"), g.To.Format("05.000")))
	}
	return out
}

// excused tells whether it was said that something may have been missed in a removed container's life, or nobody could know:
// there was no stream, or it was gone before the first inventory was taken and written down.
func (w *world) excused(l *life) bool {
	first := w.disk.saved
	if !w.streamed || first.IsZero() || (!l.c.CreatedAt.After(first) && l.removed.Before(first.Add(time.Second))) {
		return true
	}
	if w.listed.IsZero() || l.removed.Before(w.listed.Add(time.Second)) {
		return true
	}
	return slices.ContainsFunc(w.gaps, func(g container.Gap) bool {
		return !g.From.After(l.removed) && !g.To.Before(l.c.CreatedAt)
	})
}

// checkTold holds one transition against the truth.
func (w *world) checkTold(tr *container.Transition) {
	l := w.lives[tr.Container.ID]
	if l == nil {
		w.fault("%s was invented", tr.Container.ID)
		return
	}
	var truth time.Time
	switch tr.Kind {
	case container.KindCreated:
		truth = l.c.CreatedAt
	case container.KindStarted, container.KindRestarted:
		truth = l.run.StartedAt
		if truth.IsZero() {
			w.fault("%s never started", l.c.ID)
		}
	case container.KindStopped:
		truth = l.run.FinishedAt
		switch {
		case truth.IsZero():
			w.fault("%s never ended", l.c.ID)
		case tr.Run.ExitKnown && tr.Run.ExitCode != l.run.ExitCode:
			w.fault("%s exited with %d, not %d", l.c.ID, l.run.ExitCode, tr.Run.ExitCode)
		case tr.Run.OOMKilled && !l.run.OOMKilled:
			w.fault("%s was not killed for memory", l.c.ID)
		}
	case container.KindRemoved:
		truth = l.removed
		if truth.IsZero() {
			w.fault("%s is there", l.c.ID)
		}
	default:
		w.fault("%s of %s was invented", tr.Kind, l.c.ID)
	}
	switch {
	case tr.When.IsZero():
		w.fault("%s of %s has no time", tr.Kind, l.c.ID)
	case tr.Provenance.Precision == container.PrecisionExact && !tr.When.Equal(truth):
		w.fault("%s of %s at %s, not %s", tr.Kind, l.c.ID, truth, tr.When)
	case tr.When.Before(truth) || tr.Provenance.WindowStart.After(truth):
		w.fault("%s of %s at %s, not between %s and %s", tr.Kind, l.c.ID, truth, tr.Provenance.WindowStart, tr.When)
	}
}

// TestCrashesAtEveryStep plays random histories of a runtime, its stream, the pipeline, the disk and the process. Whatever
// dies at whatever step: what is told is true, each thing keeps its id, and what is true at the end was told or was said to
// be missed.
func TestCrashesAtEveryStep(t *testing.T) {
	for _, streamed := range []bool{true, false} {
		t.Run(fmt.Sprintf("stream=%v", streamed), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				ops := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) op {
					waits := []time.Duration{0, time.Millisecond, 20 * time.Millisecond, 600 * time.Millisecond, 2500 * time.Millisecond, 70 * time.Second}
					return op{
						what: rapid.SampledFrom(whats).Draw(rt, "what"), n: rapid.IntRange(0, 100).Draw(rt, "n"),
						wait: rapid.SampledFrom(waits).Draw(rt, "wait"),
					}
				}), 1, 60).Draw(rt, "ops")
				seed, carried := rapid.Uint64().Draw(rt, "seed"), rapid.Bool().Draw(rt, "carried")
				var faults []string
				synctest.Test(t, func(*testing.T) {
					w := &world{
						machine: &machine{
							random: rand.New(rand.NewPCG(seed, 1)), carried: carried, lives: map[string]*life{}, broken: make(chan error),
						},
						disk: &disk{data: map[string][]byte{}}, streamed: streamed,
					}
					w.play(ops)
					faults = w.faults
				})
				if len(faults) > 0 {
					slices.Sort(faults)
					rt.Fatalf("%d faults: %q", len(faults), slices.Compact(faults))
				}
			})
		})
	}
}
