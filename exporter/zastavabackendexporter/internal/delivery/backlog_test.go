// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/queuestate"
)

func TestRecordsWithoutATimeHaveNoAge(t *testing.T) {
	logs := records(2)
	oldest := oldestOf(logs)
	assert.WithinDuration(t, observed, oldest, time.Second)
	first := logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	first.SetTimestamp(0)
	first.SetObservedTimestamp(0)
	assert.Equal(t, oldest, oldestOf(logs))
	b := &backlog{now: time.Now}
	defer b.hold(oldestOf(plog.NewLogs()))()
	assert.Zero(t, b.oldest())
}

func TestOutageCapacity(t *testing.T) {
	now := observed
	b := &backlog{now: func() time.Time { return now }, limit: queueLimit{size: 1000, sizer: exporterhelper.RequestSizerTypeItems}}
	_, known := b.capacity()
	assert.False(t, known, "without a queue on disk nothing is known")
	b.setQueueState(queuestate.State{Items: 400})
	for range 600 {
		b.arrival(2)
		now = now.Add(time.Second)
	}
	seconds, known := b.capacity()
	require.True(t, known)
	assert.InEpsilon(t, 300, seconds, 0.05, "600 free at 2 a second")
	now = now.Add(24 * time.Hour)
	seconds, _ = b.capacity()
	assert.Greater(t, seconds, 1e8, "nothing arrives any more")
	b.setQueueState(queuestate.State{Items: 5000})
	seconds, _ = b.capacity()
	assert.Zero(t, seconds)
}
