// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
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

func TestRestartsByPolicyAreReportedWhenEvery100Milliseconds(t *testing.T) {
	expect := []string{"created", "started", "stopped 1 known=true"}
	for range 9 {
		expect = append(expect, "restarted", "stopped 1 known=true")
	}
	rerun(t, 2*time.Millisecond, func(r *dockerRuntime) {
		r.created("a")
		for i := range 10 {
			r.started("a", i > 0)
			time.Sleep(20 * time.Millisecond)
			r.exited("a", 1)
			time.Sleep(100 * time.Millisecond)
		}
	}, expect...)
}

func TestManualRestartIsReportedDuringAnInspection(t *testing.T) {
	for _, takes := range []time.Duration{0, 5 * time.Millisecond, 50 * time.Millisecond} {
		t.Run(fmt.Sprint("an inspection takes ", takes), func(t *testing.T) {
			rerun(t, takes, func(r *dockerRuntime) {
				r.created("a")
				time.Sleep(time.Second)
				r.started("a", false)
				time.Sleep(time.Second)
				r.notify("a", runtime.NoticeChanged, 0) // an inspection is running
				r.exited("a", 143)
				r.started("a", false)
			}, "created", "started", "stopped 143 known=true", "restarted")
		})
	}
}

func TestRunsBetweenTwoInspectionsAreCounted(t *testing.T) {
	rerun(t, 100*time.Millisecond, func(r *dockerRuntime) {
		r.created("a")
		r.started("a", false)
		time.Sleep(time.Second)
		r.exited("a", 1)
		r.started("a", false) // the inspection of this one is slow, and shows it
		time.Sleep(10 * time.Millisecond)
		r.exited("a", 2)
		r.started("a", false)
		r.exited("a", 3)
		r.started("a", false)
	}, "created", "started", "stopped 1 known=true", "restarted", "stopped 2 known=true", "restarted missed=1 unknown=false")
}

func TestMissedRunsAreUnknownWithoutAStreamUnlessTheEngineCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDockerRuntime()
		b := observe(t, pollRuntime{r}, nil)
		r.create("a")
		r.start("a")
		advance(3 * time.Second)
		restart := func(counted uint32) {
			r.exit("a", 1, "Error")
			time.Sleep(time.Millisecond)
			r.edit("a", func(s *container.Snapshot) {
				s.State, s.Run, s.RestartCount = container.StateRunning, container.Run{StartedAt: time.Now(), FinishedAt: s.Run.FinishedAt}, s.RestartCount+counted
			})
		}
		r.do(func() { r.fingerprints = map[string]uint64{"a": 1} })
		restart(0)
		advance(3 * time.Second)
		r.do(func() { r.fingerprints = map[string]uint64{"a": 2} })
		restart(3)
		advance(3 * time.Second)
		b.stop()
		assert.Equal(t, []string{
			"started", "stopped 0 known=false", "restarted missed=0 unknown=true",
			"stopped 0 known=false", "restarted missed=2 unknown=false",
		}, b.account())
	})
}

func TestSelfRemovingContainerIsReportedInFull(t *testing.T) {
	for _, takes := range []time.Duration{0, 20 * time.Millisecond} {
		t.Run(fmt.Sprint("an inspection takes ", takes), func(t *testing.T) {
			rerun(t, takes, func(r *dockerRuntime) {
				r.created("a")
				r.started("a", false)
				time.Sleep(time.Second)
				r.exited("a", 7)
				r.remove("a")
				r.notify("a", runtime.NoticeDeleted, 0)
			}, "created", "started", "stopped 7 known=true", "removed")
		})
	}
	t.Run("gone before the first inspection", func(t *testing.T) {
		rerun(t, 0, func(r *dockerRuntime) {
			r.create("a")
			r.remove("a")
			r.notify("a", runtime.NoticeCreated, 0)
			r.notify("a", runtime.NoticeStarted, 0)
			r.notify("a", runtime.NoticeExited, 7)
			r.notify("a", runtime.NoticeDeleted, 0)
		}, "created", "started", "stopped 7 known=true", "removed")
	})
	t.Run("gone between the list item and the inspection", func(t *testing.T) {
		rerun(t, 0, func(r *dockerRuntime) {
			r.do(func() { r.unknown["a"] = true })
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

func TestOOMKillOfARemovedContainerIsReportedFromNotices(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprint("the kill is reported after the end: ", late), func(t *testing.T) {
			observeDocker(t, func(t *testing.T, r *dockerRuntime, b *fixture) {
				advance(3 * time.Second)
				r.created("a")
				r.started("a", false)
				advance(time.Second)
				r.do(func() { r.unknown["a"] = true }) // no inspection succeeds any more
				r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: time.Now(), ExitCode: 137, OOMKilled: !late})
				if late {
					advance(time.Millisecond)
					r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeOOM, At: time.Now(), OOMKilled: true})
				}
				r.remove("a")
				r.notify("a", runtime.NoticeDeleted, 0)
				advance(3 * time.Second)
				b.stop()
				expect := []string{"created", "started", "stopped 137 known=true", "removed"}
				if late {
					expect = []string{"created", "started", "stopped 137 known=true", "stopped 137 known=true", "removed"}
				}
				require.Equal(t, expect, b.account())
				last := b.sink.transitions[len(expect)-2]
				assert.True(t, last.Run.OOMKilled)
				assert.Equal(t, "OOMKilled", last.Run.Reason)
				assert.Equal(t, late, last.Revision > 0, "the first report is revised")
			})
		})
	}
}

func TestReplayedNoticeIsNotLate(t *testing.T) {
	observeDocker(t, func(t *testing.T, r *dockerRuntime, b *fixture) {
		advance(time.Second)
		r.created("a")
		advance(time.Second)
		r.broken <- errors.New("the engine restarts")
		advance(10 * time.Second)
		gaps := len(b.tel.gaps)
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeCreated, At: time.Now().Add(-10 * time.Second), Replayed: true})
		advance(10 * time.Second)
		b.stop()
		assert.Len(t, b.tel.gaps, gaps)
		assert.Equal(t, []string{"created"}, b.account())
	})
}

func TestRunIsReportedWhenItEndsBeforeItsStart(t *testing.T) {
	// As seen on a busy machine: the engine's end is before its start, and the notices come long after both.
	rerun(t, 0, func(r *dockerRuntime) {
		r.created("a")
		r.edit("a", func(s *container.Snapshot) {
			s.State = container.StateExited
			s.Run = container.Run{StartedAt: time.Now(), FinishedAt: time.Now().Add(-3 * time.Millisecond), ExitCode: 2, ExitKnown: true, Reason: "Error"}
		})
		time.Sleep(140 * time.Millisecond)
		at := time.Now()
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeStarted, At: at, Described: &container.Container{Name: "a"}})
		r.remove("a")
		time.Sleep(400 * time.Millisecond)
		r.notify("a", runtime.NoticeExited, 2)
		r.notify("a", runtime.NoticeDeleted, 0)
	}, "created", "started", "stopped 2 known=true", "removed")
}

func TestRemovalKeepsItsTimeWhenNoticedDuringAnInspection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDockerRuntime()
		r.inspectTakes = 100 * time.Millisecond
		b := observe(t, criRuntime{r}, nil)
		advance(time.Second)
		r.created("a")
		r.started("a", false)
		advance(time.Second)
		r.exited("a", 1)
		advance(time.Second * 3)
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeChanged}) // an inspection begins, which shows it
		advance(10 * time.Millisecond)
		r.remove("a")
		removed := time.Now()
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeDeleted, At: removed})
		advance(3 * time.Second)
		b.stop()
		require.Equal(t, []string{"a created", "a started", "a stopped", "a removed"}, b.sink.reported())
		assert.Equal(t, removed, b.sink.transitions[3].When)
		assert.Equal(t, container.PrecisionExact, b.sink.transitions[3].Provenance.Precision)
	})
}

func TestLateOOMKillRevisesTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDockerRuntime()
		b := observe(t, criRuntime{r}, nil)
		advance(time.Second)
		r.created("a")
		r.started("a", false)
		advance(time.Second)
		r.exited("a", 137)
		advance(4 * time.Second) // the recheck after the stop was too early
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeOOM, At: time.Now()})
		time.Sleep(30 * time.Millisecond)
		r.edit("a", func(s *container.Snapshot) { s.Run.Reason, s.Run.OOMKilled = "OOMKilled", true })
		time.Sleep(100 * time.Millisecond)
		r.remove("a") // by somebody who waited for the verdict
		r.notify("a", runtime.NoticeDeleted, 0)
		advance(3 * time.Second)
		b.stop()
		require.Equal(t, []string{"a created", "a started", "a stopped", "a stopped", "a removed"}, b.sink.reported())
		assert.True(t, b.sink.transitions[3].Run.OOMKilled)
		assert.EqualValues(t, 1, b.sink.transitions[3].Revision)
	})
}

func TestContainerIsKeptWhenAListOmitsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDockerRuntime()
		var omits atomic.Bool
		b := observe(t, omittingRuntime{pollRuntime{r}, &omits}, nil)
		advance(3 * time.Second)
		r.create("a")
		r.start("a")
		advance(3 * time.Second)
		omits.Store(true)
		advance(5 * time.Second)
		omits.Store(false)
		advance(3 * time.Second)
		r.remove("a")
		advance(3 * time.Second)
		b.stop()
		assert.Equal(t, []string{"a created", "a started", "a stopped", "a removed"}, b.sink.reported())
	})
}

func TestListedContainerIsReportedOnceItCanBeInspected(t *testing.T) {
	for _, streamed := range []bool{true, false} {
		for name, c := range map[string]struct {
			then   func(*dockerRuntime)
			expect []string
		}{
			"it is created":       {func(r *dockerRuntime) { r.do(func() { delete(r.unknown, "a") }) }, []string{"a created"}},
			"its creation failed": {func(r *dockerRuntime) { r.remove("a") }, []string{"a created", "a removed"}},
		} {
			t.Run(fmt.Sprintf("%s, with events %v", name, streamed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newDockerRuntime()
					var rt runtime.Runtime = pollRuntime{r}
					if streamed {
						rt = r
					}
					b := observe(t, rt, func(_ *fixture, o *Options) { o.ResyncInterval = 2 * time.Second })
					advance(3 * time.Second)
					r.do(func() { r.unknown["a"] = true })
					r.create("a")
					advance(7 * time.Second)
					assert.Empty(t, b.sink.reported())
					c.then(r)
					advance(5 * time.Second)
					b.stop()
					assert.Equal(t, c.expect, b.sink.reported())
				})
			})
		}
	}
}

// TestExitCodeIsTheNoticesWhenTheStatusHasNone: after a start that failed, Docker shows the code of that in place of the run's.
func TestExitCodeIsTheNoticesWhenTheStatusHasNone(t *testing.T) {
	rerun(t, 50*time.Millisecond, func(r *dockerRuntime) {
		r.create("a")
		r.edit("a", func(s *container.Snapshot) {
			s.State, s.Run = container.StateExited, container.Run{StartedAt: time.Now(), FinishedAt: time.Now().Add(time.Millisecond)}
		})
		r.notify("a", runtime.NoticeCreated, 0)
		r.notify("a", runtime.NoticeStarted, 0)
		r.notify("a", runtime.NoticeExited, 3)
	}, "created", "started", "stopped 3 known=true")
}
