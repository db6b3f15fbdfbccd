// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/test/oracle"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func TestSuspensionsGrowToADay(t *testing.T) {
	var b breaker
	for _, want := range []time.Duration{
		time.Minute, 4 * time.Minute, 16 * time.Minute, 64 * time.Minute, 256 * time.Minute, 1024 * time.Minute, 24 * time.Hour, 24 * time.Hour,
	} {
		b.ended("a", noon)
		assert.Equal(t, want, b.suspended["a"].Until.Sub(noon))
	}
	allowed, _ := b.allows("a", noon.Add(24*time.Hour-1))
	assert.False(t, allowed)
	allowed, alone := b.allows("a", noon.Add(24*time.Hour))
	assert.True(t, allowed)
	assert.True(t, alone, "the next end shall have one suspect")
	assert.True(t, b.sampled("a"))
	assert.False(t, b.sampled("a"))
	allowed, alone = b.allows("a", noon)
	assert.True(t, allowed)
	assert.False(t, alone)
}

func TestSuspensionsAreBoundedAndComeBackFromStorage(t *testing.T) {
	var b breaker
	for i := range maxSuspended + 10 {
		b.ended(strconv.Itoa(i), noon.Add(time.Duration(i)*time.Second))
	}
	assert.Len(t, b.suspended, maxSuspended)
	assert.NotContains(t, b.suspended, "9", "whose suspension ends first is forgotten first")
	assert.Contains(t, b.suspended, "10")

	var again breaker
	require.NoError(t, again.load(b.store(), noon))
	assert.Equal(t, b.suspended, again.suspended)
	assert.Equal(t, maxSuspended, again.count(noon))
}

func TestStoredSuspensionsThatCannotBeAreCorrected(t *testing.T) {
	var b breaker
	require.NoError(t, b.load([]byte(`{"":{"ends":1},"zero":{"ends":0},"far":{"ends":2,"until":"2036-01-01T00:00:00Z"}}`), noon))
	assert.Equal(t, map[string]suspension{"far": {Ends: 2, Until: noon}}, b.suspended, "the clock was set back")
	require.ErrorContains(t, b.load([]byte(strings.Repeat(" ", maxStored+1)), noon), "more than 262144 bytes")
	require.Error(t, b.load([]byte(`[`), noon))
}

func FuzzSuspensionsFromStorage(f *testing.F) {
	f.Add([]byte(`{"a":{"ends":1,"until":"2026-11-28T12:00:00Z"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		oracle.Bound(t, oracle.Parsing(len(text)))
		var b breaker
		if b.load(text, noon) == nil {
			assert.LessOrEqual(t, len(b.suspended), maxSuspended)
		}
	})
}
