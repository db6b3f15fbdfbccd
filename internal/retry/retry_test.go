// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package retry_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/zastava-otel/zastava/internal/retry"
)

func ExampleNewBackOff() {
	b := retry.NewBackOff(retry.Options{Initial: time.Second, Max: 5 * time.Second, Multiplier: 2})
	for range 4 {
		fmt.Println(b.NextBackOff())
	}
	b.Reset()
	fmt.Println("after a success:", b.NextBackOff())
	// Output:
	// 1s
	// 2s
	// 4s
	// 5s
	// after a success: 1s
}

func TestBackOffStaysWithinItsJitter(t *testing.T) {
	b := retry.NewBackOff(retry.Options{Initial: time.Second, Max: time.Second, Multiplier: 2, Jitter: 0.5})
	for range 1000 {
		wait := b.NextBackOff()
		assert.GreaterOrEqual(t, wait, 500*time.Millisecond)
		assert.LessOrEqual(t, wait, 1500*time.Millisecond)
	}
}

func TestSleepReportsWhetherTheTimePassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		assert.True(t, retry.Sleep(t.Context(), time.Minute))
		assert.Equal(t, time.Minute, time.Since(began))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		assert.False(t, retry.Sleep(ctx, time.Minute))
		assert.Equal(t, time.Second, time.Since(began))
	})
}
