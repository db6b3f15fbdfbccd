// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func TestRetryAfterAcceptsSecondsAndDates(t *testing.T) {
	now := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		header string
		want   time.Duration
	}{
		{"", 0},
		{"0", 0},
		{"7", 7 * time.Second},
		{"-7", 0},
		{"1.5", 0},
		{"soon", 0},
		{"86400", time.Hour},
		{"99999999999999999999999999", time.Hour},
		{strings.Repeat("9", 1<<20), 0},
		{now.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second},
		{now.Add(-time.Minute).Format(http.TimeFormat), 0},
		{now.Add(48 * time.Hour).Format(http.TimeFormat), time.Hour},
		{"Sunday, 22-Nov-26 18:00:05 GMT", 5 * time.Second}, // RFC 850, which RFC 9110 still asks to be read
	} {
		assert.Equal(t, tt.want, retryAfter(tt.header, now), "Retry-After: %s", tt.header)
	}
}

// A date is of the server's clock, which may be another than this node's.
func TestRetryAfterIsMeasuredByTheClockOfTheServer(t *testing.T) {
	theirs := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	for _, ours := range []time.Time{theirs, theirs.Add(-30 * time.Minute), theirs.Add(30 * time.Minute)} {
		a := answer{verdict: later}
		c := &connection{now: func() time.Time { return ours }}
		c.explain(&a, "http://backend", &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{
			"Date": {theirs.Format(http.TimeFormat)}, "Retry-After": {theirs.Add(7 * time.Second).Format(http.TimeFormat)},
		}}, nil)
		assert.Equal(t, 7*time.Second, a.retryAfter, "here it is %s", ours)
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("7")
	f.Add("Sun, 22 Nov 2026 18:00:05 GMT")
	now := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, header string) {
		oracle.Bound(t, oracle.Parsing(len(header)))
		d := retryAfter(header, now)
		assert.GreaterOrEqual(t, d, time.Duration(0))
		assert.LessOrEqual(t, d, maxRetryAfter)
	})
}
