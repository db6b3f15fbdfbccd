// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEvictionStopsWhenTheRequestIsMet(t *testing.T) {
	e := newEviction()
	e.request(10)
	assert.True(t, e.shouldEvict(6))
	assert.True(t, e.shouldEvict(6))
	assert.False(t, e.shouldEvict(6), "there is room for 10")
}

func TestEvictionTakesTheOldestWaitingRecordsFirst(t *testing.T) {
	e := newEviction()
	results := make([]chan waitResult, 3)
	for i := range results {
		results[i] = make(chan waitResult, 1)
		go func() { results[i] <- e.wait(t.Context(), time.Hour, observed.Add(-time.Duration(i)*time.Hour), 10) }()
	}
	soon(t, func() bool { e.mu.Lock(); defer e.mu.Unlock(); return len(e.waiting) == 3 })
	e.request(11)
	assert.Equal(t, waitEvicted, <-results[2])
	assert.Equal(t, waitEvicted, <-results[1])
	assert.False(t, e.shouldEvict(1), "the request is met")
	e.stop()
	assert.Equal(t, waitStopped, <-results[0])
	assert.Equal(t, waitStopped, e.wait(t.Context(), time.Hour, observed, 1))
	_, err := e.makeRoom(t.Context(), 1)
	require.ErrorIs(t, err, errStopping)
}

func TestEvictionRequestEndsWithItsLastRequester(t *testing.T) {
	e := newEviction()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.makeRoom(ctx, 10)
	require.ErrorIs(t, err, context.Canceled)
	assert.False(t, e.shouldEvict(10), "no request remains")
	assert.Equal(t, waitElapsed, e.wait(t.Context(), time.Millisecond, observed, 10))
}
