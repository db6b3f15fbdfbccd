//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

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
	// hungry reports, by a container's name, whether its processes may run out of memory.
	hungry func(name string) bool
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
		o := one{chronicle: &c, r: r, gaps: gaps, all: byContainer[r.ID], v: &v}
		o.judge()
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

// startErrorSeen is how long a container whose start failed must exist so that the second or third inspection finds it
// (Options.RecheckAfterStop of the observer, and twice that).
const startErrorSeen = 2500 * time.Millisecond

// one judges the events of one container.
type one struct {
	*chronicle
	r    *privateruntime.Record
	gaps []span
	all  []backendapi.Event
	v    *verdict
}

func (o *one) fault(format string, args ...any) {
	var what strings.Builder
	fmt.Fprintf(&what, "%s attempt %d (%.12s): "+format, append([]any{o.r.Name, o.r.Attempt, o.r.ID}, args...)...)
	for _, e := range o.all {
		fmt.Fprintf(&what, "\n    %s revision %d at %s, %s by %s", e.Kind, e.Revision, clock(e.When), e.Observation.Precision, e.Observation.Source)
		if e.Observation.ObservedAt != nil {
			fmt.Fprintf(&what, ", observed at %s", clock(*e.Observation.ObservedAt))
		}
		if e.Observation.WindowStart != nil {
			fmt.Fprintf(&what, ", since %s", clock(*e.Observation.WindowStart))
		}
		if e.Run != nil && e.Run.ExitCode != nil {
			fmt.Fprintf(&what, ", exit %d %s", *e.Run.ExitCode, e.Run.Reason)
		}
	}
	fmt.Fprintf(&what, "\n    the runtime: created %s, started %s, finished %s (%d %s), removed %s to %s",
		clock(o.r.CreatedAt), clock(o.r.StartedAt), clock(o.r.FinishedAt), o.r.ExitCode, o.r.Reason, clock(o.r.RemovingAt), clock(o.r.RemovedAt))
	o.v.faults = append(o.v.faults, what.String())
}

// covered reports whether gaps were reported for all of the time.
func (o *one) covered(from, to time.Time) bool {
	sorted := slices.SortedFunc(slices.Values(o.gaps), func(a, b span) int { return a.from.Compare(b.from) })
	for _, g := range sorted {
		if !g.from.After(from) && g.to.After(from) {
			from = g.to
		}
	}
	return !from.Before(to)
}

func (o *one) touched(from, to time.Time) bool {
	return slices.ContainsFunc(o.gaps, span{from, to}.overlaps)
}

func (o *one) removed() bool { return !o.r.RemovedAt.IsZero() }

func (o *one) judge() {
	latest := map[backendapi.Kind]backendapi.Event{}
	for _, e := range o.all {
		was, ok := latest[e.Kind]
		if ok && was.EventID != e.EventID && e.Kind != backendapi.KindCrashLoop {
			o.fault("%s twice, as %s and %s", e.Kind, was.EventID, e.EventID)
		}
		if !ok || e.Revision > was.Revision {
			latest[e.Kind] = e
		}
		o.plausible(e)
	}
	if len(o.all) == 0 {
		o.absent()
		return
	}
	o.at(latest, backendapi.KindCreate, o.r.CreatedAt)
	o.start(latest)
	o.stop(latest)
	o.remove(latest)
	o.kinds(latest)
}

// absent judges a container without events.
func (o *one) absent() {
	r := o.r
	switch lived := r.RemovedAt.Sub(r.CreatedAt); {
	case o.removed() && o.covered(r.CreatedAt, r.RemovingAt):
		o.v.covered++
		o.v.partial = append(o.v.partial, span{r.CreatedAt, r.RemovedAt})
	case o.removed() && lived < o.between:
		o.v.between++
	default:
		o.fault("there is no event, and no gap from %v to %v", r.CreatedAt, r.RemovingAt)
	}
}

// kinds judges events that not every container has.
func (o *one) kinds(latest map[backendapi.Kind]backendapi.Event) {
	for kind := range latest {
		switch kind {
		case backendapi.KindCreate, backendapi.KindStart, backendapi.KindRestart, backendapi.KindStop, backendapi.KindRemove:
		case backendapi.KindOOM:
			if !o.hungry(o.r.Name) {
				o.fault("a process was killed for lack of memory, of which it had enough")
			}
		case backendapi.KindCrashLoop:
			if n := o.failures(); n < 3 {
				o.fault("a crash loop after %d failed ends", n)
			}
		default:
			o.fault("%s did not happen", kind)
		}
	}
}

// plausible checks what must be true of every event.
func (o *one) plausible(e backendapi.Event) {
	if !isOf(e.Workload, o.r) {
		o.fault("%s: workload %+v", e.Kind, *e.Workload)
	}
	if e.Observation.ObservedAt == nil || e.Observation.ObservedAt.Before(e.When) {
		o.fault("%s at %v was observed before, at %v", e.Kind, e.When, e.Observation.ObservedAt)
	}
}

// at compares the time of an event that must exist.
func (o *one) at(latest map[backendapi.Kind]backendapi.Event, kind backendapi.Kind, when time.Time) {
	e, ok := latest[kind]
	switch {
	case !ok:
		o.fault("%s is missing", kind)
	case e.Observation.Precision == "window":
		o.within(e, when, when)
	case !e.When.Equal(when):
		o.fault("%s: when %v, the runtime reports %v", kind, e.When, when)
	}
}

// within checks that the window of an event contains what happened between two moments.
func (o *one) within(e backendapi.Event, notBefore, notAfter time.Time) {
	if e.When.Before(notBefore) {
		o.fault("%s: its window ends at %v, and it happened from %v on", e.Kind, e.When, notBefore)
	}
	if start := e.Observation.WindowStart; start != nil && start.After(notAfter) {
		o.fault("%s: its window begins at %v, and it happened until %v", e.Kind, *start, notAfter)
	}
}

func (o *one) start(latest map[backendapi.Kind]backendapi.Event) {
	r := o.r
	began, other := backendapi.KindStart, backendapi.KindRestart
	if r.Attempt > 0 {
		began, other = other, began
	}
	if e, ok := latest[other]; ok {
		o.fault("%s at %v, of attempt %d", other, e.When, r.Attempt)
	}
	e, reported := latest[began]
	switch {
	case reported && !r.Started() && r.State != cri.ContainerState_CONTAINER_UNKNOWN:
		o.fault("%s at %v, and it never started", began, e.When)
	case reported && r.Started():
		o.at(latest, began, r.StartedAt)
		o.previous(e)
	case !reported && r.Started() && !(o.removed() && o.covered(r.StartedAt, r.RemovingAt)):
		o.fault("%s is missing, and no gap from %v to %v", began, r.StartedAt, r.RemovingAt)
	}
}

// previous checks what a restart reports about the run before.
func (o *one) previous(e backendapi.Event) {
	if e.Previous == nil {
		return
	}
	_, id, _ := strings.Cut(e.Previous.ContainerID, "://")
	i := slices.IndexFunc(o.records, func(p privateruntime.Record) bool { return p.ID == id })
	if i < 0 {
		o.fault("the run before was of container %s, which was never created", id)
		return
	}
	p := o.records[i]
	if p.PodUID != o.r.PodUID || p.Name != o.r.Name || p.Attempt >= o.r.Attempt {
		o.fault("the run before was of %s attempt %d", p.Name, p.Attempt)
	}
	if e.Observation.MissedRuns != nil && *e.Observation.MissedRuns != o.r.Attempt-p.Attempt-1 {
		o.fault("%d runs missed since attempt %d", *e.Observation.MissedRuns, p.Attempt)
	}
}

func (o *one) stop(latest map[backendapi.Kind]backendapi.Event) {
	r := o.r
	_, ended := r.Ended()
	forced := o.removed() && r.State == cri.ContainerState_CONTAINER_RUNNING // the removal kills it
	e, reported := latest[backendapi.KindStop]
	switch {
	case !reported && (ended || forced):
		o.missingStop()
	case !reported:
	case forced:
		o.within(e, r.RemovingAt, r.RemovedAt)
		if e.Run.ExitCode != nil && *e.Run.ExitCode != 137 {
			o.fault("exit code %d of a container that was removed by force", *e.Run.ExitCode)
		}
		o.v.exact++
	case !ended:
		o.fault("stopped at %v, and it did not end (%s)", e.When, r.State)
	case e.Observation.Precision == "window":
		o.inferred(e)
	case endUnknown(*r):
		// The observer can know better than a runtime that was killed before it had stored the end.
		if e.When.After(r.FinishedAt) || e.When.Before(r.CreatedAt) || e.Run.ExitCode == nil {
			o.fault("ended exactly at %v with %v, and the runtime reports only from %v to %v", e.When, e.Run.ExitCode, r.StartedAt, r.FinishedAt)
		}
		o.v.exact++
	default:
		o.v.exact++
		o.exactly(e)
	}
}

// missingStop judges a run that ended and has no stop.
func (o *one) missingStop() {
	r := o.r
	switch {
	case r.Reason == "StartError" && o.removed() && (r.RemovingAt.Sub(r.FinishedAt) < startErrorSeen || o.touched(r.FinishedAt, r.FinishedAt.Add(startErrorSeen))):
		o.v.covered++ // no runtime sends an event for it, so that only an inspection finds it
	case o.removed() && o.covered(latestOf(r.StartedAt, r.CreatedAt), r.RemovingAt):
		o.v.covered++
		o.v.partial = append(o.v.partial, span{r.CreatedAt, r.RemovedAt})
	default:
		o.fault("the stop is missing, and no gap from %v to %v", r.StartedAt, r.RemovingAt)
	}
}

// exactly compares a stop with the last status of the runtime.
func (o *one) exactly(e backendapi.Event) {
	r := o.r
	if !e.When.Equal(r.FinishedAt) {
		o.fault("stopped at %v, the runtime reports %v", e.When, r.FinishedAt)
	}
	if e.Run.ExitCode == nil || *e.Run.ExitCode != uint32(r.ExitCode) {
		o.fault("exit code %v, the runtime reports %d", e.Run.ExitCode, r.ExitCode)
	}
	// The runtime reports OOMKilled later than the end. It is missed when no inspection was possible between the two.
	late := r.Reason == "OOMKilled" && e.Run.Reason == "Error" && o.removed() && o.touched(r.FinishedAt, r.RemovingAt)
	if e.Run.Reason != r.Reason && !late {
		o.fault("reason %s, the runtime reports %s", e.Run.Reason, r.Reason)
	}
	if e.Run.OOMKilled != (e.Run.Reason == "OOMKilled") {
		o.fault("oomKilled %v with reason %s", e.Run.OOMKilled, e.Run.Reason)
	}
}

// inferred judges a stop with a window: the runtime did not know the time, or the inspection came too late.
func (o *one) inferred(e backendapi.Event) {
	r := o.r
	o.v.inferred++
	o.v.partial = append(o.v.partial, span{r.CreatedAt, latestOf(r.RemovedAt, r.FinishedAt)})
	if e.Run.ExitCode != nil {
		o.fault("exit code %d of an unobserved end", *e.Run.ExitCode)
	}
	if e.Run.OOMKilled {
		o.fault("OOM-killed, at an unobserved end")
	}
	// By containerd's clocks a process that exits at once ends a little before its start. No window begins before the start.
	finished := latestOf(r.FinishedAt, r.StartedAt)
	o.within(e, r.FinishedAt, finished)
	if endUnknown(*r) {
		return
	}
	if !o.removed() {
		o.fault("an inferred stop, and the runtime still reports %d %s at %v", r.ExitCode, r.Reason, r.FinishedAt)
	} else if !o.covered(r.FinishedAt, r.RemovingAt) && r.RemovedAt.Sub(r.FinishedAt) >= o.between {
		o.fault("an inferred stop, and no gap from %v to %v", r.FinishedAt, r.RemovingAt)
	}
}

func (o *one) remove(latest map[backendapi.Kind]backendapi.Event) {
	r := o.r
	e, reported := latest[backendapi.KindRemove]
	switch {
	case reported && !o.removed():
		o.fault("removed at %v, and it still exists", e.When)
	case !reported && o.removed() && o.covered(o.lastObserved(), r.RemovingAt):
		// The collector was killed after it had delivered the last event, and before it had stored that.
		o.v.covered++
	case !reported && o.removed():
		o.fault("its removal is missing")
	case reported && e.Observation.Precision == "window":
		o.within(e, r.RemovingAt, r.RemovedAt)
	case reported && (e.When.Before(r.RemovingAt) || e.When.After(r.RemovedAt)):
		o.fault("removed at %v, which was from %v to %v", e.When, r.RemovingAt, r.RemovedAt)
	}
}

// lastObserved returns when the last event was observed.
func (o *one) lastObserved() time.Time {
	var last time.Time
	for _, e := range o.all {
		if e.Observation.ObservedAt != nil {
			last = latestOf(last, *e.Observation.ObservedAt)
		}
	}
	return last
}

// failures counts the failed ends of the container's identity.
func (o *one) failures() int {
	n := 0
	for _, r := range o.records {
		if _, ended := r.Ended(); ended && r.PodUID == o.r.PodUID && r.Name == o.r.Name && r.ExitCode != 0 {
			n++
		}
	}
	return n
}

// clock formats a time of day.
func clock(t time.Time) string { return t.UTC().Format("15:04:05.000000") }

func latestOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
