// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// dockerRuntime is a runtime where one id has many runs, as Docker's: it posts notices of everything, some milliseconds later, and an
// inspection takes a while.
type dockerRuntime struct {
	*streamRuntime
	inspectTakes time.Duration
}

func newDockerRuntime() *dockerRuntime { return &dockerRuntime{streamRuntime: newStreamRuntime()} }

// set pauses or resumes the container without a notice. It returns when.
func (r *dockerRuntime) set(id string, state container.State) (at time.Time) {
	r.edit(id, func(s *container.Snapshot) { s.State = state })
	time.Sleep(time.Millisecond)
	return time.Now()
}

func (r *dockerRuntime) Info(context.Context) (runtime.Info, error) {
	return runtime.Info{Engine: "docker", Version: "1", ShowsPause: true, RestartsInPlace: true}, nil
}

// Inspect shows the container as it was when the inspect began.
func (r *dockerRuntime) Inspect(ctx context.Context, c *container.Container) (container.Snapshot, error) {
	s, err := r.fakeRuntime.Inspect(ctx, c)
	time.Sleep(r.inspectTakes)
	return s, err
}

func (r *dockerRuntime) notify(id string, kind runtime.NoticeKind, code uint32) {
	time.Sleep(time.Millisecond)
	r.notice(runtime.Notice{ID: id, Kind: kind, At: time.Now(), ExitCode: code, Described: &container.Container{Name: id, Image: container.Image{Reference: "img"}}})
}

func (r *dockerRuntime) created(id string) {
	r.create(id)
	r.notify(id, runtime.NoticeCreated, 0)
}

// run starts the container again, keeping the end of the run before as Docker does.
func (r *dockerRuntime) started(id string, byPolicy bool) {
	r.edit(id, func(s *container.Snapshot) {
		s.State, s.Run = container.StateRunning, container.Run{StartedAt: time.Now(), FinishedAt: s.Run.FinishedAt}
		if byPolicy {
			s.RestartCount++
		}
	})
	r.notify(id, runtime.NoticeStarted, 0)
}

func (r *dockerRuntime) exited(id string, code uint32) {
	r.exit(id, code, exitReason(code))
	r.notify(id, runtime.NoticeExited, code)
}

// account returns kind, exit code and missed runs of everything that was reported.
func (b *fixture) account() []string {
	b.sink.mu.Lock()
	defer b.sink.mu.Unlock()
	var out []string
	for i := range b.sink.transitions {
		tr := &b.sink.transitions[i]
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

func rerun(t *testing.T, inspectTakes time.Duration, life func(*dockerRuntime), expect ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newDockerRuntime()
		r.inspectTakes = inspectTakes
		b := observe(t, r, nil)
		advance(3 * time.Second)
		life(r)
		advance(3 * time.Second)
		b.stop()
		assert.Equal(t, expect, b.account())
		for i := range b.sink.transitions {
			assert.NotZero(t, b.sink.transitions[i].When)
		}
		assert.Empty(t, b.tel.gaps, "nothing was missed")
	})
}

// pollRuntime hides the stream.
type pollRuntime struct{ r *dockerRuntime }

func (l pollRuntime) Info(ctx context.Context) (runtime.Info, error) { return l.r.Info(ctx) }

func (l pollRuntime) List(ctx context.Context, dst []runtime.Summary) ([]runtime.Summary, error) {
	return l.r.List(ctx, dst)
}

func (l pollRuntime) Describe(ctx context.Context, s runtime.Summary) (*container.Container, error) {
	return l.r.Describe(ctx, s)
}

func (l pollRuntime) Inspect(ctx context.Context, c *container.Container) (container.Snapshot, error) {
	return l.r.Inspect(ctx, c)
}

func (l pollRuntime) Close() error { return nil }

// criRuntime is a runtime as CRI's, where an id has one run.
type criRuntime struct{ *dockerRuntime }

func (criRuntime) Info(context.Context) (runtime.Info, error) {
	return runtime.Info{Engine: "scripted", Version: "1"}, nil
}

// omittingRuntime is an engine whose list omits containers for a moment.
type omittingRuntime struct {
	pollRuntime
	omits *atomic.Bool
}

func (f omittingRuntime) List(ctx context.Context, dst []runtime.Summary) ([]runtime.Summary, error) {
	if f.omits.Load() {
		return dst, nil
	}
	return f.pollRuntime.List(ctx, dst)
}
