// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"
)

// refusingQueue admits as many records, then refuses.
type refusingQueue struct {
	exporter.Logs

	admits int
	err    error
}

func (q *refusingQueue) ConsumeLogs(_ context.Context, logs plog.Logs) error {
	if q.admits -= logs.LogRecordCount(); q.admits < 0 {
		return q.err
	}
	return nil
}

func TestAdmissionInPartsReturnsWhatWasRefused(t *testing.T) {
	full, never := exporterhelper.ErrQueueIsFull, consumererror.NewPermanent(errors.New("never"))
	for _, tt := range []struct {
		desc      string
		queue     refusingQueue
		again     int // records
		permanent bool
	}{
		{"all are admitted", refusingQueue{admits: 99}, 0, false},
		{"the second part is refused", refusingQueue{admits: 6, err: full}, 5, false},
		{"the first part is refused", refusingQueue{admits: 2, err: full}, 9, false},
		{"all are refused permanently", refusingQueue{err: never}, 0, true},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			l := newLane(t, "events", &destination{}, func(_ *Options, q *exporterhelper.QueueBatchConfig) {
				q.QueueSize, q.Sizer = 4, exporterhelper.RequestSizerTypeItems
			})
			l.queue = &tt.queue
			err := l.ConsumeLogs(t.Context(), records(9))
			assert.Equal(t, tt.permanent, consumererror.IsPermanent(err), err)
			if tt.again == 0 {
				assert.Equal(t, tt.permanent, err != nil)
				return
			}
			var partial consumererror.Logs
			require.ErrorAs(t, err, &partial)
			assert.Equal(t, tt.again, partial.Data().LogRecordCount())
		})
	}
}
