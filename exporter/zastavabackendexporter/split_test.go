// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/record"
)

// lastRefused is a lane that admits all records but the last ones, as delivery.Lane does where its queue is full.
func lastRefused(records int) func(context.Context, plog.Logs) error {
	return func(_ context.Context, logs plog.Logs) error {
		n := logs.LogRecordCount()
		return consumererror.NewLogs(exporterhelper.ErrQueueIsFull, part(logs, n-records, n))
	}
}

func TestSplitterReturnsWhatEitherLaneRefused(t *testing.T) {
	all := func(context.Context, plog.Logs) error { return nil }
	none := func(context.Context, plog.Logs) error { return consumererror.NewPermanent(errors.New("never")) }
	for _, tt := range []struct {
		desc           string
		events, facts  func(context.Context, plog.Logs) error
		again          int // records: events, then facts
		againAreEvents int
		permanent      bool
	}{
		{"nothing is refused", all, all, 0, 0, false},
		{"some events are, with all facts", lastRefused(5), all, 14, 5, false},
		{"some facts are", all, lastRefused(5), 5, 0, false},
		{"events are permanently, and some facts for now", none, lastRefused(5), 5, 0, false},
		{"both are permanently", none, none, 0, 0, true},
		{"only events are, permanently", none, all, 0, 0, true},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			err := splitter{tt.events, tt.facts, zap.NewNop()}.consume(t.Context(), samples(9, 1))
			if tt.again == 0 {
				assert.Equal(t, tt.permanent, consumererror.IsPermanent(err), err)
				assert.Equal(t, tt.permanent, err != nil)
				return
			}
			assert.False(t, consumererror.IsPermanent(err))
			rest := restOf(t, err)
			assert.Equal(t, tt.again, rest.LogRecordCount())
			keep(rest, func(lr plog.LogRecord) bool { return !record.IsSampled(lr) })
			assert.Equal(t, tt.againAreEvents, rest.LogRecordCount())
		})
	}
}
