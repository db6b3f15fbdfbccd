// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

var observed = time.Date(2026, 11, 22, 18, 9, 44, 123_456_789, time.UTC)

// records returns n records, each with a resource of its own, observed at the same time.
func records(n int) plog.Logs {
	logs := plog.NewLogs()
	for range n {
		lr := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		lr.SetTimestamp(pcommon.NewTimestampFromTime(observed))
		lr.SetObservedTimestamp(pcommon.NewTimestampFromTime(observed))
	}
	return logs
}

// destination answers each push with the result of answer, and counts what it is asked to drop.
type destination struct {
	answer func() error

	mu      sync.Mutex
	pushes  []time.Time
	dropped map[string]int
}

func (d *destination) Push(context.Context, plog.Logs) error {
	d.mu.Lock()
	d.pushes = append(d.pushes, time.Now())
	d.mu.Unlock()
	return d.answer()
}

func (d *destination) Drop(_ context.Context, logs plog.Logs, cause string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dropped == nil {
		d.dropped = map[string]int{}
	}
	d.dropped[cause] += logs.LogRecordCount()
}

func newLane(t *testing.T, name string, d Destination, change func(*Options, *exporterhelper.QueueBatchConfig)) *Lane {
	t.Helper()
	queue := exporterhelper.NewDefaultQueueConfig()
	o := Options{Name: name, Destination: d, Retry: configretry.NewDefaultBackOffConfig(), Now: time.Now}
	o.Retry.InitialInterval, o.Retry.MaxInterval = time.Millisecond, time.Millisecond
	change(&o, &queue)
	if queue.QueueSize > 0 {
		o.Queue = configoptional.Some(queue)
	}
	l, err := NewLane(t.Context(), exportertest.NewNopSettings(component.MustNewType("lane")), &struct{}{}, o)
	require.NoError(t, err)
	return l
}

func soon(t *testing.T, what func() bool) {
	t.Helper()
	require.Eventually(t, what, 20*time.Second, 5*time.Millisecond)
}

func TestLaneWaitsWhileTheLaneWithPrecedenceIsBehind(t *testing.T) {
	for _, tt := range []struct {
		desc   string
		change func(*Options, *exporterhelper.QueueBatchConfig)
	}{
		{"with a queue", func(*Options, *exporterhelper.QueueBatchConfig) {}},
		{"without a queue", func(_ *Options, q *exporterhelper.QueueBatchConfig) { q.QueueSize = 0 }},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			release := make(chan struct{})
			down := &destination{answer: func() error { <-release; return errors.New("unreachable") }}
			events := newLane(t, "events", down, func(o *Options, q *exporterhelper.QueueBatchConfig) {
				o.Retry.MaxElapsedTime = time.Nanosecond
				tt.change(o, q)
			})
			up := &destination{answer: func() error { return nil }}
			facts := newLane(t, "facts", up, tt.change)
			facts.YieldTo(events)
			require.NoError(t, facts.attempt(t.Context(), records(3)))
			require.Len(t, up.pushes, 1)

			require.NoError(t, events.Start(t.Context(), componenttest.NewNopHost()))
			over := make(chan struct{})
			go func() { defer close(over); _ = events.ConsumeLogs(t.Context(), records(3)) }()
			soon(t, func() bool { return events.OldestUndelivered() > behindAfter })
			err := facts.attempt(t.Context(), records(3))
			require.ErrorIs(t, err, errPrecedence)
			assert.False(t, consumererror.IsPermanent(err))
			assert.Len(t, up.pushes, 1, "nothing is pushed")

			close(release) // the lane gives the events up
			soon(t, func() bool { return events.OldestUndelivered() == 0 })
			require.NoError(t, facts.attempt(t.Context(), records(3)))
			assert.Len(t, up.pushes, 2)
			<-over
			require.NoError(t, events.Shutdown(context.Background()))
		})
	}
}
