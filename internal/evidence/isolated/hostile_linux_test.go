// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/limit"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

// TestReplyOfManyEmptyElementsIsRefused has two bytes of JSON become hundreds in memory.
func TestReplyOfManyEmptyElementsIsRefused(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat("{},", 200_000), ",")
	for name, text := range map[string]string{
		"files":                         `{"id":1,"sample":{"Files":[` + many + `]}}`,
		"processes":                     `{"id":1,"sample":{"Processes":[` + many + `]}}`,
		"uses":                          `{"id":1,"sample":{"Files":[{"Uses":[` + many + "," + many + `]}]}}`,
		"in a list that is given twice": `{"id":1,"sample":{"Files":[` + many + `],"Files":[]}}`,
		"in another spelling":           `{"id":1,"SAMPLE":{"FILES":[` + many + `]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			oracle.Bound(t, oracle.Cost{Bytes: 48 << 20, CPU: time.Minute})
			var got reply
			var exceeded *limit.Error
			require.ErrorAs(t, readFrame(bytes.NewReader(framed(text)), &got, maxReplyBytes), &exceeded)
		})
	}
}

func TestProcessThatAnswersWhatItWasNotAskedIsGivenUp(t *testing.T) {
	p := &peer{pending: map[uint64]chan reply{}}
	id, answer := p.register()
	require.NoError(t, p.deliver(reply{ID: id}))
	assert.Equal(t, id, (<-answer).ID)
	require.ErrorContains(t, p.deliver(reply{ID: id}), "which is none", "once is enough")
	require.ErrorContains(t, p.deliver(reply{ID: 99}), "which is none")
	id, _ = p.register()
	p.abandon(id)
	require.NoError(t, p.deliver(reply{ID: id}), "it was asked before")
}

func TestStatsOfAProcessAreCorrected(t *testing.T) {
	p := &peer{pending: map[uint64]chan reply{}}
	deliver := func(change func(r *reply)) {
		id, _ := p.register()
		r := reply{ID: id}
		change(&r)
		require.NoError(t, p.deliver(r))
	}
	deliver(func(r *reply) { r.Stats.Samples, r.Stats.CPU = 7, time.Second })
	deliver(func(r *reply) {
		r.Stats.Samples, r.Stats.BytesRead, r.Stats.CPU, r.Stats.Waited = 3, 1<<64-1, -5, 1<<63-1
		r.Stats.Stuck, r.Stats.CacheSize = -1, 1<<62
	})
	stats := p.stats()
	assert.EqualValues(t, 7, stats.Samples, "counters do not decrease")
	assert.EqualValues(t, maxCount, stats.BytesRead)
	assert.Equal(t, time.Second, stats.CPU)
	assert.Equal(t, maxDuration, stats.Waited)
	assert.Zero(t, stats.Stuck)
	assert.Equal(t, maxGauge, stats.CacheSize)
	var sum Stats
	for range 1000 {
		sum.add(stats)
	}
	assert.EqualValues(t, 1000*maxCount, sum.BytesRead)
}

func TestCPUTimeIsBoundedOverLongTimes(t *testing.T) {
	for name, test := range map[string]struct {
		perSecond time.Duration
		killed    bool
	}{
		"idle":                     {0, false},
		"its share":                {20 * time.Millisecond, false},
		"its share, and collector": {39 * time.Millisecond, false},
		"a third of a core":        {333 * time.Millisecond, true},
		"a core":                   {time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			a, now, used := newAllowance(0.02, noon), noon, time.Duration(0)
			killed := false
			for range 3600 {
				now, used = now.Add(time.Second), used+test.perSecond
				killed = killed || a.exceeded(used, now)
			}
			assert.Equal(t, test.killed, killed)
		})
	}
}

func TestStartsAreSpacedHoweverManySamplesSucceedBetween(t *testing.T) {
	var s starts
	now, started := noon, 0
	for now.Before(noon.Add(10 * time.Minute)) {
		if wait := s.wait(now); wait > 0 {
			now = now.Add(wait)
			continue
		}
		started++
		s.succeeded() // an honest container
		s.failed(now) // a hostile one
	}
	assert.LessOrEqual(t, started, startsAtOnce+int(10*time.Minute/startEvery)+1)
	assert.Greater(t, started, startsAtOnce)

	s = starts{}
	for range 20 {
		s.failed(noon)
	}
	assert.Equal(t, startAgainMax, s.wait(noon), "without a sample the wait doubles")
}

func TestIDsOfAnyLengthAreRemembered(t *testing.T) {
	var b breaker
	for i := range maxSuspended {
		b.ended(strings.Repeat("x", 100_000)+strconv.Itoa(i), noon)
	}
	text := b.store()
	assert.LessOrEqual(t, len(text), maxStored)
	var again breaker
	require.NoError(t, again.load(text, noon))
	allowed, _ := again.allows(strings.Repeat("x", 100_000)+"7", noon)
	assert.False(t, allowed)
}
