// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/queuestate"
)

const (
	rateMemory  = 5 * time.Minute // how far back the present rate looks: its weight of an arrival falls to 1/e in that time
	maxCapacity = 1e9             // seconds; more is as good as for ever
	behindAfter = 5 * time.Second // events older than that are a backlog
)

// backlog knows what of events, or of facts, is not delivered yet: how old the oldest of it is, how large the queue is, and how long it would last.
type backlog struct {
	now  func() time.Time
	most queueMost

	mu      sync.Mutex
	held    map[uint64]time.Time // when the oldest record of each push that is under way was seen
	keys    uint64               // of held, counted up
	arrived float64              // units, each with the weight of its age
	at      time.Time            // of arrived
	began   time.Time

	queued atomic.Pointer[queuestate.State] // nil: not known
}

// queueMost is how much the queue may hold.
type queueMost struct {
	size  int64
	sizer exporterhelper.RequestSizerType
}

// sizeOf is the size of logs as the queue counts it.
func (m queueMost) sizeOf(logs plog.Logs) int64 {
	switch m.sizer {
	case exporterhelper.RequestSizerTypeItems:
		return int64(logs.LogRecordCount())
	case exporterhelper.RequestSizerTypeBytes:
		return int64((&plog.ProtoMarshaler{}).LogsSize(logs))
	default:
		return 1
	}
}

// used is the part of the queue that is taken.
func (m queueMost) used(s queuestate.State) int64 {
	switch m.sizer {
	case exporterhelper.RequestSizerTypeItems:
		return int64(s.Items)
	case exporterhelper.RequestSizerTypeBytes:
		return int64(s.Bytes)
	default:
		return int64(s.Requests())
	}
}

// hold says that something is not delivered until release is called. A zero time says nothing.
func (b *backlog) hold(oldest time.Time) (release func()) {
	if oldest.IsZero() {
		return func() {}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held == nil {
		b.held = map[uint64]time.Time{}
	}
	b.keys++
	key := b.keys
	b.held[key] = oldest
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.held, key)
	}
}

// holding has the age of what is pushed known until the push is over, with all that it tries.
func (b *backlog) holding(push func(context.Context, plog.Logs) error) func(context.Context, plog.Logs) error {
	return func(ctx context.Context, logs plog.Logs) error {
		defer b.hold(oldestOf(logs))()
		return push(ctx, logs)
	}
}

// oldest is the age of the oldest event that is not delivered, 0 if there is none. The queue hands out its oldest first, so
// that it is among what is held here.
func (b *backlog) oldest() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.held) == 0 {
		return 0
	}
	first := slices.MinFunc(slices.Collect(maps.Values(b.held)), time.Time.Compare)
	return max(b.now().Sub(first), 0)
}

// eventsBehind tells whether there is a backlog of events, before which nothing else may be sent.
func (b *backlog) eventsBehind() bool { return b.oldest() > behindAfter }

var errEventsFirst = errors.New("events wait to be delivered: facts go after them")

// eventsFirst is an error, to be retried, while there is a backlog of events.
func (b *backlog) eventsFirst() error {
	if b.eventsBehind() {
		return errEventsFirst
	}
	return nil
}

// arrival counts what the queue took, in its units.
func (b *backlog) arrival(units int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.decay()
	b.arrived += float64(units)
}

func (b *backlog) decay() {
	now := b.now()
	if b.began.IsZero() {
		b.began, b.at = now, now
	}
	b.arrived *= math.Exp(-now.Sub(b.at).Seconds() / rateMemory.Seconds())
	b.at = now
}

// capacity is for how many seconds more the queue can take what arrives at the present rate. false: that is not known.
func (b *backlog) capacity() (float64, bool) {
	queued := b.queued.Load()
	if queued == nil {
		return 0, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.decay()
	seen := b.at.Sub(b.began).Seconds()
	weight := rateMemory.Seconds() * (1 - math.Exp(-seen/rateMemory.Seconds()))
	if weight < 1 {
		return 0, false // too early to tell
	}
	free := float64(max(b.most.size-b.most.used(*queued), 0))
	return min(free/max(b.arrived/weight, 1e-9), maxCapacity), true
}

// watchedHost has its storages tell the backlog what the queue writes of itself.
type watchedHost struct {
	component.Host
	backlog *backlog
}

func (h watchedHost) GetExtensions() map[component.ID]component.Component {
	out := maps.Clone(h.Host.GetExtensions())
	for id, ext := range out {
		if s, ok := ext.(storage.Extension); ok {
			out[id] = watchedStorage{Extension: s, backlog: h.backlog}
		}
	}
	return out
}

type watchedStorage struct {
	storage.Extension
	backlog *backlog
}

func (s watchedStorage) GetClient(ctx context.Context, kind component.Kind, id component.ID, name string) (storage.Client, error) {
	client, err := s.Extension.GetClient(ctx, kind, id, name)
	if err != nil {
		return nil, err
	}
	return watchedClient{Client: client, backlog: s.backlog}, nil
}

type watchedClient struct {
	storage.Client
	backlog *backlog
}

func (c watchedClient) Get(ctx context.Context, key string) ([]byte, error) {
	value, err := c.Client.Get(ctx, key)
	if err == nil {
		c.see(key, value)
	}
	return value, err
}

func (c watchedClient) Batch(ctx context.Context, ops ...*storage.Operation) error {
	err := c.Client.Batch(ctx, ops...)
	for _, op := range ops {
		if err == nil && op.Type == storage.Set {
			c.see(op.Key, op.Value)
		}
	}
	return err
}

func (c watchedClient) see(key string, value []byte) {
	if key != queuestate.Key {
		return
	}
	if s, err := queuestate.Parse(value); err == nil {
		c.backlog.queued.Store(&s)
	}
}
