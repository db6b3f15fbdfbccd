// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/zastava-otel/zastava/internal/container"
)

// modelRun is one run in the model runtime.
type modelRun struct {
	start, finish time.Time
	code          uint32
	reason        string
}

// modelContainer is one container of the model runtime with its history.
type modelContainer struct {
	facts    *container.Container
	runs     []modelRun
	paused   bool
	removed  bool
	observed bool         // by an applied change
	visible  map[int]bool // runs shown by an applied change
}

func (c *modelContainer) going() bool {
	return len(c.runs) > 0 && c.runs[len(c.runs)-1].finish.IsZero()
}

func (c *modelContainer) snapshot() *container.Snapshot {
	s := &container.Snapshot{Container: c.facts, State: container.StateCreated}
	if len(c.runs) == 0 {
		return s
	}
	r := c.runs[len(c.runs)-1]
	s.RestartCount = max(uint32(len(c.runs)-1), c.facts.Attempt)
	s.Run.StartedAt = r.start
	switch {
	case c.going() && c.paused:
		s.State = container.StatePaused
	case c.going():
		s.State = container.StateRunning
	default:
		s.State = container.StateExited
		s.Run.FinishedAt, s.Run.ExitCode, s.Run.ExitKnown, s.Run.Reason = r.finish, r.code, true, r.reason
		s.Run.OOMKilled = r.reason == "OOMKilled"
	}
	return s
}

// world is the model runtime, the tracker that observes it, and all reported transitions.
type world struct {
	t          *rapid.T
	now        time.Time
	containers map[string]*modelContainer
	tracker    *Tracker
	lastPoll   time.Time
	behind     map[string]time.Time // of containers with refused changes: the last applied observation
	reported   []container.Transition
	stale      []*container.Snapshot
	sameID     bool // one id, many runs (Docker); else one run per id (CRI)
}

func (w *world) pick(label string, ok func(*modelContainer) bool) *modelContainer {
	var ids []string
	for i := range len(w.containers) {
		id := fmt.Sprintf("c%d", i)
		if c := w.containers[id]; !c.removed && ok(c) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		w.t.Skip("none")
	}
	return w.containers[rapid.SampledFrom(ids).Draw(w.t, label)]
}

func (w *world) tick() {
	w.now = w.now.Add(time.Duration(rapid.IntRange(1, 5000).Draw(w.t, "ms")) * time.Millisecond)
}

func (w *world) create(*rapid.T) {
	w.tick()
	n := len(w.containers)
	c := &container.Container{Engine: "model", ID: fmt.Sprintf("c%d", n), CreatedAt: w.now}
	if !w.sameID {
		pod := rapid.IntRange(0, 2).Draw(w.t, "pod")
		c.Name, c.Pod.UID = "app", fmt.Sprintf("u%d", pod)
		for _, other := range w.containers {
			if other.facts.Pod.UID == c.Pod.UID {
				c.Attempt = max(c.Attempt, other.facts.Attempt+1)
			}
		}
	}
	w.containers[c.ID] = &modelContainer{facts: c, visible: map[int]bool{}}
}

func (w *world) start(*rapid.T) {
	c := w.pick("start", func(c *modelContainer) bool { return !c.going() && (w.sameID || len(c.runs) == 0) })
	w.tick()
	c.runs = append(c.runs, modelRun{start: w.now})
	c.paused = false
}

func (w *world) exit(*rapid.T) {
	c := w.pick("exit", (*modelContainer).going)
	w.tick()
	r := &c.runs[len(c.runs)-1]
	r.finish, r.code, r.reason = w.now, rapid.SampledFrom([]uint32{0, 3, 137, 3221225786}).Draw(w.t, "code"), "Error"
}

func (w *world) lateOOM(*rapid.T) {
	c := w.pick("late OOM", func(c *modelContainer) bool {
		return len(c.runs) > 0 && !c.going() && c.runs[len(c.runs)-1].code == 137
	})
	c.runs[len(c.runs)-1].reason = "OOMKilled"
}

func (w *world) pause(*rapid.T) {
	c := w.pick("pause", (*modelContainer).going)
	w.tick()
	c.paused = !c.paused
}

func (w *world) remove(*rapid.T) {
	c := w.pick("remove", func(c *modelContainer) bool { return !c.going() })
	w.tick()
	c.removed = true
}

// apply applies a change, or drops it as an observer does when the pipeline refuses.
func (w *world) apply(c Change, s *container.Snapshot) {
	if rapid.IntRange(0, 4).Draw(w.t, "refuse") == 0 {
		if _, ok := w.behind[c.ID]; !ok {
			w.behind[c.ID] = w.lastPoll
		}
		return
	}
	delete(w.behind, c.ID)
	w.tracker.Apply(&c)
	w.reported = append(w.reported, c.Transitions...)
	if s != nil {
		m := w.containers[s.Container.ID]
		m.observed = true
		if len(m.runs) > 0 {
			m.visible[len(m.runs)-1] = true
		}
	}
}

func (w *world) poll(*rapid.T) {
	w.tick()
	for i := range len(w.containers) {
		c := w.containers[fmt.Sprintf("c%d", i)]
		o := Observation{At: w.now, Since: w.lastPoll, Source: container.SourceList}
		if since, ok := w.behind[c.facts.ID]; ok {
			o.Since = since
		}
		if c.removed {
			w.apply(w.tracker.Absent(c.facts.ID, o), nil)
			continue
		}
		s := c.snapshot()
		w.apply(w.tracker.Observe(s, o), s)
		w.stale = append(w.stale, s)
	}
	w.lastPoll = w.now
}

// staleNotice repeats an earlier snapshot of a container that is still tracked.
func (w *world) staleNotice(*rapid.T) {
	if len(w.stale) == 0 {
		w.t.Skip("none")
	}
	s := rapid.SampledFrom(w.stale).Draw(w.t, "stale")
	k := w.tracker.Known(s.Container.ID)
	if k == nil || s.State == container.StateRunning || s.State == container.StatePaused {
		w.t.Skip("the observer drops notices of removed containers, and pauses have no order within a run")
	}
	before := *k
	c := w.tracker.Observe(s, Observation{At: w.now, Since: w.lastPoll, Source: container.SourceStream})
	if before.Run.StartedAt.After(s.Run.StartedAt) || (before.State == container.StateExited && before.Run.StartedAt.Equal(s.Run.StartedAt) && before.Run.FinishedAt.Equal(s.Run.FinishedAt) && before.Run.Reason == s.Run.Reason) {
		require.Empty(w.t, c.Transitions, "a stale snapshot yielded a transition")
	}
}

// runKey identifies one run of one container.
func runKey(id string, start time.Time) string { return fmt.Sprint(id, start.UnixNano()) }

// tally counts the reported transitions by run and by container.
type tally struct {
	starts, stops map[string]int
	kinds         map[string]map[container.Kind]int
}

// check compares all reported transitions with the history of the model runtime.
func (w *world) check(rt *rapid.T) {
	type key struct {
		id      string
		kind    container.Kind
		at      int64
		ordinal uint32
		rev     uint32
	}
	ids := map[key]bool{}
	sum := tally{starts: map[string]int{}, stops: map[string]int{}, kinds: map[string]map[container.Kind]int{}}
	for i := range w.reported {
		tr := &w.reported[i]
		k := key{tr.Container.ID, tr.Kind, tr.KeyTime().UnixNano(), tr.Ordinal, tr.Revision}
		require.False(rt, ids[k], "id collides: %+v", k)
		ids[k] = true
		require.False(rt, tr.When.IsZero())
		require.False(rt, tr.Provenance.WindowStart.After(tr.When))
		w.checkTransition(rt, tr, &sum)
	}
	for id, m := range w.containers {
		w.checkContainer(rt, id, m, &sum)
	}
	w.checkMissed(rt)
}

// checkTransition compares one reported transition with the run that it belongs to.
func (w *world) checkTransition(rt *rapid.T, tr *container.Transition, sum *tally) {
	id := tr.Container.ID
	m := w.containers[id]
	if sum.kinds[id] == nil {
		sum.kinds[id] = map[container.Kind]int{}
	}
	sum.kinds[id][tr.Kind]++
	var run *modelRun
	for j := range m.runs {
		if m.runs[j].start.Equal(tr.Run.StartedAt) {
			run = &m.runs[j]
		}
	}
	switch tr.Kind {
	case container.KindStarted, container.KindRestarted:
		require.NotNil(rt, run, "a run was invented")
		require.Equal(rt, run.start, tr.When)
		sum.starts[runKey(id, run.start)]++
	case container.KindStopped:
		require.NotNil(rt, run, "the end of an unknown run")
		require.False(rt, run.finish.IsZero(), "a running run was reported as ended")
		if tr.Revision == 0 {
			sum.stops[runKey(id, run.start)]++
		}
		if tr.Run.ExitKnown {
			require.Equal(rt, run.code, tr.Run.ExitCode)
		}
		if tr.Provenance.Precision == container.PrecisionExact {
			require.Equal(rt, run.finish, tr.When)
		} else {
			require.False(rt, run.finish.After(tr.When), "ended after the window")
			require.False(rt, run.finish.Before(tr.Provenance.WindowStart), "ended before the window")
		}
	case container.KindRemoved:
		require.True(rt, m.removed, "an existing container was reported as removed")
	}
}

// checkContainer compares the counts of one container with its history.
func (w *world) checkContainer(rt *rapid.T, id string, m *modelContainer, sum *tally) {
	kinds := sum.kinds[id]
	if !m.observed {
		require.Empty(rt, kinds, "reported without an observation")
		return
	}
	require.Equal(rt, 1, kinds[container.KindCreated], "%s created", id)
	require.LessOrEqual(rt, kinds[container.KindRemoved], 1)
	for j, r := range m.runs {
		run := runKey(id, r.start)
		require.LessOrEqual(rt, sum.starts[run], 1)
		require.LessOrEqual(rt, sum.stops[run], sum.starts[run])
		if m.visible[j] {
			require.Equal(rt, 1, sum.starts[run], "%s run %d was visible", id, j)
		} else {
			require.Zero(rt, sum.starts[run])
		}
		superseded := false
		for later := range m.visible {
			superseded = superseded || later > j
		}
		if m.visible[j] && (superseded || w.tracker.Known(id) == nil) {
			require.Equal(rt, 1, sum.stops[run], "%s run %d ended", id, j)
		}
	}
}

// checkMissed compares the reported number of missed runs with the real one.
func (w *world) checkMissed(rt *rapid.T) {
	if !w.sameID {
		return
	}
	reported := map[string]int{}
	for i := range w.reported {
		tr := &w.reported[i]
		if tr.Kind == container.KindRestarted {
			require.False(rt, tr.Provenance.MissedUnknown, "the runtime counts restarts")
			reported[tr.Container.ID] += int(tr.Provenance.MissedRuns)
		}
	}
	for id, m := range w.containers {
		if m.going() && m.visible[len(m.runs)-1] {
			require.Equal(rt, len(m.runs)-len(m.visible), reported[id], "missed runs of %s", id)
		}
	}
}

// A model runtime goes through a random history and is observed at random moments. Every run that some observation shows is
// reported exactly once, ids never collide and nothing is invented, although changes are refused and old snapshots repeated.
func TestTrackerReportsEveryVisibleRunOnceInRandomHistories(t *testing.T) {
	for _, sameID := range []bool{false, true} {
		t.Run(fmt.Sprintf("one id many runs=%v", sameID), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				w := &world{t: rt, now: t0, containers: map[string]*modelContainer{}, behind: map[string]time.Time{}, tracker: New(Options{CrashLoopThreshold: 3, CrashLoopWindow: time.Minute}), sameID: sameID}
				rt.Repeat(map[string]func(*rapid.T){
					"create": w.create, "start": w.start, "exit": w.exit, "late OOM": w.lateOOM, "pause": w.pause,
					"remove": w.remove, "poll": w.poll, "stale": w.staleNotice,
				})
				w.check(rt)
			})
		})
	}
}
