// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/backend/wire"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

// hostileCost is what a hostile body of 1 MiB may cost on a slow machine; before the bounds it took seconds and
// hundreds of MiB.
var hostileCost = oracle.Cost{Bytes: 96 << 20, CPU: oracle.Slowdown * time.Second}

// withLibs returns a batch whose second event has this text as loadedLibs.
func withLibs(t *testing.T, libs string) []byte {
	t.Helper()
	l := backendtest.NewLife(0)
	second := l.Stopped(2, 1, 0, "Completed")
	second.LoadedLibs = []backendapi.LoadedLib{{Path: "LIBS"}}
	batch := backendtest.Batch(l.Started(1), second)
	body := string(batch.AppendCanonical(nil))
	require.Contains(t, body, `[{"path":"LIBS"}]`)
	return []byte(strings.Replace(body, `[{"path":"LIBS"}]`, "["+libs+"]", 1))
}

func TestHostileBatchesAreRefusedCheaply(t *testing.T) {
	r := reader(t)
	number := func(n string) string { return `{"path":"a","size":` + n + `}` }
	many := func(text string, n int) string { return strings.Repeat(text+",", n) + text }
	for name, tc := range map[string]struct {
		libs   string
		reason problem.Reason
		field  string
	}{
		"900,000 digits":                     {number(strings.Repeat("9", 900_000)), problem.Number, "events[1]"},
		"33 digits":                          {number(strings.Repeat("9", 33)), problem.Number, "events[1]"},
		"a fraction of 900,000 digits":       {number("0." + strings.Repeat("1", 900_000)), problem.Number, "events[1]"},
		"an exponent of a million":           {number("1e999999"), problem.Number, "events[1]"},
		"a negative exponent of a million":   {number("1e-999999"), problem.Number, "events[1]"},
		"an exponent with zeros":             {number("1e0000000000000999999"), problem.Number, "events[1]"},
		"a hundred thousand large exponents": {many("1e300", 100_000), problem.Values, "events[1]"},
		"doubles in place of integers":       {many(number("1e300"), 4_000), problem.Invalid, "events[1].event.loadedLibs[0].size"},
		"values of the wrong type":           {many("1", 450_000), problem.Values, "body"},
		"objects without members":            {many("{}", 300_000), problem.Values, "body"},
		"objects without members, fewer":     {many("{}", 20_000), problem.Values, "events[1]"},
		"deep":                               {strings.Repeat("[", 500_000), problem.Nesting, "body"},
		"deep and closed":                    {strings.Repeat(`{"a":`, 50) + "1" + strings.Repeat("}", 50), problem.Nesting, "body"},
	} {
		t.Run(name, func(t *testing.T) {
			body := withLibs(t, tc.libs)
			require.LessOrEqual(t, len(body), backendapi.MaxBatchBytes)
			oracle.Bound(t, hostileCost)
			_, p := r.Parse(t.Context(), body, backendtest.Tenant)
			require.NotNil(t, p)
			assert.Equal(t, 422, p.Status)
			assert.Equal(t, tc.reason, p.Reason)
			require.NotEmpty(t, p.Errors)
			assert.Equal(t, tc.field, p.Errors[0].Field)
		})
	}
}

func TestNumbersWithinADoubleAreLeftToTheSchema(t *testing.T) {
	r := reader(t)
	for number, ok := range map[string]bool{
		"9007199254740991": true, "9e15": true, "90071992547409910e-1": true, "9007199254740992": false, "1e308": false, "-1": false,
	} {
		body := withLibs(t, `{"path":"a","size":`+number+`}`)
		_, p := r.Parse(t.Context(), body, backendtest.Tenant)
		switch {
		case p == nil:
			assert.True(t, ok, number)
		case ok: // the schema accepts integers in any form, the type of the event the plain one
			assert.Contains(t, p.Errors[0].Detail, "plain form", number)
		default:
			assert.Equal(t, "events[1].event.loadedLibs[0].size", p.Errors[0].Field, number)
		}
	}
}

func TestFaultsOfSeveralEventsAreReportedUpToTheirBound(t *testing.T) {
	r := reader(t)
	events := make([]backendapi.Event, 60)
	for i := range events {
		events[i] = backendtest.NewLife(i).Started(1)
		if i%2 == 1 {
			events[i].Kind = "NO_KIND"
		}
	}
	batch := backendtest.Batch(events...)
	_, p := r.Parse(t.Context(), batch.AppendCanonical(nil), backendtest.Tenant)
	require.NotNil(t, p)
	require.Len(t, p.Errors, problem.MaxErrors)
	var fields []string
	for _, e := range p.Errors {
		fields = append(fields, e.Field)
	}
	assert.Contains(t, fields, "events[1].event.kind")
	assert.Contains(t, fields, "events[3].event.kind")
}

func TestParsingStopsWithItsContext(t *testing.T) {
	r := reader(t)
	l := backendtest.NewLife(0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := append([]byte(" "), mustCanonical(l.Started(1), l.Started(2))...) // not canonical
	_, p := r.Parse(ctx, body, backendtest.Tenant)
	require.NotNil(t, p)
	assert.Equal(t, problem.Deadline, p.Reason)
	_, p = wire.ParseNDJSON(ctx, []byte(`{"symbolId":"a","hitCount":1}`))
	require.NotNil(t, p)
	assert.Equal(t, problem.Deadline, p.Reason)
	_, p = wire.ParseFacts(ctx, []byte(`{"callgraphId":"x","subject":{"scanId":"1"},"events":[{"symbolId":"a","hitCount":1}]}`))
	require.NotNil(t, p)
	assert.Equal(t, problem.Deadline, p.Reason)
}

func mustCanonical(events ...backendapi.Event) []byte {
	batch := backendtest.Batch(events...)
	return batch.AppendCanonical(nil)
}

func TestHostileFactsAreRefusedCheaply(t *testing.T) {
	for name, tc := range map[string]struct {
		fact   string
		reason problem.Reason
	}{
		"900,000 digits":           {`{"symbolId":"a","hitCount":` + strings.Repeat("9", 900_000) + `}`, problem.Number},
		"an exponent of a million": {`{"symbolId":"a","hitCount":1e999999}`, problem.Number},
		"many entries of metadata": {`{"symbolId":"a","hitCount":1,"metadata":{` + strings.Repeat(`"a":1,`, 100_000) + `"b":1}}`, problem.Values},
		"deep":                     {`{"symbolId":"a","hitCount":1,"metadata":` + strings.Repeat(`[`, 40) + strings.Repeat("]", 40) + `}`, problem.Nesting},
	} {
		t.Run(name, func(t *testing.T) {
			oracle.Bound(t, hostileCost)
			_, p := wire.ParseNDJSON(t.Context(), []byte("{\"symbolId\":\"a\",\"hitCount\":1}\n"+tc.fact))
			require.NotNil(t, p)
			assert.Equal(t, 400, p.Status)
			assert.Equal(t, tc.reason, p.Reason)
			assert.Equal(t, "line 2", p.Errors[0].Field)
			_, p = wire.ParseFacts(t.Context(), []byte(`{"callgraphId":"x","subject":{"scanId":"1"},"events":[`+tc.fact+`]}`))
			require.NotNil(t, p)
			assert.Equal(t, 400, p.Status)
		})
	}
}

// A request of 10 MiB may not be turned into millions of values before they are counted.
func TestTooManyFactsAreRefusedBeforeTheyAreHeld(t *testing.T) {
	body := []byte(`{"callgraphId":"x","subject":{"scanId":"1"},"events":[` + strings.Repeat("{},", 600_000) + `{}]}`)
	oracle.Bound(t, hostileCost)
	_, p := wire.ParseFacts(t.Context(), body)
	require.NotNil(t, p)
	assert.Contains(t, []int{400, 413}, p.Status)
}
