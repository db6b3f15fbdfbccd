// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"errors"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// streamState is news of the stream, or of who the runtime is.
type streamState struct {
	up     bool
	none   bool      // there is no stream
	behind time.Time // when the last notice had happened, of a stream that was read late
	info   *runtime.Info
}

// watch keeps the subscription up. It only reads the stream, into the mailbox, and says when the stream comes and goes.
func (l *loop) watch(ctx context.Context, w runtime.Watcher) {
	wait := newBackoff(l.opts.Backoff)
	for ctx.Err() == nil {
		up := false
		began := time.Now()
		var behind time.Time // when the last notice read had happened, if it was read late; only Watch's own calls touch it
		err := w.Watch(ctx, func() {
			up = true
			l.streams <- streamState{up: true}
		}, func(n runtime.Notice) {
			if behind = n.At; n.Replayed || time.Since(n.At) < tardy {
				behind = time.Time{}
			}
			l.mailbox.post(n)
		})
		if ctx.Err() != nil {
			return
		}
		l.streams <- streamState{none: errors.Is(err, runtime.ErrNoStream), behind: behind}
		delay := wait.next()
		switch {
		case errors.Is(err, runtime.ErrNoStream):
			delay = streamRetry
			l.log.Info("the runtime has no event stream; its list is polled", "runtime", l.opts.Name, "look_again_in", delay)
		default:
			if up && time.Since(began) > l.opts.Backoff.Max {
				wait.Reset()
				delay = wait.next()
			}
			l.log.Warn("the event stream ended; polling until it is back", "runtime", l.opts.Name, "retry_in", delay, "error", err)
		}
		if !sleep(ctx, delay) {
			return
		}
		l.tel.Reconnected()
	}
}

// takeStream notes that the stream came or went; either way, only a list tells what was missed.
func (l *loop) takeStream(ctx context.Context, s streamState) {
	if s.info != nil {
		l.info = *s.info
		return
	}
	if l.streaming && !s.up {
		l.lastSight = time.Now()
		l.streamEnded(s)
	}
	if s.none {
		l.streamless()
	}
	if s.up {
		l.streamUp = time.Now()
		l.heardFrom = l.streamUp
		l.soon = 1 // no server says when a subscription stands: what came before it did is found by one more list soon
	}
	l.streaming = s.up
	l.Observer.streaming.Store(s.up)
	l.list(ctx)
}

// takeNotices applies what the stream told.
func (l *loop) takeNotices(ctx context.Context) {
	notices, overflowed := l.mailbox.empty()
	if overflowed {
		l.heardFrom = time.Now()
		l.log.Warn("notices came faster than they could be taken; listing", "runtime", l.opts.Name)
		l.gap(container.CauseMailboxOverflow, l.lastList, time.Now(), 0)
		l.list(ctx)
	}
	l.punctual(ctx, notices)
	for i := range notices {
		l.takeNotice(ctx, &notices[i])
	}
}

func (l *loop) takeNotice(ctx context.Context, n *runtime.Notice) {
	e := l.entries[n.ID]
	if e == nil {
		if n.Kind == runtime.NoticeDeleted {
			return // it was known to nobody: a sandbox, or removed before the first look
		}
		if _, late := l.left[n.ID]; late {
			return // where one id has many runs, it is not used again once it is removed
		}
		e = &seat{id: n.ID, replayed: true}
		l.entries[n.ID] = e
	}
	e.replayed = e.replayed && n.Replayed
	now := time.Now()
	stranger := e.foreign && e.container == nil
	e.seenAt, e.foreign, e.awaiting = now, false, 0
	if n.Kind == runtime.NoticeStarted {
		e.pid, e.askedPID = n.PID, false
	}
	e.started = e.started || n.Kind == runtime.NoticeStarted || n.Kind == runtime.NoticeExited
	if e.excluded {
		return
	}
	e.hear(n)
	look := tracker.Observation{At: now, Since: l.since(e), Source: container.SourceStream, HappenedAt: n.At}
	k := l.tracker.Known(n.ID)
	running := k != nil && (k.State == container.StateRunning || k.State == container.StatePaused) && !k.Run.StartedAt.IsZero()
	switch {
	case n.Snapshot != nil && e.container != nil && !e.busy:
		snap := *n.Snapshot
		snap.Container = e.container
		look.PauseHidden = !l.info.ShowsPause
		l.apply(e, &snap, look)
		return
	case n.Kind == runtime.NoticeDeleted:
		e.seenAt = time.Time{}
		if stranger && e.brief() {
			e.behind = earlier(l.lastList, e.heard.created)
		}
		if !e.busy {
			l.gone(e, look)
			return
		}
		e.deleted = true
	case n.Kind == runtime.NoticeExited:
		if running && !e.busy {
			l.apply(e, &container.Snapshot{Container: k.Container, State: container.StateRunning, Run: k.Run, RestartCount: k.RestartCount}, look)
			return
		}
	case running && n.Kind == runtime.NoticeHealth && !e.busy:
		l.apply(e, &container.Snapshot{Container: k.Container, State: k.State, Run: k.Run, RestartCount: k.RestartCount, Health: n.Health}, look)
		return
	case running && (n.Kind == runtime.NoticePaused || n.Kind == runtime.NoticeResumed) && !(l.info.ShowsPause && (e.busy || n.At.Before(e.turned))):
		// Where looks show a pause, one that is under way may have been made before this, and one that was taken after it.
		snap := &container.Snapshot{Container: k.Container, State: container.StateRunning, Run: k.Run, RestartCount: k.RestartCount}
		if n.Kind == runtime.NoticePaused {
			snap.State = container.StatePaused
		}
		l.apply(e, snap, look)
		return
	case n.Kind == runtime.NoticeOOM && k != nil && k.State == container.StateExited:
		// Told after the end that it brought: the runtime's verdict comes with it or a moment later, and the container may be
		// removed as soon as it is there.
		e.verdictDue = !k.Run.OOMKilled
		if n.OOMKilled && e.verdictDue && !e.busy {
			run := k.Run
			run.OOMKilled, run.Reason = true, reasonOOMKilled
			look.HappenedAt = time.Time{}
			l.apply(e, &container.Snapshot{Container: k.Container, State: k.State, Run: run, RestartCount: k.RestartCount}, look)
			return
		}
		l.recheckAfter(n.ID, l.opts.RecheckAfterStop)
		if !e.verdictDue {
			return
		}
	case n.Kind == runtime.NoticeOOM:
		// Whose kill it was shows a moment later: the container's own end, or a process inside while it lives on.
		l.recheckAfter(n.ID, l.opts.RecheckAfterStop)
		return
	}
	e.dirty, e.source = true, container.SourceStream
	if !e.busy {
		l.look(ctx, []*seat{e})
	}
}

// reasonOOMKilled is the word of all runtimes for an end by the kernel's OOM killer.
const reasonOOMKilled = "OOMKilled"

// exitReason is the word that CRI runtimes use for an end of which nothing but the code is known.
func exitReason(code uint32) string {
	if code == 0 {
		return "Completed"
	}
	return "Error"
}
