// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// rerunning is a runtime where one id has many runs, as Docker's: it tells everything by notices, some milliseconds later,
// and an inspect takes a while.
type rerunning struct {
	*streaming
	inspectTakes time.Duration
}

func newRerunning() *rerunning { return &rerunning{streaming: newStreaming()} }

func (r *rerunning) Info(context.Context) (runtime.Info, error) {
	return runtime.Info{Engine: "docker", Version: "1", ShowsPause: true, RestartsInPlace: true}, nil
}

// Inspect shows the container as it was when the inspect began.
func (r *rerunning) Inspect(ctx context.Context, c *container.Container) (container.Snapshot, error) {
	s, err := r.scripted.Inspect(ctx, c)
	time.Sleep(r.inspectTakes)
	return s, err
}

func (r *rerunning) tell(id string, kind runtime.NoticeKind, code uint32) {
	time.Sleep(time.Millisecond)
	r.notice(runtime.Notice{ID: id, Kind: kind, At: time.Now(), ExitCode: code, Described: &container.Container{Name: id, Image: container.Image{Reference: "img"}}})
}

func (r *rerunning) born(id string) {
	r.create(id)
	r.tell(id, runtime.NoticeCreated, 0)
}

// run starts the container again, keeping the end of the run before as Docker does.
func (r *rerunning) run(id string, byPolicy bool) {
	r.do(func() {
		s := r.containers[id]
		s.State, s.Run = container.StateRunning, container.Run{StartedAt: time.Now(), FinishedAt: s.Run.FinishedAt}
		if byPolicy {
			s.RestartCount++
		}
		r.containers[id] = s
	})
	r.tell(id, runtime.NoticeStarted, 0)
}

func (r *rerunning) die(id string, code uint32) {
	r.exit(id, code, exitReason(code))
	r.tell(id, runtime.NoticeExited, code)
}

// told gives kind, exit code and missed runs of everything that was reported.
func (b *bench) life() []string {
	b.sink.mu.Lock()
	defer b.sink.mu.Unlock()
	var out []string
	for i := range b.sink.trs {
		tr := &b.sink.trs[i]
		s := tr.Kind.String()
		if tr.Kind == container.KindStopped {
			s += fmt.Sprintf(" %d known=%t", tr.Run.ExitCode, tr.Run.ExitKnown)
		}
		if tr.Provenance.MissedRuns > 0 || tr.Provenance.MissedUnknown {
			s += fmt.Sprintf(" missed=%d unknown=%t", tr.Provenance.MissedRuns, tr.Provenance.MissedUnknown)
		}
		out = append(out, s)
	}
	return out
}

func rerun(t *testing.T, inspectTakes time.Duration, life func(*rerunning), expect ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRerunning()
		r.inspectTakes = inspectTakes
		b := observe(t, r, r.scripted, nil)
		pass(3 * time.Second)
		life(r)
		pass(3 * time.Second)
		b.stop()
		assert.Equal(t, expect, b.life())
		for i := range b.sink.trs {
			assert.NotZero(t, b.sink.trs[i].When)
		}
		assert.Empty(t, b.tel.gaps, "nothing was missed")
	})
}

func TestRestartsByPolicyEvery100Milliseconds(t *testing.T) {
	expect := []string{"created", "started", "stopped 1 known=true"}
	for range 9 {
		expect = append(expect, "restarted", "stopped 1 known=true")
	}
	rerun(t, 2*time.Millisecond, func(r *rerunning) {
		r.born("a")
		for i := range 10 {
			r.run("a", i > 0)
			time.Sleep(20 * time.Millisecond)
			r.die("a", 1)
			time.Sleep(100 * time.Millisecond)
		}
	}, expect...)
}

func TestRestartByHandWhileItIsLookedAt(t *testing.T) {
	for _, takes := range []time.Duration{0, 5 * time.Millisecond, 50 * time.Millisecond} {
		t.Run(fmt.Sprint("an inspect takes ", takes), func(t *testing.T) {
			rerun(t, takes, func(r *rerunning) {
				r.born("a")
				time.Sleep(time.Second)
				r.run("a", false)
				time.Sleep(time.Second)
				r.tell("a", runtime.NoticeChanged, 0) // an inspect is under way
				r.die("a", 143)
				r.run("a", false)
			}, "created", "started", "stopped 143 known=true", "restarted")
		})
	}
}

func TestRunsThatNoLookShowedAreCounted(t *testing.T) {
	rerun(t, 100*time.Millisecond, func(r *rerunning) {
		r.born("a")
		r.run("a", false)
		time.Sleep(time.Second)
		r.die("a", 1)
		r.run("a", false) // the look at this one takes long, and shows it
		time.Sleep(10 * time.Millisecond)
		r.die("a", 2)
		r.run("a", false)
		r.die("a", 3)
		r.run("a", false)
	}, "created", "started", "stopped 1 known=true", "restarted", "stopped 2 known=true", "restarted missed=1 unknown=false")
}

func TestRunsWithoutAStreamAreUnknownUnlessTheEngineCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRerunning()
		b := observe(t, listing{r}, r.scripted, nil)
		r.create("a")
		r.start("a")
		pass(3 * time.Second)
		restart := func(counted uint32) {
			r.exit("a", 1, "Error")
			time.Sleep(time.Millisecond)
			r.do(func() {
				s := r.containers["a"]
				s.State, s.Run, s.RestartCount = container.StateRunning, container.Run{StartedAt: time.Now(), FinishedAt: s.Run.FinishedAt}, s.RestartCount+counted
				r.containers["a"] = s
			})
		}
		r.do(func() { r.marks = map[string]uint64{"a": 1} })
		restart(0)
		pass(3 * time.Second)
		r.do(func() { r.marks = map[string]uint64{"a": 2} })
		restart(3)
		pass(3 * time.Second)
		b.stop()
		assert.Equal(t, []string{
			"started", "stopped 0 known=false", "restarted missed=0 unknown=true",
			"stopped 0 known=false", "restarted missed=2 unknown=false",
		}, b.life())
	})
}

// listing hides the stream.
type listing struct{ r *rerunning }

func (l listing) Info(ctx context.Context) (runtime.Info, error) { return l.r.Info(ctx) }
func (l listing) List(ctx context.Context, dst []runtime.Summary) ([]runtime.Summary, error) {
	return l.r.List(ctx, dst)
}

func (l listing) Describe(ctx context.Context, s runtime.Summary) (*container.Container, error) {
	return l.r.Describe(ctx, s)
}

func (l listing) Inspect(ctx context.Context, c *container.Container) (container.Snapshot, error) {
	return l.r.Inspect(ctx, c)
}
func (l listing) Close() error { return nil }

func TestContainerThatRemovesItselfWhenItEnds(t *testing.T) {
	for _, takes := range []time.Duration{0, 20 * time.Millisecond} {
		t.Run(fmt.Sprint("an inspect takes ", takes), func(t *testing.T) {
			rerun(t, takes, func(r *rerunning) {
				r.born("a")
				r.run("a", false)
				time.Sleep(time.Second)
				r.die("a", 7)
				r.remove("a")
				r.tell("a", runtime.NoticeDeleted, 0)
			}, "created", "started", "stopped 7 known=true", "removed")
		})
	}
	t.Run("gone before the first look", func(t *testing.T) {
		rerun(t, 0, func(r *rerunning) {
			r.create("a")
			r.remove("a")
			r.tell("a", runtime.NoticeCreated, 0)
			r.tell("a", runtime.NoticeStarted, 0)
			r.tell("a", runtime.NoticeExited, 7)
			r.tell("a", runtime.NoticeDeleted, 0)
		}, "created", "started", "stopped 7 known=true", "removed")
	})
	t.Run("gone between the list item and the inspect", func(t *testing.T) {
		rerun(t, 0, func(r *rerunning) {
			r.do(func() { r.forgets["a"] = true })
			r.create("a")
			at := time.Now()
			for i, kind := range []runtime.NoticeKind{runtime.NoticeCreated, runtime.NoticeStarted, runtime.NoticeExited, runtime.NoticeDeleted} {
				r.notice(runtime.Notice{ID: "a", Kind: kind, At: at.Add(time.Duration(i)), ExitCode: 7, Described: &container.Container{Name: "a"}})
			}
			synctest.Wait()
			r.remove("a")
		}, "created", "started", "stopped 7 known=true", "removed")
	})
}

func TestOOMKillOfWhatIsGoneIsToldByNoticesAlone(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprint("the kill is told after the end: ", late), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRerunning()
				b := observe(t, r, r.scripted, nil)
				pass(3 * time.Second)
				r.born("a")
				r.run("a", false)
				pass(time.Second)
				r.do(func() { r.forgets["a"] = true }) // no look succeeds any more
				r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: time.Now(), ExitCode: 137, OOMKilled: !late})
				if late {
					pass(time.Millisecond)
					r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeOOM, At: time.Now(), OOMKilled: true})
				}
				r.remove("a")
				r.tell("a", runtime.NoticeDeleted, 0)
				pass(3 * time.Second)
				b.stop()
				expect := []string{"created", "started", "stopped 137 known=true", "removed"}
				if late {
					expect = []string{"created", "started", "stopped 137 known=true", "stopped 137 known=true", "removed"}
				}
				require.Equal(t, expect, b.life())
				last := b.sink.trs[len(expect)-2]
				assert.True(t, last.Run.OOMKilled)
				assert.Equal(t, "OOMKilled", last.Run.Reason)
				assert.Equal(t, late, last.Revision > 0, "what was told before is revised")
			})
		})
	}
}

func TestPauseIsNotUndoneByALookFromBefore(t *testing.T) {
	pause := func(r *rerunning, s container.State, kind runtime.NoticeKind) {
		r.do(func() {
			snap := r.containers["a"]
			snap.State = s
			r.containers["a"] = snap
		})
		r.tell("a", kind, 0)
	}
	rerun(t, 50*time.Millisecond, func(r *rerunning) {
		r.born("a")
		r.run("a", false)
		time.Sleep(time.Second)
		pause(r, container.StatePaused, runtime.NoticePaused)
		time.Sleep(time.Second)
		pause(r, container.StateRunning, runtime.NoticeResumed)
		time.Sleep(time.Second)
		r.tell("a", runtime.NoticeChanged, 0) // a look begins, which shows it running
		pause(r, container.StatePaused, runtime.NoticePaused)
		time.Sleep(3 * time.Minute) // lists show it paused
		pause(r, container.StateRunning, runtime.NoticeResumed)
	}, "created", "started", "paused", "unpaused", "paused", "unpaused")
}

func TestHealthIsToldByNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRerunning()
		b := observe(t, r, r.scripted, nil)
		pass(time.Second)
		r.born("a")
		r.do(func() {
			s := r.containers["a"]
			s.Health = "starting"
			r.containers["a"] = s
		})
		r.run("a", false)
		pass(time.Second)
		verdicts := []string{"healthy", "unhealthy", "healthy"}
		for _, v := range verdicts { // faster than they are taken
			r.do(func() {
				s := r.containers["a"]
				s.Health = v
				r.containers["a"] = s
			})
			r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeHealth, At: time.Now(), Health: v})
		}
		pass(2 * time.Minute)
		b.stop()
		require.Equal(t, []string{"created", "started", "health_changed", "health_changed", "health_changed"}, b.life())
		for i, v := range verdicts {
			tr := b.sink.trs[i+2]
			assert.Equal(t, v, tr.Health)
			assert.Equal(t, container.PrecisionExact, tr.Provenance.Precision)
			assert.EqualValues(t, i, tr.Ordinal)
		}
	})
}

func TestReplayIsNotLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRerunning()
		b := observe(t, r, r.scripted, nil)
		pass(time.Second)
		r.born("a")
		pass(time.Second)
		r.broken <- errors.New("the engine restarts")
		pass(10 * time.Second)
		gaps := len(b.tel.gaps)
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeCreated, At: time.Now().Add(-10 * time.Second), Replayed: true})
		pass(10 * time.Second)
		b.stop()
		assert.Len(t, b.tel.gaps, gaps)
		assert.Equal(t, []string{"created"}, b.life())
	})
}

func TestProcessThatEndsBeforeItsStartIsTold(t *testing.T) {
	// As seen on a busy machine: the engine's end is before its start, and the notices come long after both.
	rerun(t, 0, func(r *rerunning) {
		r.born("a")
		r.do(func() {
			s := r.containers["a"]
			s.State = container.StateExited
			s.Run = container.Run{StartedAt: time.Now(), FinishedAt: time.Now().Add(-3 * time.Millisecond), ExitCode: 2, ExitKnown: true, Reason: "Error"}
			r.containers["a"] = s
		})
		time.Sleep(140 * time.Millisecond)
		at := time.Now()
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeStarted, At: at, Described: &container.Container{Name: "a"}})
		r.remove("a")
		time.Sleep(400 * time.Millisecond)
		r.tell("a", runtime.NoticeExited, 2)
		r.tell("a", runtime.NoticeDeleted, 0)
	}, "created", "started", "stopped 2 known=true", "removed")
}

// onceRun is a runtime as CRI's, where an id has one run.
type onceRun struct{ *rerunning }

func (onceRun) Info(context.Context) (runtime.Info, error) {
	return runtime.Info{Engine: "scripted", Version: "1"}, nil
}

func TestRemovalHeardWhileItIsLookedAtKeepsItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRerunning()
		r.inspectTakes = 100 * time.Millisecond
		b := observe(t, onceRun{r}, r.scripted, nil)
		pass(time.Second)
		r.born("a")
		r.run("a", false)
		pass(time.Second)
		r.die("a", 1)
		pass(time.Second * 3)
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeChanged}) // a look begins, which shows it
		pass(10 * time.Millisecond)
		r.remove("a")
		removed := time.Now()
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeDeleted, At: removed})
		pass(3 * time.Second)
		b.stop()
		require.Equal(t, []string{"a created", "a started", "a stopped", "a removed"}, b.sink.told())
		assert.Equal(t, removed, b.sink.trs[3].When)
		assert.Equal(t, container.PrecisionExact, b.sink.trs[3].Provenance.Precision)
	})
}

func TestOOMKillToldLongAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRerunning()
		b := observe(t, onceRun{r}, r.scripted, nil)
		pass(time.Second)
		r.born("a")
		r.run("a", false)
		pass(time.Second)
		r.die("a", 137)
		pass(4 * time.Second) // the second look at every end was too early
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeOOM, At: time.Now()})
		time.Sleep(30 * time.Millisecond)
		r.do(func() {
			s := r.containers["a"]
			s.Run.Reason, s.Run.OOMKilled = "OOMKilled", true
			r.containers["a"] = s
		})
		time.Sleep(100 * time.Millisecond)
		r.remove("a") // by one who waited for the verdict
		r.tell("a", runtime.NoticeDeleted, 0)
		pass(3 * time.Second)
		b.stop()
		require.Equal(t, []string{"a created", "a started", "a stopped", "a stopped", "a removed"}, b.sink.told())
		assert.True(t, b.sink.trs[3].Run.OOMKilled)
		assert.EqualValues(t, 1, b.sink.trs[3].Revision)
	})
}

// forgetful is an engine whose list leaves containers out for a moment.
type forgetful struct {
	listing
	omits *atomic.Bool
}

func (f forgetful) List(ctx context.Context, dst []runtime.Summary) ([]runtime.Summary, error) {
	if f.omits.Load() {
		return dst, nil
	}
	return f.listing.List(ctx, dst)
}

func TestContainerThatAListLeavesOutIsNotRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRerunning()
		var omits atomic.Bool
		b := observe(t, forgetful{listing{r}, &omits}, r.scripted, nil)
		pass(3 * time.Second)
		r.create("a")
		r.start("a")
		pass(3 * time.Second)
		omits.Store(true)
		pass(5 * time.Second)
		omits.Store(false)
		pass(3 * time.Second)
		r.remove("a")
		pass(3 * time.Second)
		b.stop()
		assert.Equal(t, []string{"a created", "a started", "a stopped", "a removed"}, b.sink.told())
	})
}

func TestContainerThatIsListedBeforeItCanBeAskedFor(t *testing.T) {
	for _, streamed := range []bool{true, false} {
		for name, c := range map[string]struct {
			then   func(*rerunning)
			expect []string
		}{
			"it is made":        {func(r *rerunning) { r.do(func() { delete(r.forgets, "a") }) }, []string{"a created"}},
			"its making failed": {func(r *rerunning) { r.remove("a") }, []string{"a created", "a removed"}},
		} {
			t.Run(fmt.Sprintf("%s, with events %v", name, streamed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRerunning()
					var rt runtime.Runtime = listing{r}
					if streamed {
						rt = r
					}
					b := observe(t, rt, r.scripted, func(_ *bench, o *Options) { o.ResyncInterval = 2 * time.Second })
					pass(3 * time.Second)
					r.do(func() { r.forgets["a"] = true })
					r.create("a")
					pass(7 * time.Second)
					assert.Empty(t, b.sink.told())
					c.then(r)
					pass(5 * time.Second)
					b.stop()
					assert.Equal(t, c.expect, b.sink.told())
				})
			})
		}
	}
}

// TestCodeOfAnEndIsTheNoticesWhereNoLookTellsIt: a start that fails leaves its own code in Docker's books, in place of the run's.
func TestCodeOfAnEndIsTheNoticesWhereNoLookTellsIt(t *testing.T) {
	rerun(t, 50*time.Millisecond, func(r *rerunning) {
		r.create("a")
		r.do(func() { // its run is over before it is looked at
			s := r.containers["a"]
			s.State, s.Run = container.StateExited, container.Run{StartedAt: time.Now(), FinishedAt: time.Now().Add(time.Millisecond)}
			r.containers["a"] = s
		})
		r.tell("a", runtime.NoticeCreated, 0)
		r.tell("a", runtime.NoticeStarted, 0)
		r.tell("a", runtime.NoticeExited, 3)
	}, "created", "started", "stopped 3 known=true")
}
