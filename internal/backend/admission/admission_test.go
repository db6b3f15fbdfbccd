// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var limits = Limits{Places: 4, PerTenant: 2, Waiting: 3, Wait: time.Second}

// take takes places that must be free at once.
func take(t *testing.T, q *Queue, tenant string, n int) []func() {
	t.Helper()
	var leave []func()
	for range n {
		l, err := q.Enter(t.Context(), tenant)
		require.NoError(t, err)
		leave = append(leave, l)
	}
	return leave
}

func TestTenantHasNoMoreThanItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(limits)
		ours := take(t, q, "acme", 2)
		begun := time.Now()
		_, err := q.Enter(t.Context(), "acme")
		require.ErrorIs(t, err, ErrTenant)
		assert.Equal(t, time.Second, time.Since(begun), "it waits first")
		theirs := take(t, q, "globex", 2)
		_, err = q.Enter(t.Context(), "third")
		require.ErrorIs(t, err, ErrBusy)
		for _, leave := range append(ours, theirs...) {
			leave()
		}
		assert.Empty(t, q.tenants, "nothing is remembered of a tenant without requests")
		assert.Empty(t, q.turn)
		assert.Equal(t, 4, q.free)
		assert.Zero(t, q.waiting)
	})
}

func TestFreePlacesGoToWaitingTenantsInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Limits{Places: 1, PerTenant: 1, Waiting: 3, Wait: time.Hour})
		first := take(t, q, "acme", 1)[0]
		var mu sync.Mutex
		var order []string
		wait := func(tenant string) {
			go func() {
				leave, err := q.Enter(t.Context(), tenant)
				assert.NoError(t, err)
				mu.Lock()
				order = append(order, tenant)
				mu.Unlock()
				leave()
			}()
			synctest.Wait()
		}
		for _, tenant := range []string{"acme", "acme", "acme", "globex", "third", "globex"} {
			wait(tenant)
		}
		first()
		synctest.Wait()
		assert.Equal(t, []string{"acme", "globex", "third", "acme", "globex", "acme"}, order)
		assert.Empty(t, q.tenants)
	})
}

func TestWaitingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Limits{Places: 1, PerTenant: 1, Waiting: 2, Wait: time.Minute})
		take(t, q, "t0", 1)
		refused := map[error]int{}
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 30 {
			all.Go(func() {
				_, err := q.Enter(t.Context(), string(rune('a'+i)))
				mu.Lock()
				refused[err]++
				mu.Unlock()
			})
		}
		synctest.Wait()
		mu.Lock()
		atOnce := refused[ErrBusy]
		mu.Unlock()
		assert.Equal(t, 30-maxWaiting*2, atOnce, "refused at once")
		all.Wait()
		assert.Equal(t, 30, refused[ErrBusy])
		for range 2 {
			all.Go(func() { _, _ = q.Enter(t.Context(), "t0") })
		}
		synctest.Wait()
		_, err := q.Enter(t.Context(), "t0")
		require.ErrorIs(t, err, ErrTenant)
		all.Wait()
	})
}

func TestNoneWaitsWithoutQueue(t *testing.T) {
	q := New(Limits{Places: 3, PerTenant: 2})
	take(t, q, "acme", 2)
	_, err := q.Enter(t.Context(), "acme")
	require.ErrorIs(t, err, ErrTenant)
	take(t, q, "globex", 1)
	_, err = q.Enter(t.Context(), "globex")
	require.ErrorIs(t, err, ErrBusy)
}

func TestWaitEndsWithItsContext(t *testing.T) {
	q := New(limits)
	take(t, q, "acme", 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := q.Enter(ctx, "acme")
	require.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, q.waiting)
}

// Many requests of many tenants at once never exceed the places, and none is lost.
func TestPlacesAreNeverExceeded(t *testing.T) {
	q := New(Limits{Places: 4, PerTenant: 2, Waiting: 100, Wait: time.Minute})
	var now atomic.Int32
	var per [5]atomic.Int32
	var all sync.WaitGroup
	for i := range 400 {
		all.Go(func() {
			leave, err := q.Enter(t.Context(), string(rune('a'+i%5)))
			if err != nil {
				t.Errorf("enter: %v", err)
				return
			}
			assert.LessOrEqual(t, now.Add(1), int32(4))
			assert.LessOrEqual(t, per[i%5].Add(1), int32(2))
			time.Sleep(50 * time.Microsecond)
			per[i%5].Add(-1)
			now.Add(-1)
			leave()
		})
	}
	all.Wait()
	assert.Equal(t, 4, q.free)
	assert.Empty(t, q.tenants)
}
