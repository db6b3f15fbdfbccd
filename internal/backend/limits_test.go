// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A client that retries early and often does not wait longer for that.
func TestRefusedBatchesUseNoTokens(t *testing.T) {
	l, now := newLimits(1, 2), time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	_, ok := l.allow("acme", 2, now)
	require.True(t, ok)
	for range 10 {
		wait, ok := l.allow("acme", 1, now)
		require.False(t, ok)
		assert.Equal(t, time.Second, wait)
	}
	_, ok = l.allow("acme", 1, now.Add(time.Second))
	assert.True(t, ok)
}

// Clients choose the names of tenants: idle tenants make room for others, and the number of tenants is bounded.
func TestIdleTenantsAreDropped(t *testing.T) {
	l, now := newLimits(1, 2), time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	for i := range maxTenants {
		_, ok := l.allow(strconv.Itoa(i), 2, now)
		require.True(t, ok)
	}
	wait, ok := l.allow("acme", 1, now)
	assert.False(t, ok)
	assert.Positive(t, wait)
	_, ok = l.allow("acme", 1, now.Add(time.Minute))
	assert.True(t, ok)
	assert.Len(t, l.buckets, 1)
}
