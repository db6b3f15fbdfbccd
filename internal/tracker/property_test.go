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

// modelRun is one life in the model runtime.
type modelRun struct {
	start, finish time.Time
	code          uint32
	reason        string
}

// modelContainer is one container of the model runtime, with all it ever did.
type modelContainer struct {
	facts   *container.Container
	runs    []modelRun
	paused  bool
	removed bool
	looked  bool // some applied look showed it
	visible map[int]bool
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

// world is the model runtime together with the tracker that looks at it and all that was reported.
type world struct {
	t          *rapid.T
	now        time.Time
	containers map[string]*modelContainer
	tracker    *Tracker
	lastLook   time.Time
	behind     map[string]time.Time // the last look that was taken of a container of which later ones were refused
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

// apply hands a change on, or drops it as a refusing pipeline would.
func (w *world) apply(c Change, s *container.Snapshot) {
	if rapid.IntRange(0, 4).Draw(w.t, "refuse") == 0 {
		if _, ok := w.behind[c.ID]; !ok {
			w.behind[c.ID] = w.lastLook
		}
		return
	}
	delete(w.behind, c.ID)
	w.tracker.Apply(&c)
	w.reported = append(w.reported, c.Transitions...)
	if s != nil {
		m := w.containers[s.Container.ID]
		m.looked = true
		if len(m.runs) > 0 {
			m.visible[len(m.runs)-1] = true
		}
	}
}

func (w *world) look(*rapid.T) {
	w.tick()
	for i := range len(w.containers) {
		c := w.containers[fmt.Sprintf("c%d", i)]
		l := Observation{At: w.now, Since: w.lastLook, Source: container.SourceList}
		if since, ok := w.behind[c.facts.ID]; ok {
			l.Since = since
		}
		if c.removed {
			w.apply(w.tracker.Absent(c.facts.ID, l), nil)
			continue
		}
		s := c.snapshot()
		w.apply(w.tracker.Observe(s, l), s)
		w.stale = append(w.stale, s)
	}
	w.lastLook = w.now
}

// staleLook repeats what some earlier look showed of a container that is still remembered.
func (w *world) staleLook(*rapid.T) {
	if len(w.stale) == 0 {
		w.t.Skip("none")
	}
	s := rapid.SampledFrom(w.stale).Draw(w.t, "stale")
	k := w.tracker.Known(s.Container.ID)
	if k == nil || s.State == container.StateRunning || s.State == container.StatePaused {
		w.t.Skip("a removed container's notice is the observer's to drop; pausing has no order within a run")
	}
	before := *k
	c := w.tracker.Observe(s, Observation{At: w.now, Since: w.lastLook, Source: container.SourceStream})
	if before.Run.StartedAt.After(s.Run.StartedAt) || (before.State == container.StateExited && before.Run.StartedAt.Equal(s.Run.StartedAt) && before.Run.FinishedAt.Equal(s.Run.FinishedAt) && before.Run.Reason == s.Run.Reason) {
		require.Empty(w.t, c.Transitions, "a stale look told something")
	}
}

// check compares all that was reported with all that happened.
func (w *world) check(rt *rapid.T) {
	type key struct {
		id      string
		kind    container.Kind
		at      int64
		ordinal uint32
		rev     uint32
	}
	ids := map[key]bool{}
	starts, stops := map[string]int{}, map[string]int{}
	perContainer := map[string]map[container.Kind]int{}
	for i := range w.reported {
		tr := &w.reported[i]
		id := tr.Container.ID
		k := key{id, tr.Kind, tr.KeyTime().UnixNano(), tr.Ordinal, tr.Revision}
		require.False(rt, ids[k], "id collides: %+v", k)
		ids[k] = true
		require.False(rt, tr.When.IsZero())
		require.False(rt, tr.Provenance.WindowStart.After(tr.When))
		m := w.containers[id]
		if perContainer[id] == nil {
			perContainer[id] = map[container.Kind]int{}
		}
		perContainer[id][tr.Kind]++
		var run *modelRun
		for j := range m.runs {
			if m.runs[j].start.Equal(tr.Run.StartedAt) {
				run = &m.runs[j]
			}
		}
		runID := fmt.Sprint(id, tr.Run.StartedAt.UnixNano())
		switch tr.Kind {
		case container.KindStarted, container.KindRestarted:
			require.NotNil(rt, run, "a run was invented")
			require.Equal(rt, run.start, tr.When)
			starts[runID]++
		case container.KindStopped:
			require.NotNil(rt, run, "the end of no run")
			require.False(rt, run.finish.IsZero(), "a run that goes on was reported to have ended")
			if tr.Revision == 0 {
				stops[runID]++
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
			require.True(rt, m.removed, "removed, but it is there")
		}
	}
	for id, m := range w.containers {
		kinds := perContainer[id]
		if !m.looked {
			require.Empty(rt, kinds, "reported without a look")
			continue
		}
		require.Equal(rt, 1, kinds[container.KindCreated], "%s created", id)
		require.LessOrEqual(rt, kinds[container.KindRemoved], 1)
		for j, r := range m.runs {
			runID := fmt.Sprint(id, r.start.UnixNano())
			require.LessOrEqual(rt, starts[runID], 1)
			require.LessOrEqual(rt, stops[runID], starts[runID])
			if m.visible[j] {
				require.Equal(rt, 1, starts[runID], "%s run %d was visible", id, j)
			} else {
				require.Zero(rt, starts[runID])
			}
			superseded := false
			for later := range m.visible {
				superseded = superseded || later > j
			}
			if m.visible[j] && (superseded || w.tracker.Known(id) == nil) {
				require.Equal(rt, 1, stops[runID], "%s run %d ended", id, j)
			}
		}
	}
	w.checkMissed(rt)
}

// checkMissed adds up the runs that were said to be missed and compares with those that were.
func (w *world) checkMissed(rt *rapid.T) {
	if !w.sameID {
		return
	}
	told := map[string]int{}
	for i := range w.reported {
		tr := &w.reported[i]
		if tr.Kind == container.KindRestarted {
			require.False(rt, tr.Provenance.MissedUnknown, "the counter tells")
			told[tr.Container.ID] += int(tr.Provenance.MissedRuns)
		}
	}
	for id, m := range w.containers {
		if m.going() && m.visible[len(m.runs)-1] {
			require.Equal(rt, len(m.runs)-len(m.visible), told[id], "missed runs of %s", id)
		}
	}
}

// TestRandomHistories looks at random moments at a model runtime that lives a random history: every run that was visible
// at any look is reported exactly once, ids never collide and nothing is invented, although changes are refused at random
// and old looks come again.
func TestRandomHistories(t *testing.T) {
	for _, sameID := range []bool{false, true} {
		t.Run(fmt.Sprintf("one id many runs=%v", sameID), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				w := &world{t: rt, now: t0, containers: map[string]*modelContainer{}, behind: map[string]time.Time{}, tracker: New(Options{CrashLoopThreshold: 3, CrashLoopWindow: time.Minute}), sameID: sameID}
				rt.Repeat(map[string]func(*rapid.T){
					"create": w.create, "start": w.start, "exit": w.exit, "late OOM": w.lateOOM, "pause": w.pause,
					"remove": w.remove, "look": w.look, "stale": w.staleLook,
				})
				w.check(rt)
			})
		})
	}
}
