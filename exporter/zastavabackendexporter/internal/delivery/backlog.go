// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/queuestate"
)

const (
	rateMemory  = 5 * time.Minute // the weight of an arrival in the present rate falls to 1/e in that time
	maxCapacity = 1e9             // seconds; what is more is reported as this
	behindAfter = 5 * time.Second // a lane is behind when its oldest record is older
)

// backlog measures what a lane has not delivered: how old the oldest record is, how large the queue is, and for how long it has room.
type backlog struct {
	now   func() time.Time
	limit queueLimit

	mu      sync.Mutex
	held    map[uint64]time.Time // for each delivery under way, when its oldest record was observed
	keys    uint64               // of held, counted up
	arrived float64              // units of the queue, each with the weight of its age
	at      time.Time            // when arrived was last weighed
	began   time.Time

	queued atomic.Pointer[queuestate.State] // nil if unknown
}

// queueLimit is the most that the queue may hold.
type queueLimit struct {
	size  int64
	sizer exporterhelper.RequestSizerType
}

// sizeOf returns the size of logs as the queue counts it.
func (m queueLimit) sizeOf(logs plog.Logs) int64 {
	switch m.sizer {
	case exporterhelper.RequestSizerTypeItems:
		return int64(logs.LogRecordCount())
	case exporterhelper.RequestSizerTypeBytes:
		return int64((&plog.ProtoMarshaler{}).LogsSize(logs))
	default:
		return 1
	}
}

// used returns the size of a queue in the unit of the limit.
func (m queueLimit) used(s *queuestate.State) int64 {
	switch m.sizer {
	case exporterhelper.RequestSizerTypeItems:
		return int64(s.Items)
	case exporterhelper.RequestSizerTypeBytes:
		return int64(s.Bytes)
	default:
		return int64(s.Requests())
	}
}

// hold counts records as undelivered until release is called. A zero time is not counted.
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

// oldest returns the age of the oldest undelivered record, 0 if there is none. The queue hands out its oldest records first, so
// the oldest of all is among those held.
func (b *backlog) oldest() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.held) == 0 {
		return 0
	}
	first := slices.MinFunc(slices.Collect(maps.Values(b.held)), time.Time.Compare)
	return max(b.now().Sub(first), 0)
}

// isBehind reports whether the oldest record has waited for so long that no other lane may be served first.
func (b *backlog) isBehind() bool { return b.oldest() > behindAfter }

// setQueueState is called with each state that the queue writes to its storage.
func (b *backlog) setQueueState(s queuestate.State) { b.queued.Store(&s) }

// used returns the size of the queue in the unit of its limit. It returns false if the size is unknown.
func (b *backlog) used() (size int64, known bool) {
	s := b.queued.Load()
	if s == nil {
		return 0, false
	}
	return b.limit.used(s), true
}

// arrival counts units that were admitted to the queue.
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

// capacity returns for how many seconds more the queue has room for what arrives at the present rate. It returns false if that is
// unknown.
func (b *backlog) capacity() (seconds float64, known bool) {
	used, known := b.used()
	if !known {
		return 0, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.decay()
	observed := b.at.Sub(b.began).Seconds()
	weight := rateMemory.Seconds() * (1 - math.Exp(-observed/rateMemory.Seconds()))
	if weight < 1 {
		return 0, false // a rate needs about a second
	}
	free := float64(max(b.limit.size-used, 0))
	return min(free/max(b.arrived/weight, 1e-9), maxCapacity), true
}
