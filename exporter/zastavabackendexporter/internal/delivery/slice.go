// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"iter"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
)

// Position is where a record is in a plog.Logs: an index at each level.
type Position struct{ Resource, Scope, Record int }

// Select copies the records at the given positions, in ascending order, with their resources and scopes.
func Select(logs plog.Logs, positions iter.Seq[Position]) plog.Logs {
	out := plog.NewLogs()
	var rl plog.ResourceLogs
	var sl plog.ScopeLogs
	resource, scope := -1, -1
	for p := range positions {
		from := logs.ResourceLogs().At(p.Resource)
		if p.Resource != resource {
			resource, scope = p.Resource, -1
			rl = out.ResourceLogs().AppendEmpty()
			rl.SetSchemaUrl(from.SchemaUrl())
			from.Resource().CopyTo(rl.Resource())
		}
		fromScope := from.ScopeLogs().At(p.Scope)
		if p.Scope != scope {
			scope = p.Scope
			sl = rl.ScopeLogs().AppendEmpty()
			sl.SetSchemaUrl(fromScope.SchemaUrl())
			fromScope.Scope().CopyTo(sl.Scope())
		}
		fromScope.LogRecords().At(p.Record).CopyTo(sl.LogRecords().AppendEmpty())
	}
	return out
}

// slice copies the records from..to, counted through all of logs.
func slice(logs plog.Logs, from, to int) plog.Logs {
	return Select(logs, func(yield func(Position) bool) {
		n := 0
		for r, rl := range logs.ResourceLogs().All() {
			for s, sl := range rl.ScopeLogs().All() {
				for l := range sl.LogRecords().Len() {
					if n >= from && n < to && !yield(Position{r, s, l}) {
						return
					}
					n++
				}
			}
		}
	})
}

// oldestOf returns when the oldest of the records was observed.
func oldestOf(logs plog.Logs) time.Time {
	var oldest time.Time
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				oldest = Earlier(oldest, lr)
			}
		}
	}
	return oldest
}

// Earlier returns the earlier of t, unless it is zero, and the time at which a record was observed. A record without any time, which
// is not as old as 1970, leaves t as it is.
func Earlier(t time.Time, lr plog.LogRecord) time.Time {
	at := lr.ObservedTimestamp()
	if at == 0 {
		at = lr.Timestamp()
	}
	if at == 0 {
		return t
	}
	if observed := at.AsTime(); t.IsZero() || observed.Before(t) {
		return observed
	}
	return t
}
