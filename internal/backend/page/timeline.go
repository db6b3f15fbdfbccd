// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package page

import (
	"fmt"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/store"
)

// timeline shows runs as bars over a period. Positions are percentages of the width, formatted for SVG attributes.
type timeline struct {
	From, To time.Time
	Bars     []bar
	Ticks    []tick
	Words    string // the same as text, for screen readers
}

type bar struct {
	X, W    string
	Tone    string
	Icon    string // at the end of the bar; empty while it runs
	EndX    string
	Title   string
	Running bool
}

type tick struct {
	X  string
	At time.Time
}

const (
	leastSpan = time.Minute // the shortest period of a timeline
	leastBar  = 0.6         // percent; a run of no duration must be visible too
)

// drawLine draws runs, which are ordered latest first, from a moment to now. A zero moment means a little before the first run.
func drawLine(runs []store.Run, from, now time.Time, ticks bool) timeline {
	if from.IsZero() {
		from = now
		for i := range runs {
			if at := beginOr(&runs[i], from); at.Before(from) {
				from = at
			}
		}
		from = from.Add(-max(now.Sub(from)/50, 0))
		if now.Sub(from) < leastSpan {
			from = now.Add(-leastSpan)
		}
	}
	t := timeline{From: from, To: now}
	at := func(m time.Time) float64 {
		return min(max(100*float64(m.Sub(from))/float64(now.Sub(from)), 0), 100)
	}
	failed := 0
	for i := len(runs) - 1; i >= 0; i-- { // later runs are drawn over earlier ones
		r := &runs[i]
		o := outcomeOf(r.Ended, &r.End)
		end := now
		if r.Ended && r.FinishedAt != nil {
			end = *r.FinishedAt
		}
		begin := at(beginOr(r, end))
		width := max(at(end)-begin, leastBar)
		begin = min(begin, 100-width)
		b := bar{
			X: percent(begin), W: percent(width), EndX: percent(begin + width), Tone: o.Tone,
			Running: !r.Ended, Title: o.Word + ", ran " + durationOf(r, now),
		}
		if r.Ended {
			b.Icon = o.Icon
			if r.Failed() {
				failed++
			}
		}
		if r.StartedAt == nil {
			b.Title = o.Word + ", never started"
		}
		t.Bars = append(t.Bars, b)
	}
	t.Words = fmt.Sprintf("%s, %d ended without success, in the last %s", plural(len(runs), "run"), failed, span(now.Sub(from)))
	if ticks {
		for i := range 4 {
			share := float64(i) / 4
			t.Ticks = append(t.Ticks, tick{percent(100 * share), from.Add(time.Duration(share * float64(now.Sub(from))))})
		}
	}
	return t
}

func beginOr(r *store.Run, other time.Time) time.Time {
	switch {
	case r.StartedAt != nil:
		return *r.StartedAt
	case r.FinishedAt != nil:
		return *r.FinishedAt
	}
	return other
}

func percent(v float64) string { return fmt.Sprintf("%.2f%%", v) }

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
