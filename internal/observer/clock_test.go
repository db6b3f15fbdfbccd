// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestClockJumpIsDetected(t *testing.T) {
	now := time.Now()
	assert.False(t, jumped(elapsed(now, now.Add(time.Hour))))
	assert.False(t, jumped(5*time.Second, 6*time.Second), "a slow machine is no jump")
	assert.True(t, jumped(time.Hour, 5*time.Second), "the machine slept, or the clock was set forward")
	assert.True(t, jumped(-time.Hour, 5*time.Second), "the clock was set back")
}
