// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// life is a container of the model runtime, with all that was ever true of it.
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
	mu        sync.Mutex
	random    *rand.Rand
	snapshots bool // notices carry snapshots, as those of CRI do; else they have none, as containerd's own
	lives     map[string]*life
	order     []string
	posted    []runtime.Notice // for replays
	post      func(runtime.Notice)
	broken    chan error
	down      bool
	listed    time.Time // when a list first succeeded
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

// notice posts a notice, if there is a stream.
func (m *machine) notice(kind runtime.NoticeKind, l *life) {
	n := runtime.Notice{ID: l.c.ID, Kind: kind, At: time.Now()}
	if kind == runtime.NoticeExited {
		n.At, n.ExitCode = l.run.FinishedAt, l.run.ExitCode
	}
	if m.snapshots && kind != runtime.NoticeDeleted {
		s := l.snapshot()
		n.Snapshot = &s
	}
	if m.post == nil {
		return
	}
	m.posted = append(m.posted, n)
	m.post(n)
}

// pick returns a container that exists and fits: only, if that is set.
func (m *machine) pick(only *life, n int, fits func(*life) bool) *life {
	var fit []*life
	for _, id := range m.order {
		if l := m.lives[id]; l.removed.IsZero() && (only == nil || l == only) && fits(l) {
			fit = append(fit, l)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[n%len(fit)]
}

func (m *machine) create(_ *life, n int) {
	c := &container.Container{Engine: "model", ID: fmt.Sprintf("c%d", len(m.order)), CreatedAt: time.Now(), Name: "app"}
	c.Pod.UID = fmt.Sprintf("u%d", n%3)
	for _, l := range m.lives {
		if l.c.Pod.UID == c.Pod.UID {
			c.Attempt = max(c.Attempt, l.c.Attempt+1)
		}
	}
	l := &life{c: c, state: container.StateCreated}
	m.lives[c.ID] = l
	m.order = append(m.order, c.ID)
	m.notice(runtime.NoticeCreated, l)
}

func (m *machine) start(only *life, n int) {
	if l := m.pick(only, n, func(l *life) bool { return l.state == container.StateCreated }); l != nil {
		l.state, l.run.StartedAt = container.StateRunning, time.Now()
		m.notice(runtime.NoticeStarted, l)
	}
}

func (m *machine) exit(only *life, n int) {
	if l := m.pick(only, n, func(l *life) bool { return l.state == container.StateRunning }); l != nil {
		l.state = container.StateExited
		l.run.FinishedAt, l.run.ExitCode, l.run.ExitKnown, l.run.Reason = time.Now(), uint32([]int{0, 1, 137}[n%3]), true, "Error"
		if l.run.ExitCode == 0 {
			l.run.Reason = "Completed"
		}
		m.notice(runtime.NoticeExited, l)
	}
}

func (m *machine) lateOOM(only *life, n int) {
	if l := m.pick(only, n, func(l *life) bool { return l.state == container.StateExited && l.run.ExitCode == 137 }); l != nil {
		l.run.Reason, l.run.OOMKilled = "OOMKilled", true
	}
}

func (m *machine) remove(only *life, n int) {
	if l := m.pick(only, n, func(l *life) bool { return l.state != container.StateRunning }); l != nil {
		l.removed = time.Now()
		m.notice(runtime.NoticeDeleted, l)
	}
}

// replay posts an old notice again.
func (m *machine) replay(_ *life, n int) {
	if len(m.posted) > 0 && m.post != nil {
		m.post(m.posted[n%len(m.posted)])
	}
}

// burst posts notices of more sandboxes than the mailbox has room for.
func (m *machine) burst(_ *life, n int) {
	for i := range 8 {
		if m.post != nil {
			m.post(runtime.Notice{ID: fmt.Sprintf("sandbox-%d-%d", n, i), Kind: runtime.NoticeCreated, At: time.Now()})
		}
	}
}
