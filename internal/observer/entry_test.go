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

func TestWorkOfAnEntry(t *testing.T) {
	request, begin, finish := (*entry).request, (*entry).begin, (*entry).finish
	tests := []struct {
		name      string
		do        []func(*entry)
		due, busy bool
	}{
		{"idle at first", nil, false, false},
		{"due once requested", []func(*entry){request}, true, false},
		{"due once, however often requested", []func(*entry){request, request, begin, finish}, false, false},
		{"running covers what was requested before", []func(*entry){request, begin}, false, true},
		{"a request while it runs", []func(*entry){request, begin, request}, true, true},
		{"follows when that ends", []func(*entry){request, begin, request, finish}, true, false},
		{"begun again, it covers both", []func(*entry){request, begin, request, begin}, false, true},
		{"idle again", []func(*entry){request, begin, finish}, false, false},
		{"nothing to finish", []func(*entry){request, finish}, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := &entry{}
			for _, do := range tt.do {
				do(e)
			}
			assert.Equal(t, tt.due, e.due(), "due")
			assert.Equal(t, tt.busy, e.busy(), "busy")
		})
	}
}

func TestPhasesOfAnEntry(t *testing.T) {
	behind := time.Now()
	e := &entry{phase: phaseInventory, source: container.SourceList, behind: behind}
	assert.Equal(t, container.SourceInventory, e.observationSource())
	assert.False(t, e.identify(), "it is no foreign id")
	e.accept()
	assert.Equal(t, phaseObserved, e.phase)
	assert.Zero(t, e.behind)
	assert.Equal(t, container.SourceList, e.observationSource())

	e.behind = behind
	e.setForeign()
	assert.Zero(t, e.behind, "nothing of it waits")
	e.noticed(&runtime.Notice{Kind: runtime.NoticeChanged}, behind)
	assert.Equal(t, phaseObserved, e.phase, "a notice makes a foreign id a container again")

	e.exclude()
	assert.False(t, e.identify())
	e.noticed(&runtime.Notice{Kind: runtime.NoticeChanged}, behind)
	e.accept()
	assert.True(t, e.excluded(), "permanently")
}

func TestDelayOfAnEntryGrowsWithItsFailures(t *testing.T) {
	var f failures
	now := time.Now()
	for _, want := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second} {
		assert.Equal(t, want, f.add(now, 2*time.Second))
		assert.Equal(t, now.Add(want), f.retryAt)
	}
	for range 100 {
		f.add(now, 2*time.Second)
	}
	assert.Equal(t, maxRetryDelay, f.add(now, 2*time.Second))
}

func TestANewRunHasAnotherMainProcess(t *testing.T) {
	e := &entry{process: mainProcess{pid: 7, asked: true}}
	e.noticed(&runtime.Notice{Kind: runtime.NoticeExited}, time.Now())
	assert.Equal(t, mainProcess{pid: 7, asked: true}, e.process)
	e.noticed(&runtime.Notice{Kind: runtime.NoticeStarted, PID: 8}, time.Now())
	assert.Equal(t, mainProcess{pid: 8}, e.process)
}
