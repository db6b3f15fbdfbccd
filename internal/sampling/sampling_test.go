// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/evidence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a sampler, a sink and a telemetry that record their calls.
type world struct {
	mu        sync.Mutex
	began     time.Time
	shown     func(sample int) ([]evidence.Process, []evidence.File)
	sampledAt []time.Duration
	targets   []evidence.Target
	reports   []*Report
	counted   []string
	hold      chan struct{} // the sink waits for it unless it is nil
	hang      chan struct{} // the sampler does
}

func (w *world) Sample(ctx context.Context, target evidence.Target) (evidence.Sample, error) {
	w.mu.Lock()
	w.sampledAt, w.targets = append(w.sampledAt, time.Since(w.began)), append(w.targets, target)
	n := len(w.sampledAt)
	w.mu.Unlock()
	if w.hang != nil {
		select {
		case <-w.hang:
		case <-ctx.Done():
			return evidence.Sample{}, ctx.Err()
		}
	}
	processes, files := w.shown(n)
	return evidence.Sample{ContainerID: target.ContainerID, TakenAt: time.Now(), Processes: processes, Files: files}, nil
}

func (w *world) Deliver(ctx context.Context, r *Report) error {
	if w.hold != nil {
		select {
		case <-w.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reports = append(w.reports, r)
	return nil
}

func (w *world) Sampled(outcome string, _ *evidence.Sample) { w.count(outcome) }
func (w *world) Missed(reason string)                       { w.count("missed " + reason) }

func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counted = append(w.counted, what)
}

// reported returns each report as "path×hits path×hits".
func (w *world) reported() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, r := range w.reports {
		var files []string
		for i := range r.Sample.Files {
			files = append(files, fmt.Sprintf("%s×%d", r.Sample.Files[i].Path, r.Hits[i]))
		}
		out = append(out, strings.Join(files, " "))
	}
	return out
}

func file(path string) evidence.File {
	return evidence.File{Path: path, Kind: evidence.KindLibrary, Uses: []evidence.Use{{PID: 7}, {PID: 8}}, SHA256: evidence.Present("ab")}
}

var main7 = []evidence.Process{{PID: 7, Main: true, Name: "api", Executable: evidence.Present("/api")}}

func always(paths ...string) func(int) ([]evidence.Process, []evidence.File) {
	return func(int) ([]evidence.Process, []evidence.File) {
		var files []evidence.File
		for _, p := range paths {
			files = append(files, file(p))
		}
		return main7, files
	}
}

func run(id string, pid uint32) Run {
	return Run{Runtime: "main", Container: &container.Container{ID: id}, Run: container.Run{StartedAt: time.Now(), PID: pid}}
}

// with runs a scheduler in a bubble of fake time.
func with(t *testing.T, opts Options, w *world, do func(t *testing.T, s *Scheduler)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w.began = time.Now()
		s := New(opts, w, w, w)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { s.Run(ctx) })
		do(t, s)
		cancel()
		wg.Wait()
	})
}

func TestRunIsSampledSoonThenLaterThenRarely(t *testing.T) {
	w := &world{shown: always("/lib/a")}
	with(t, Options{Resample: 10 * time.Minute}, w, func(t *testing.T, s *Scheduler) {
		s.Began(run("1", 7))
		s.Began(run("1", 7)) // reported twice
		time.Sleep(25 * time.Minute)
		synctest.Wait()
		require.Len(t, w.sampledAt, 4)
		assert.InDelta(t, 1, w.sampledAt[0].Seconds(), 0.11)
		assert.InDelta(t, 31, w.sampledAt[1].Seconds(), 3.2)
		assert.InDelta(t, 631, w.sampledAt[2].Seconds(), 65)
		assert.Equal(t, []string{"/lib/a×1"}, w.reported(), "what does not change is reported once")
		assert.Equal(t, []string{"told", "unchanged", "unchanged", "unchanged"}, w.counted)
	})
}

// TestLaterSamplesAreTakenWhenRunsBeginAllTheTime has more containers start than can be sampled.
func TestLaterSamplesAreTakenWhenRunsBeginAllTheTime(t *testing.T) {
	slow := always("/lib/a")
	w := &world{shown: func(sample int) ([]evidence.Process, []evidence.File) {
		time.Sleep(10 * time.Second)
		return slow(sample)
	}}
	with(t, Options{Resample: time.Minute, Workers: 1}, w, func(t *testing.T, s *Scheduler) {
		s.Began(run("old", 7))
		for i := range 600 {
			s.Began(run("new"+strconv.Itoa(i), 7))
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		old := 0
		for _, target := range w.targets {
			if target.ContainerID == "old" {
				old++
			}
		}
		assert.GreaterOrEqual(t, old, 2)
		assert.Greater(t, len(w.reported()), 80, "first samples still come first")
	})
}

func TestTargetHasWhatIsKnownOfRun(t *testing.T) {
	w := &world{shown: always("/lib/a")}
	with(t, Options{}, w, func(t *testing.T, s *Scheduler) {
		s.Elsewhere("main")
		s.Began(run("1", 7))
		other := run("2", 8)
		other.Runtime, other.Container.CreatedAt = "other", time.Now()
		s.Began(other)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Len(t, w.targets, 2)
		for _, target := range w.targets {
			assert.Equal(t, target.ContainerID == "1", target.Elsewhere)
			assert.Equal(t, target.ContainerID == "2", !target.CreatedAt.IsZero())
		}
	})
}

func TestRunIsSampledTwiceWithoutResampleInterval(t *testing.T) {
	w := &world{shown: always("/lib/a")}
	with(t, Options{}, w, func(t *testing.T, s *Scheduler) {
		s.Began(run("1", 7))
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		assert.Len(t, w.sampledAt, 2)
	})
}

func TestOnlyChangesAreReportedAndHitsCounted(t *testing.T) {
	w := &world{shown: func(sample int) ([]evidence.Process, []evidence.File) {
		files := []evidence.File{file("/lib/a")}
		if sample >= 3 {
			files = append(files, file("/lib/late"))
		}
		if sample == 4 {
			files[0].SHA256 = evidence.Unknown[string](evidence.ReasonBudget) // known before: no news
		}
		if sample >= 5 {
			files[0].SHA256 = evidence.Present("cd") // rewritten in place
		}
		return main7, files
	}}
	with(t, Options{Resample: time.Minute, Jitter: 1e-9}, w, func(t *testing.T, s *Scheduler) {
		s.Began(run("1", 7))
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		s.Ended("main", "1")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, w.sampledAt, 7)
		got := w.reported()
		require.Len(t, got, 4)
		assert.Equal(t, []string{"/lib/a×1", "/lib/late×1", "/lib/a×4"}, got[:3])
		assert.ElementsMatch(t, []string{"/lib/a×2", "/lib/late×4"}, strings.Fields(got[3]), "what was counted is reported at the end")
		assert.True(t, w.reports[0].Complete)
		assert.False(t, w.reports[1].Complete)
		assert.Zero(t, s.Len())
	})
}

func TestEverythingIsReportedAgainAfterRefreshInterval(t *testing.T) {
	w := &world{shown: always("/lib/a", "/lib/b")}
	with(t, Options{Resample: time.Minute, Refresh: time.Hour}, w, func(t *testing.T, s *Scheduler) {
		s.Began(run("1", 7))
		time.Sleep(90 * time.Minute)
		synctest.Wait()
		got := w.reported()
		require.Len(t, got, 2)
		assert.Equal(t, "/lib/a×1 /lib/b×1", got[0])
		assert.Regexp(t, `^/lib/a×(5\d|6\d) /lib/b×(5\d|6\d)$`, got[1])
	})
}

func TestDeletedFileIsReported(t *testing.T) {
	w := &world{shown: func(sample int) ([]evidence.Process, []evidence.File) {
		f := file("/lib/a")
		f.Deleted = sample >= 2
		return main7, []evidence.File{f}
	}}
	with(t, Options{Resample: time.Minute}, w, func(t *testing.T, s *Scheduler) {
		s.Began(run("1", 7))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.Len(t, w.reports, 2)
		assert.True(t, w.reports[1].Sample.Files[0].Deleted)
	})
}

// TestReportedFilesAreBounded has a container use other files all the time, until there is no room to remember them all.
func TestReportedFilesAreBounded(t *testing.T) {
	w := &world{shown: func(sample int) ([]evidence.Process, []evidence.File) {
		files := make([]evidence.File, 3000)
		for i := range files {
			files[i] = file("/lib/" + strconv.Itoa(min(sample, 4)*len(files)+i))
		}
		return main7, files
	}}
	with(t, Options{Resample: time.Minute}, w, func(t *testing.T, s *Scheduler) {
		s.Began(run("1", 7))
		time.Sleep(8 * time.Minute)
		synctest.Wait()
		assert.Equal(t, []string{"told", "told", "told", "told", "unchanged", "unchanged"}, w.counted[:6], "what is there now is remembered first")
		s.mu.Lock()
		assert.LessOrEqual(t, len(s.runs[key{"main", "1"}].reported), maxReported)
		s.mu.Unlock()
	})
}

func TestNewProcessIsReported(t *testing.T) {
	w := &world{shown: func(sample int) ([]evidence.Process, []evidence.File) {
		processes := main7
		if sample > 1 {
			processes = append(processes[:1:1], evidence.Process{PID: 9, Name: "sh"})
		}
		return processes, []evidence.File{file("/lib/a")}
	}}
	with(t, Options{Resample: time.Minute}, w, func(t *testing.T, s *Scheduler) {
		s.Began(run("1", 7))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.Len(t, w.reports, 2)
		assert.Len(t, w.reports[1].Sample.Processes, 2)
		assert.Empty(t, w.reports[1].Sample.Files)
	})
}

func TestRunIsMissedWhenItEndsBeforeItsFirstSample(t *testing.T) {
	w := &world{shown: always("/lib/a")}
	with(t, Options{}, w, func(t *testing.T, s *Scheduler) {
		s.Began(run("1", 7))
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		s.Ended("main", "1")
		s.Ended("main", "2")
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, w.sampledAt)
		assert.Equal(t, []string{"missed ended"}, w.counted)
	})
}

func TestRestartIsSampledAsNewRun(t *testing.T) {
	w := &world{shown: always("/lib/a")}
	with(t, Options{}, w, func(t *testing.T, s *Scheduler) {
		s.Began(run("1", 7))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		s.Began(run("1", 77)) // its stop was never reported
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Len(t, w.targets, 2)
		assert.Equal(t, 77, w.targets[1].PID)
		assert.Equal(t, []string{"/lib/a×1", "/lib/a×1"}, w.reported())
		assert.Equal(t, 1, s.Len())
	})
}

func TestPIDIsRequestedWhenNoStartReportedIt(t *testing.T) {
	var asked []string
	answers := []uint32{0, 70, 71}
	w := &world{shown: func(sample int) ([]evidence.Process, []evidence.File) {
		if sample == 1 {
			return []evidence.Process{{PID: 70, Main: true, Executable: evidence.Unknown[string](evidence.ReasonProcessGone)}}, nil
		}
		return main7, []evidence.File{file("/lib/a")}
	}}
	with(t, Options{Resample: time.Minute}, w, func(t *testing.T, s *Scheduler) {
		s.SetPID("main", func(_ context.Context, id string) (uint32, error) {
			asked = append(asked, id)
			if pid := answers[len(asked)-1]; pid != 0 {
				return pid, nil
			}
			return 0, errors.New("busy")
		})
		s.Began(run("1", 0))
		s.Began(Run{Runtime: "other", Container: &container.Container{ID: "2"}, Run: container.Run{StartedAt: time.Now()}})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		assert.Equal(t, []string{"1", "1", "1"}, asked, "again when the runtime failed, and when the process was gone")
		assert.Equal(t, 71, w.targets[1].PID)
		assert.Equal(t, []string{"", "/lib/a×1"}, w.reported(), "that nothing could be read is reported")
		assert.True(t, w.reports[1].Complete)
	})
}

func TestReportIsDroppedAndRepeatedWhenSinkIsFull(t *testing.T) {
	w := &world{shown: always("/lib/a")}
	with(t, Options{Resample: time.Minute, Reports: 1}, w, func(t *testing.T, s *Scheduler) {
		w.hold = make(chan struct{}) // of this bubble
		for _, id := range []string{"1", "2", "3"} {
			s.Began(run(id, 7))
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.Contains(t, w.counted, "dropped") // one with the sink, one waits, one had no room
		close(w.hold)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Len(t, w.reported(), 3)
	})
}

func TestBeganAndEndedNeverWait(t *testing.T) {
	w := &world{shown: always("/lib/a")}
	with(t, Options{Runs: 100}, w, func(t *testing.T, s *Scheduler) {
		w.hang = make(chan struct{}) // of this bubble
		for i := range 200 {
			s.Began(run(strconv.Itoa(i), 7))
		}
		time.Sleep(time.Minute) // both workers hang
		synctest.Wait()
		before := time.Now()
		for i := range 200 {
			s.Ended("main", strconv.Itoa(i))
		}
		assert.Equal(t, before, time.Now())
		assert.Zero(t, s.Len())
		assert.Len(t, w.sampledAt, 2)
		full := 0
		for _, c := range w.counted {
			if c == "missed full" {
				full++
			}
		}
		assert.Equal(t, 100, full)
	})
}

func TestFirstSamplesAreSpreadWhenRunsBeganLongAgo(t *testing.T) {
	w := &world{shown: always("/lib/a")}
	with(t, Options{}, w, func(t *testing.T, s *Scheduler) {
		for i := range 50 {
			r := run(strconv.Itoa(i), 7)
			r.Run.StartedAt = r.Run.StartedAt.Add(-time.Hour)
			s.Began(r)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Len(t, w.sampledAt, 50)
		assert.Less(t, w.sampledAt[0], 3*time.Second)
		assert.Greater(t, w.sampledAt[49], 7*time.Second)
	})
}

func TestUnreportedIsReportedWhenObserverStops(t *testing.T) {
	w := &world{shown: always("/lib/a")}
	with(t, Options{Resample: time.Minute, Jitter: 1e-9}, w, func(t *testing.T, s *Scheduler) {
		s.Began(run("1", 7))
		s.Began(run("2", 7))
		s.Began(run("never", 0)) // nothing is known of it
		time.Sleep(5*time.Minute + 40*time.Second)
		synctest.Wait()
		require.Len(t, w.reported(), 2)
	})
	assert.Equal(t, []string{"/lib/a×1", "/lib/a×1", "/lib/a×6", "/lib/a×6"}, w.reported(), "with the samples of all the time since")
	assert.Equal(t, "api", w.reports[2].Sample.Processes[0].Name)
	assert.False(t, w.reports[2].Complete)
	assert.False(t, w.reports[2].Sample.TakenAt.IsZero())
}

func TestUnreportedIsLostWhenSinkExceedsDrainTime(t *testing.T) {
	for _, tt := range []struct {
		desc      string
		after     time.Duration // the sink takes something again
		ends      time.Duration
		got, lost int
	}{
		{"it takes it in that time", 3 * time.Second, 3 * time.Second, 10, 0},
		{"it does not", 8 * time.Second, 5 * time.Second, 0, 10},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			w := &world{shown: always("/lib/a")}
			synctest.Test(t, func(t *testing.T) {
				w.began, w.hold = time.Now(), make(chan struct{})
				s := New(Options{Reports: 4}, w, w, w)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); s.Run(ctx) }()
				for i := range 5 { // one report is with the sink, four wait for it
					s.Began(run(strconv.Itoa(i), 7))
				}
				time.Sleep(time.Minute) // the second samples are unreported
				synctest.Wait()
				require.Len(t, w.sampledAt, 10)
				stopped := time.Now()
				cancel()
				time.AfterFunc(tt.after, func() { close(w.hold) })
				<-done
				assert.Equal(t, tt.ends, time.Since(stopped))
				time.Sleep(tt.after)
			})
			lost := 0
			for _, c := range w.counted {
				if c == "lost" {
					lost++
				}
			}
			assert.Equal(t, tt.lost, lost)
			assert.Len(t, w.reported(), tt.got)
		})
	}
}
