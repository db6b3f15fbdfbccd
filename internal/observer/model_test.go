// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/zastava-otel/zastava/internal/checkpoint"
	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// The model is a runtime whose answers are late and old, a disk that fails, a pipeline that refuses, and a process that dies at any
// step. The observer, tracker, mailbox, outbox and checkpoint are the real ones, in a bubble of fake time.

// world is all of it, and what the next consumer received.
type world struct {
	*machine
	disk     *disk
	process  *process
	streamed bool

	accepted    sync.Mutex
	transitions []container.Transition
	gaps        []container.Gap
	faults      []string
}

const outboxCapacity = 12

func (w *world) deliver(items []observer.Item) {
	w.accepted.Lock()
	defer w.accepted.Unlock()
	for _, it := range items {
		w.transitions = append(w.transitions, it.Transitions...)
		if it.Gap != nil {
			w.gaps = append(w.gaps, *it.Gap)
		}
	}
}

func (w *world) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// pollOnly is a runtime without a stream.
type pollOnly struct {
	runtime.Runtime
	runtime.Finder
}

func (w *world) boot() {
	p := &process{world: w, done: make(chan struct{})}
	var rt runtime.Runtime = w.machine
	if !w.streamed {
		rt = pollOnly{w.machine, w.machine}
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

// kill ends the process at once: what it still does has no effect.
func (w *world) kill() {
	w.process.mu.Lock()
	w.process.death = dead
	w.process.mu.Unlock()
	w.stop()
}

// stop ends the process in order.
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

// drawn is what can happen, some of it more often than the rest. A flash is a whole life in a moment.
var drawn = []string{
	"create", "create", "create", "start", "start", "start", "start", "exit", "exit", "exit", "late oom", "remove", "remove",
	"flash", "flash", "flash", "replay", "burst", "cut", "down", "up", "block", "unblock", "disk fails", "disk works", "crash", "crash", "restart",
	"die before deliver", "die after deliver", "die before save", "die after save",
}

// actions are done to a given container, or to any that they can be done to if that is nil. n selects among the possibilities.
var actions = map[string]func(w *world, only *life, n int){
	"create":   locked((*machine).create),
	"start":    locked((*machine).start),
	"exit":     locked((*machine).exit),
	"late oom": locked((*machine).lateOOM),
	"remove":   locked((*machine).remove),
	"replay":   locked((*machine).replay),
	"burst":    locked((*machine).burst),
	"down":     locked(func(m *machine, _ *life, _ int) { m.down = true }),
	"up":       locked(func(m *machine, _ *life, _ int) { m.down = false }),
	"cut": func(w *world, _ *life, _ int) {
		select {
		case w.broken <- errors.New("the stream is cut"):
		default:
		}
	},
	"block":   func(w *world, _ *life, _ int) { w.process.setBlocked(true) },
	"unblock": func(w *world, _ *life, _ int) { w.process.setBlocked(false) },

	"disk fails": func(w *world, _ *life, _ int) { w.disk.setFails(true) },
	"disk works": func(w *world, _ *life, _ int) { w.disk.setFails(false) },

	"die before deliver": func(w *world, _ *life, _ int) { w.process.dieAt(beforeDeliver) },
	"die after deliver":  func(w *world, _ *life, _ int) { w.process.dieAt(afterDeliver) },
	"die before save":    func(w *world, _ *life, _ int) { w.process.dieAt(beforeSave) },
	"die after save":     func(w *world, _ *life, _ int) { w.process.dieAt(afterSave) },

	"crash":   func(w *world, _ *life, n int) { w.kill(); w.bootAfter(n) },
	"restart": func(w *world, _ *life, n int) { w.stop(); w.bootAfter(n) },
}

// locked returns an action on the machine.
func locked(do func(*machine, *life, int)) func(*world, *life, int) {
	return func(w *world, only *life, n int) {
		w.machine.mu.Lock()
		defer w.machine.mu.Unlock()
		do(w.machine, only, n)
	}
}

func (w *world) do(o op) {
	if o.what != "flash" {
		actions[o.what](w, nil, o.n)
		return
	}
	actions["create"](w, nil, o.n)
	l := w.lives[w.order[len(w.order)-1]]
	for _, what := range []string{"start", "exit", "remove"} {
		time.Sleep(time.Duration(o.n%20) * time.Millisecond)
		actions[what](w, l, o.n)
	}
}

// bootAfter boots after some seconds in which nothing is observed.
func (w *world) bootAfter(n int) {
	time.Sleep(time.Duration(n%10) * time.Second)
	w.boot()
}

// play does all of it, heals everything, and checks what was reported.
func (w *world) play(ops []op) {
	time.Sleep(time.Hour) // a checkpoint uses no time before the bubble's first moment, and a gap may begin before what shows it
	w.boot()
	for _, o := range ops {
		w.do(o)
		time.Sleep(o.wait)
		synctest.Wait()
		if n := w.process.obs.Stats().Outbox; n > outboxCapacity {
			w.fault("the outbox holds %d of %d", n, outboxCapacity)
		}
		if w.process.dies(dead) { // it died of its own: its supervisor starts it again
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

// check compares what was reported with what was true.
func (w *world) check() {
	type about struct {
		id   string
		kind container.Kind
	}
	ids := map[about]map[string]bool{}
	for i := range w.transitions {
		tr := &w.transitions[i]
		a := about{tr.Container.ID, tr.Kind}
		if ids[a] == nil {
			ids[a] = map[string]bool{}
		}
		ids[a][record.EventID(tr)] = true
		w.checkTransition(tr)
	}
	for a, all := range ids {
		if len(all) > 1 {
			w.fault("%s %s was reported under %d ids", a.id, a.kind, len(all))
		}
	}
	for _, id := range w.order {
		l := w.lives[id]
		complete := l.complete(func(kind container.Kind) bool { return len(ids[about{id, kind}]) > 0 })
		if complete || (!l.removed.IsZero() && w.excused(l)) {
			continue
		}
		w.fault("%s (%+v, removed %s) was not reported in full: %v", id, l.run, l.removed, w.account(id))
	}
}

// complete reports whether all that is true of a container was reported.
func (l *life) complete(reported func(container.Kind) bool) bool {
	return reported(container.KindCreated) &&
		(l.run.StartedAt.IsZero() || reported(container.KindStarted) || reported(container.KindRestarted)) &&
		(l.run.FinishedAt.IsZero() || reported(container.KindStopped)) &&
		(l.removed.IsZero() || reported(container.KindRemoved))
}

// account returns what was reported of a container, and all gaps.
func (w *world) account(id string) (out []string) {
	for i := range w.transitions {
		if tr := &w.transitions[i]; tr.Container.ID == id {
			out = append(out, fmt.Sprintf("%s at %s", tr.Kind, tr.When.Format("05.000")))
		}
	}
	for _, g := range w.gaps {
		out = append(out, fmt.Sprintf("gap %s %s to %s", g.Cause, g.From.Format("05.000"), g.To.Format("05.000")))
	}
	return out
}

// excused reports whether a gap covers a removed container's life, or nothing could have shown it: there was no stream, or it was gone
// before the first inventory was taken and saved.
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

// checkTransition compares one transition with the truth.
func (w *world) checkTransition(tr *container.Transition) {
	l := w.lives[tr.Container.ID]
	if l == nil {
		w.fault("%s was invented", tr.Container.ID)
		return
	}
	truth := w.truth(tr, l)
	if tr.Kind == container.KindStopped && !truth.IsZero() {
		w.checkEnd(tr, l)
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

// truth returns when a transition really took place. That it did not is a fault.
func (w *world) truth(tr *container.Transition, l *life) (at time.Time) {
	switch tr.Kind {
	case container.KindCreated:
		return l.c.CreatedAt
	case container.KindStarted, container.KindRestarted:
		if at = l.run.StartedAt; at.IsZero() {
			w.fault("%s never started", l.c.ID)
		}
	case container.KindStopped:
		if at = l.run.FinishedAt; at.IsZero() {
			w.fault("%s never ended", l.c.ID)
		}
	case container.KindRemoved:
		if at = l.removed; at.IsZero() {
			w.fault("%s still exists", l.c.ID)
		}
	default:
		w.fault("%s of %s was invented", tr.Kind, l.c.ID)
	}
	return at
}

func (w *world) checkEnd(tr *container.Transition, l *life) {
	switch {
	case tr.Run.ExitKnown && tr.Run.ExitCode != l.run.ExitCode:
		w.fault("%s exited with %d, not %d", l.c.ID, l.run.ExitCode, tr.Run.ExitCode)
	case tr.Run.OOMKilled && !l.run.OOMKilled:
		w.fault("%s was not killed for memory", l.c.ID)
	}
}

// TestCrashesAtEveryStep plays random histories of a runtime, its stream, the pipeline, the disk and the process. Whatever dies at
// whatever step: what is reported is true, each thing keeps its id, and what is true at the end was reported or is covered by a gap.
func TestCrashesAtEveryStep(t *testing.T) {
	for _, streamed := range []bool{true, false} {
		t.Run(fmt.Sprintf("stream=%v", streamed), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				ops := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) op {
					waits := []time.Duration{0, time.Millisecond, 20 * time.Millisecond, 600 * time.Millisecond, 2500 * time.Millisecond, 70 * time.Second}
					return op{
						what: rapid.SampledFrom(drawn).Draw(rt, "what"), n: rapid.IntRange(0, 100).Draw(rt, "n"),
						wait: rapid.SampledFrom(waits).Draw(rt, "wait"),
					}
				}), 1, 60).Draw(rt, "ops")
				seed, snapshots := rapid.Uint64().Draw(rt, "seed"), rapid.Bool().Draw(rt, "snapshots")
				var faults []string
				synctest.Test(t, func(*testing.T) {
					w := &world{
						machine: &machine{
							random: rand.New(rand.NewPCG(seed, 1)), snapshots: snapshots, lives: map[string]*life{}, broken: make(chan error),
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
