// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestReplayIsBounded(t *testing.T) {
	var r replay
	for i := range 5 * maxSeen {
		assert.True(t, r.isNew(int64(i+1), id1, "start"))
		assert.False(t, r.isNew(int64(i+1), id1, "start"))
	}
	assert.Len(t, r.seen, maxSeen)
	assert.Len(t, r.order, maxSeen)
	assert.True(t, r.isNew(1, id1, "start"), "it was evicted")
	assert.GreaterOrEqual(t, maxSeen, 2*256, "a replay must not evict the keys that it repeats")
}

func TestSubscriptionBeginsBeforeLatestEvent(t *testing.T) {
	var r replay
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r.since(at.Add(-time.Hour))
	r.isNew(at.UnixNano(), id1, "start")
	r.isNew(at.Add(-time.Minute).UnixNano(), id2, "start") // reported late
	since, _ := r.since(at.Add(time.Hour))
	assert.Equal(t, at.Add(-time.Second), since)
	assert.True(t, r.isNew(0, id1, "start"))
	assert.True(t, r.isNew(0, id1, "start"), "it may be another event")
}
