// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// weighing returns an item of n transitions.
func weighing(n int) outboxItem {
	return outboxItem{change: tracker.Change{ID: "a", Transitions: make([]container.Transition, n)}}
}

func TestOutboxRefusesWhatExceedsItsCapacity(t *testing.T) {
	b := newOutbox(4)
	assert.True(t, b.offer(weighing(9)), "an empty outbox has room for any item")
	assert.False(t, b.offer(weighing(1)))
	b.done(b.take())
	<-b.room // there is room again

	assert.True(t, b.offer(weighing(3)))
	assert.True(t, b.offer(outboxItem{seen: time.Now()}), "the news of a time weighs one")
	assert.Equal(t, 4, b.len())
	assert.False(t, b.offer(weighing(1)))
	batch := b.take()
	assert.Len(t, batch, 2)
	assert.False(t, b.offer(weighing(1)), "what is being delivered counts until it is done")
	b.done(batch)
	assert.Zero(t, b.len())
	assert.True(t, b.offer(weighing(1)))
}

func TestOutboxTakesBatches(t *testing.T) {
	b := newOutbox(10 * sendAtOnce)
	for range 3 {
		require.True(t, b.offer(weighing(sendAtOnce/2)))
	}
	require.True(t, b.offer(weighing(2*sendAtOnce)))
	b.close()
	assert.Len(t, b.take(), 2, "at most sendAtOnce transitions")
	assert.Len(t, b.take(), 1)
	assert.Len(t, b.take(), 1, "at least one item")
	assert.Empty(t, b.take(), "closed and empty")
}

func TestAbandonedOutboxRefusesEverything(t *testing.T) {
	b := newOutbox(4)
	b.abandon()
	assert.False(t, b.offer(weighing(1)))
}
