// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
)

// Both retry_on_failure and the backend set the shortest wait.
func TestRetryWaitsForTheLongerOfBothIntervals(t *testing.T) {
	for _, tt := range []struct{ own, asked, want time.Duration }{
		{time.Minute, time.Second, time.Minute},
		{time.Second, time.Minute, time.Minute},
		{time.Minute, 0, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &destination{}
			d.answer = func() error {
				switch {
				case len(d.pushes) > 1:
					return nil
				case tt.asked > 0:
					return RetryAfter(errors.New("busy"), tt.asked)
				}
				return errors.New("busy")
			}
			l := newLane(t, "events", d, func(o *Options, _ *exporterhelper.QueueBatchConfig) {
				o.Retry.InitialInterval, o.Retry.MaxInterval, o.Retry.Multiplier, o.Retry.RandomizationFactor = tt.own, tt.own, 1, 0
			})
			require.NoError(t, l.deliver(t.Context(), records(1)))
			require.Len(t, d.pushes, 2)
			assert.Equal(t, tt.want, d.pushes[1].Sub(d.pushes[0]))
		})
	}
}
