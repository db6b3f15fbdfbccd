//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// span is an interval of time.
type span struct{ from, to time.Time }

func (s span) overlaps(o span) bool { return s.from.Before(o.to) && o.from.Before(s.to) }

// chronicle is all that the test knows after a churn during which the observer and the runtime were killed.
type chronicle struct {
	records []privateruntime.Record
	// outages are the times without coverage: from each kill until everything was up again.
	outages []span
	// between is how long a container may exist unobserved without a fault: 0 with an event stream, two list periods without.
	between time.Duration
	// mayOOM reports, by a container's name, whether its processes may run out of memory.
	mayOOM func(name string) bool
}

// verdict is the result of a comparison.
type verdict struct {
	faults   []string // events that are false, and runs that are missing without a gap
	exact    int      // runs with the end that the runtime reported
	inferred int      // runs with a window as the time of their end
	covered  int      // runs that are missing, within a reported gap
	between  int      // containers that existed only between two lists, without a stream
	gaps     int
	late     int    // gaps because notices were read late
	partial  []span // lifetimes of containers with missing events
}

func (v verdict) String() string {
	return fmt.Sprintf("%d runs exact, %d inferred, %d covered by a gap, %d between two lists; %d gaps, %d of them for lack of CPU",
		v.exact, v.inferred, v.covered, v.between, v.gaps, v.late)
}

// judge compares the backend's events with what happened. Every run must exist once, with the runtime's own times, exit code and
// reason, except that a time that could not be observed must be a window, and an event may be missing within a reported gap. No event
// may exist that did not happen.
func (c chronicle) judge(events []backendapi.Event) verdict {
	v := verdict{}
	byContainer := map[string][]backendapi.Event{}
	seen := map[string]bool{}
	var gaps, late []span
	for _, e := range events {
		if key := fmt.Sprint(e.EventID, "/", e.Revision); seen[key] {
			v.faults = append(v.faults, fmt.Sprintf("the id of %s exists twice: %s", e.Kind, key))
		} else {
			seen[key] = true
		}
		if e.Kind == backendapi.KindObserverGap {
			g := span{e.Gap.From, e.Gap.To}
			gaps = append(gaps, g)
			if e.Gap.Cause == container.CauseMailboxOverflow {
				late = append(late, g) // the observer had too little CPU to read in time; only it can know
			}
			continue
		}
		_, id, _ := strings.Cut(e.Workload.ContainerID, "://")
		byContainer[id] = append(byContainer[id], e)
	}
	for i := range c.records {
		r := &c.records[i]
		j := containerJudge{chronicle: &c, r: r, gaps: gaps, all: byContainer[r.ID], v: &v}
		j.judge()
		delete(byContainer, r.ID)
	}
	v.gaps, v.late = len(gaps), len(late)
	for _, g := range gaps {
		if !slices.Contains(late, g) && !slices.ContainsFunc(c.outages, g.overlaps) && !slices.ContainsFunc(v.partial, g.overlaps) {
			v.faults = append(v.faults, fmt.Sprintf("a gap from %v to %v, when nothing was down and no event is missing", g.from, g.to))
		}
	}
	for id, events := range byContainer {
		v.faults = append(v.faults, fmt.Sprintf("container %s was never created, and has %d events, such as %s", id, len(events), events[0].Kind))
	}
	slices.Sort(v.faults)
	if len(v.faults) > 0 {
		for _, g := range gaps {
			v.faults = append(v.faults, fmt.Sprintf("(a gap was reported from %s to %s)", clock(g.from), clock(g.to)))
		}
	}
	return v
}
