// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"sync"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// sendAtOnce bounds the transitions of one delivery.
const sendAtOnce = 256

// outboxItem is what waits for the sink: a change of one container, a gap, or only the time at which the runtime was seen.
type outboxItem struct {
	change tracker.Change
	gap    *container.Gap
	seen   time.Time
}

// weight is the room that an item occupies. One without transitions counts too, because it is a write to the checkpoint.
func (e *outboxItem) weight() int { return max(1, len(e.change.Transitions)) }

// outbox is a bounded queue between the loop, which never waits, and the sender, which does.
type outbox struct {
	mu       sync.Mutex
	filled   *sync.Cond
	queue    []outboxItem
	weight   int // of the queue and of the batch that is being delivered
	capacity int
	closed   bool
	refused  bool          // an offer was refused since the last take
	room     chan struct{} // receives a token when there is room again after a refusal
}

func newOutbox(capacity int) *outbox {
	b := &outbox{capacity: capacity, room: make(chan struct{}, 1)}
	b.filled = sync.NewCond(&b.mu)
	return b
}

// offer appends an item and reports whether there was room. An empty outbox has room for any item.
func (b *outbox) offer(e outboxItem) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.weight > 0 && b.weight+e.weight() > b.capacity {
		b.refused = true
		return false
	}
	b.queue = append(b.queue, e)
	b.weight += e.weight()
	b.filled.Signal()
	return true
}

// take waits for items and removes the first of them, at most sendAtOnce transitions but at least one item. It returns none when the
// outbox is closed and empty.
func (b *outbox) take() []outboxItem {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) == 0 && !b.closed {
		b.filled.Wait()
	}
	n, weight := 0, 0
	for n < len(b.queue) && (n == 0 || weight+b.queue[n].weight() <= sendAtOnce) {
		weight += b.queue[n].weight()
		n++
	}
	batch := b.queue[:n:n]
	b.queue = b.queue[n:]
	if len(b.queue) == 0 {
		b.queue = nil // release the array
	}
	return batch
}

// done frees the room of a batch that was delivered.
func (b *outbox) done(batch []outboxItem) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range batch {
		b.weight -= batch[i].weight()
	}
	if b.refused && b.weight <= b.capacity/2 {
		b.refused = false
		select {
		case b.room <- struct{}{}:
		default:
		}
	}
}

// close has take return the remaining items, then none.
func (b *outbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.filled.Broadcast()
}

// abandon refuses everything from now on, because nothing is delivered any more.
func (b *outbox) abandon() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.weight, b.capacity = 1, 0
}

func (b *outbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.weight
}
