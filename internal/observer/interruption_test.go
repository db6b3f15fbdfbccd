// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// covers tells that a gap reaches over all the time.
func covers(g container.Gap, from, to time.Time) bool { return !g.From.After(from) && !g.To.Before(to) }

func TestAShortInterruptionOfTheStreamIsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		b := observe(t, r, r.scripted, nil)
		pass(10 * time.Second)
		lost := time.Now()
		r.broken <- errors.New("stream cut")
		pass(100 * time.Millisecond)
		r.create("brief")
		r.remove("brief")
		came := time.Now()
		for !b.obs.Stats().Streaming {
			pass(10 * time.Millisecond)
		}
		delivers := time.Now().Add(400 * time.Millisecond) // containerd and dockerd answer before they have subscribed
		pass(time.Minute)
		b.stop()
		assert.Empty(t, b.sink.told(), "nobody could see it")
		require.Len(t, b.sink.gaps, 1, "and that is said, once")
		assert.Equal(t, container.CauseStreamLost, b.sink.gaps[0].Cause)
		assert.True(t, covers(b.sink.gaps[0], lost.Add(-900*time.Millisecond), came), "what was not handed over any more counts")
		assert.True(t, covers(b.sink.gaps[0], came, delivers), "and what came before the new stream delivers")
		assert.Less(t, b.sink.gaps[0].To.Sub(lost), 10*time.Second)
	})
}

func TestAnInterruptionInWhichListsFailIsOneGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		b := observe(t, r, r.scripted, nil)
		pass(10 * time.Second)
		r.do(func() { r.listErr = errors.New("connection refused") })
		lost := time.Now()
		r.broken <- errors.New("stream cut")
		pass(30 * time.Second)
		back := time.Now()
		r.do(func() { r.listErr = nil })
		pass(2 * time.Minute)
		b.stop()
		require.Len(t, b.sink.gaps, 1)
		assert.Equal(t, container.CauseListFailed, b.sink.gaps[0].Cause)
		assert.True(t, covers(b.sink.gaps[0], lost, back))
	})
}

func TestAShortRestartOfTheObserverIsAGapWhereTheStreamWouldHaveToldAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		cp := &remembered{known: map[string]*tracker.Known{}}
		with := func(b *bench, _ *Options) { b.cp = cp }
		b := observe(t, r, r.scripted, with)
		pass(5 * time.Second)
		b.stop()
		assert.Empty(t, b.sink.gaps)
		down := time.Now()
		pass(time.Second)
		b = observe(t, r, r.scripted, with)
		up := time.Now()
		pass(10 * time.Second)
		b.stop()
		require.Len(t, b.sink.gaps, 1)
		assert.Equal(t, container.CauseObserverDown, b.sink.gaps[0].Cause)
		assert.True(t, covers(b.sink.gaps[0], down, up))
	})
}

func TestAnInterruptionThatARestartCutsShortIsToldAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		cp := &remembered{known: map[string]*tracker.Known{}}
		with := func(b *bench, _ *Options) { b.cp = cp }
		b := observe(t, r, r.scripted, with)
		pass(10 * time.Second)
		lost := time.Now()
		r.broken <- errors.New("stream cut")
		pass(100 * time.Millisecond) // it was listed since, but the stream does not stand again
		b.stop()
		require.Empty(t, b.sink.gaps)
		pass(time.Second)
		b = observe(t, r, r.scripted, with)
		up := time.Now()
		pass(10 * time.Second)
		b.stop()
		require.Len(t, b.sink.gaps, 1)
		assert.True(t, covers(b.sink.gaps[0], lost.Add(-undelivered), up), "%+v, and the stream was cut at %s", b.sink.gaps[0], lost)
	})
}

// TestTheClockIsSetBackWhileTheObserverIsDown has a checkpoint of the future.
func TestTheClockIsSetBackWhileTheObserverIsDown(t *testing.T) {
	for name, streamed := range map[string]bool{"with a stream": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pass(time.Hour)
				started := time.Now().Add(-time.Minute)
				known := &tracker.Known{
					Container: &container.Container{ID: "a", Name: "a", CreatedAt: started}, State: container.StateRunning, Run: container.Run{StartedAt: started},
				}
				r := newStreaming()
				cp := &remembered{known: map[string]*tracker.Known{"a": known}, seen: time.Now().Add(2 * time.Second), boot: "boot-2"}
				if streamed {
					cp.seen = time.Now().Add(time.Hour)
				}
				var rt runtime.Runtime = r
				if !streamed {
					rt = r.scripted
				}
				b := observe(t, rt, r.scripted, func(b *bench, _ *Options) { b.cp = cp })
				up := time.Now()
				pass(5 * time.Minute)
				b.stop()
				assert.Equal(t, []string{"a stopped", "a removed"}, b.sink.told())
				assert.False(t, b.sink.trs[0].Provenance.WindowStart.After(started), "nobody can say that it ran until then: %s", b.sink.trs[0].Provenance.WindowStart)
				if streamed {
					assert.Less(t, r.lists, 10, "lists go back to their period")
					assert.True(t, slices.ContainsFunc(b.sink.gaps, func(g container.Gap) bool {
						return g.Cause == container.CauseObserverDown && !g.From.After(up) && !g.To.Before(up)
					}), b.sink.gaps)
				}
				for _, g := range b.sink.gaps {
					assert.False(t, g.From.After(g.To), g)
				}
			})
		})
	}
}

func TestAShortRestartWithoutAStreamIsNoLongerThanBetweenTwoLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newScripted()
		cp := &remembered{known: map[string]*tracker.Known{}}
		with := func(b *bench, _ *Options) { b.cp = cp }
		b := observe(t, r, r, with)
		pass(45 * time.Second) // since a time was last written
		b.stop()
		pass(time.Second)
		b = observe(t, r, r, with)
		pass(10 * time.Second)
		b.stop()
		assert.Empty(t, b.sink.gaps)
	})
}

func TestNoticesThatAreTakenLateAreAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		b := observe(t, r, r.scripted, nil)
		pass(10 * time.Second)
		happened := time.Now()
		pass(20 * time.Second) // the observer had no CPU; then it reads of a container that is gone
		r.notice(runtime.Notice{ID: "brief", Kind: runtime.NoticeCreated, At: happened})
		r.notice(runtime.Notice{ID: "brief", Kind: runtime.NoticeDeleted, At: happened.Add(time.Second)})
		pass(time.Minute)
		b.stop()
		require.NotEmpty(t, b.sink.gaps)
		assert.Equal(t, container.CauseMailboxOverflow, b.sink.gaps[0].Cause)
		assert.True(t, covers(b.sink.gaps[0], happened, happened.Add(time.Second)))
	})
}

func TestNoticesThatHadNoRoomAreAGapAndAListAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		b := observe(t, r, r.scripted, func(_ *bench, o *Options) { o.MailboxCapacity = 1 })
		pass(10 * time.Second)
		seen := time.Now()
		pass(10 * time.Second)
		r.create("silent") // whose notice is one of those that are lost
		for i := range 1000 {
			r.notice(runtime.Notice{ID: strconv.Itoa(i), Kind: runtime.NoticeDeleted, At: time.Now()})
		}
		pass(100 * time.Millisecond)
		lost := time.Now()
		assert.Equal(t, []string{"silent created"}, b.sink.told(), "long before the next list")
		b.stop()
		assert.Positive(t, b.tel.overflowed)
		require.NotEmpty(t, b.sink.gaps)
		assert.Equal(t, container.CauseMailboxOverflow, b.sink.gaps[0].Cause)
		assert.False(t, b.sink.gaps[0].From.After(seen), "it begins with the last list")
		assert.False(t, b.sink.gaps[0].To.After(lost))
	})
}

func TestAnOldExitOrAReplayIsNotLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		b := observe(t, r, r.scripted, nil)
		r.create("a")
		r.start("a")
		pass(10 * time.Second)
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: time.Now().Add(-5 * time.Second)})
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeStarted, At: time.Now().Add(-time.Minute), Snapshot: &container.Snapshot{State: container.StateUnknown}})
		pass(time.Minute)
		b.stop()
		assert.Empty(t, b.sink.gaps)
	})
}

func TestTheReasonThatCameWhileTheObserverWasDownIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		cp := &remembered{known: map[string]*tracker.Known{}}
		with := func(b *bench, _ *Options) { b.cp = cp }
		b := observe(t, r, r.scripted, with)
		r.create("a")
		r.start("a")
		pass(10 * time.Second)
		r.exit("a", 137, "Error")
		r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: time.Now(), ExitCode: 137})
		pass(10 * time.Millisecond)
		b.stop()
		r.do(func() {
			s := r.containers["a"]
			s.Run.Reason, s.Run.OOMKilled = "OOMKilled", true
			r.containers["a"] = s
		})
		pass(time.Hour)
		b = observe(t, r, r.scripted, with)
		pass(10 * time.Second)
		b.stop()
		require.Equal(t, []string{"a stopped"}, b.sink.told())
		assert.True(t, b.sink.trs[0].Run.OOMKilled)
		assert.EqualValues(t, 1, b.sink.trs[0].Revision)
	})
}

func TestAContainerThatIsGoneBeforeItCouldBeFoundIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		b := observe(t, r, r.scripted, nil)
		pass(10 * time.Second)
		came := time.Now()
		r.notice(runtime.Notice{ID: "brief", Kind: runtime.NoticeCreated, At: came})
		r.notice(runtime.Notice{ID: "brief", Kind: runtime.NoticeDeleted, At: came})
		pass(2 * time.Minute)
		b.stop()
		require.Len(t, b.sink.gaps, 1)
		assert.Equal(t, container.CauseRemovedUnseen, b.sink.gaps[0].Cause)
		assert.EqualValues(t, 1, b.sink.gaps[0].Coalesced)
		assert.True(t, covers(b.sink.gaps[0], came, came))
	})
}

func TestGapsThatTheOutboxHasNoRoomForAreToldLaterInOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		block := make(chan struct{})
		b := observe(t, r, r.scripted, func(b *bench, o *Options) {
			o.OutboxCapacity = 2
			b.sink.block = block
		})
		pass(10 * time.Second)
		for _, id := range []string{"a", "b", "c"} {
			r.create(id)
			r.notice(runtime.Notice{ID: id, Kind: runtime.NoticeCreated, At: time.Now()})
		}
		pass(10 * time.Second)
		first := time.Now()
		r.broken <- errors.New("stream cut")
		pass(time.Minute)
		last := time.Now()
		r.broken <- errors.New("stream cut")
		pass(time.Minute)
		assert.Empty(t, b.sink.gaps)
		close(block)
		pass(5 * time.Minute)
		b.stop()
		assert.ElementsMatch(t, []string{"a created", "b created", "c created"}, b.sink.told())
		require.Len(t, b.sink.gaps, 1)
		assert.True(t, covers(b.sink.gaps[0], first, last))
	})
}

func TestASandboxThatIsMadeDuringAListIsNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStreaming()
		b := observe(t, r, r.scripted, nil)
		pass(1900 * time.Millisecond) // the list after the subscription comes at 2 s
		r.notice(runtime.Notice{ID: "sandbox", Kind: runtime.NoticeCreated, At: time.Now()})
		pass(2 * time.Minute)
		b.stop()
		assert.Empty(t, b.sink.told())
		assert.Empty(t, b.sink.gaps)
	})
}

func TestABriefContainerWhoseRemovalIsReadAfterItWasGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		lived time.Duration
		gaps  int
	}{"a container, as likely as not": {300 * time.Millisecond, 1}, "a sandbox": {10 * time.Second, 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newStreaming()
				b := observe(t, r, r.scripted, nil)
				pass(10 * time.Second)
				came := time.Now()
				r.notice(runtime.Notice{ID: "brief", Kind: runtime.NoticeCreated, At: came})
				pass(max(c.lived, 900*time.Millisecond)) // looked for in vain; the next notice is read late, but not too late
				r.notice(runtime.Notice{ID: "brief", Kind: runtime.NoticeDeleted, At: came.Add(c.lived)})
				pass(2 * time.Minute)
				b.stop()
				require.Len(t, b.sink.gaps, c.gaps)
				for _, g := range b.sink.gaps {
					assert.True(t, covers(g, came, came.Add(c.lived)))
				}
			})
		})
	}
}

// TestARemovalKeepsItsTimeThoughTheNoticeComesLater has a look, or a list, find a container gone before the notice of it is read.
func TestARemovalKeepsItsTimeThoughTheNoticeComesLater(t *testing.T) {
	for name, find := range map[string]func(*streaming){
		"a look": func(r *streaming) { r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeChanged}) },
		"a list": func(r *streaming) {
			listed := func() (n int) {
				r.do(func() { n = r.lists })
				return n
			}
			for before := listed(); listed() == before; {
				pass(time.Millisecond)
			}
		},
	} {
		for _, told := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, told %v", name, told), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newStreaming()
					b := observe(t, r, r.scripted, nil)
					r.create("a")
					r.start("a")
					r.exit("a", 0, "Completed")
					pass(10 * time.Second)
					r.remove("a")
					removed := time.Now()
					find(r)
					pass(50 * time.Millisecond)
					if told {
						r.notice(runtime.Notice{ID: "a", Kind: runtime.NoticeDeleted, At: removed})
					}
					pass(time.Second)
					b.stop()
					require.NotEmpty(t, b.sink.trs)
					last := b.sink.trs[len(b.sink.trs)-1]
					assert.Equal(t, container.KindRemoved, last.Kind)
					assert.Equal(t, told, last.Provenance.Precision == container.PrecisionExact)
					assert.Equal(t, told, last.When.Equal(removed))
				})
			})
		}
	}
}
