// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

func TestListsRunOneAtATime(t *testing.T) {
	c := listCycle{first: true, source: container.SourceInventory, removed: map[string]struct{}{}}
	_, ok := c.begin()
	assert.True(t, ok)
	assert.False(t, c.requested())
	for range 3 {
		_, ok = c.begin()
		assert.False(t, ok, "one runs")
	}
	c.running = false
	assert.True(t, c.requested(), "one more follows, however often it was requested")
	assert.False(t, c.requested())
}

func TestGoodListEndsTheInventory(t *testing.T) {
	c := listCycle{first: true, source: container.SourceInventory, removed: map[string]struct{}{"a": {}}}
	c.fail()
	assert.True(t, c.first)
	assert.Empty(t, c.removed)
	c.removed["a"] = struct{}{}
	c.succeed(noon, []runtime.Summary{{ID: "b"}})
	assert.Equal(t, noon, c.last)
	assert.False(t, c.first)
	assert.Equal(t, container.SourceList, c.source)
	assert.Empty(t, c.removed)
	buffer, _ := c.begin()
	assert.Empty(t, buffer)
	assert.Equal(t, 1, cap(buffer), "the buffer is used again")
	assert.Zero(t, buffer[:1][0], "without its items")
}

func TestPeriodIsShortWithoutAStreamOrWhenExpedited(t *testing.T) {
	var c listCycle
	period := func(streaming bool) time.Duration { return c.period(streaming, 2*time.Second, time.Minute) }
	assert.Equal(t, 2*time.Second, period(false))
	assert.Equal(t, time.Minute, period(true))
	c.expedite()
	c.expedite()
	assert.Equal(t, 2*time.Second, period(true))
	assert.Equal(t, time.Minute, period(true), "once")
}
