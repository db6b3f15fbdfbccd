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

// span is a stretch of time.
type span struct{ from, to time.Time }

func (s span) overlaps(o span) bool { return s.from.Before(o.to) && o.from.Before(s.to) }

// chronicle is all that the harness knows after a churn in which the observer and the runtime died now and then.
type chronicle struct {
	records []privateruntime.Record
	// outages are when the observer could not see: from each kill until everything was up again.
	outages []span
	// between is how long a container may live unseen when nothing is wrong: nothing with a stream, two list periods without.
	between time.Duration
	// hungry tells by a container's name that its processes may be killed for want of memory.
	hungry func(name string) bool
}

// verdict is what the backend's events are worth.
type verdict struct {
	lies     []string // events that are false, and runs that are missing without a word
	exact    int      // runs whose end is known as the runtime knew it
	inferred int      // runs whose end is marked as a window
	covered  int      // runs that are missing, within a gap that says so
	untold   int      // containers that lived between two lists, without a stream
	gaps     int
	late     int    // gaps because notices were read late
	unseen   []span // when the containers lived of which something is missing
}

func (v verdict) String() string {
	return fmt.Sprintf("%d runs exact, %d inferred, %d covered by a gap, %d between two lists; %d gaps, %d of them for lack of CPU",
		v.exact, v.inferred, v.covered, v.untold, v.gaps, v.late)
}

// judge compares the backend's events with what happened. Every run must be there once, with the runtime's own times, exit
// code and reason. What may be otherwise: what nobody could see must be marked as a window, or lie within a gap that was
// told. Nothing may be there that did not happen.
func (c chronicle) judge(events []backendapi.Event) verdict {
	v := verdict{}
	byContainer := map[string][]backendapi.Event{}
	seen := map[string]bool{}
	var gaps, late []span
	for _, e := range events {
		if key := fmt.Sprint(e.EventID, "/", e.Revision); seen[key] {
			v.lies = append(v.lies, fmt.Sprintf("the id of %s comes twice: %s", e.Kind, key))
		} else {
			seen[key] = true
		}
		if e.Kind == backendapi.KindObserverGap {
			g := span{e.Gap.From, e.Gap.To}
			gaps = append(gaps, g)
			if e.Gap.Cause == container.CauseMailboxOverflow {
				late = append(late, g) // the observer had too little CPU to read in time: nobody else can know whether that is so
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
		if !slices.Contains(late, g) && !slices.ContainsFunc(c.outages, g.overlaps) && !slices.ContainsFunc(v.unseen, g.overlaps) {
			v.lies = append(v.lies, fmt.Sprintf("a gap from %v to %v, when nothing was down and all was told", g.from, g.to))
		}
	}
	for id, events := range byContainer {
		v.lies = append(v.lies, fmt.Sprintf("container %s was never made, and has %d events, such as %s", id, len(events), events[0].Kind))
	}
	slices.Sort(v.lies)
	if len(v.lies) > 0 {
		for _, g := range gaps {
			v.lies = append(v.lies, fmt.Sprintf("(a gap was told from %s to %s)", clock(g.from), clock(g.to)))
		}
	}
	return v
}

// startErrorSeen is how long a failed start must stand to be seen by the second and third look at a container that was not
// seen to start (Options.RecheckAfterStop of the observer, and twice that).
const startErrorSeen = 2500 * time.Millisecond

// one judges the events of one container.
type one struct {
	*chronicle
	r    *privateruntime.Record
	gaps []span
	all  []backendapi.Event
	v    *verdict
}

func (o *one) lie(format string, args ...any) {
	var what strings.Builder
	fmt.Fprintf(&what, "%s attempt %d (%.12s): "+format, append([]any{o.r.Name, o.r.Attempt, o.r.ID}, args...)...)
	for _, e := range o.all {
		fmt.Fprintf(&what, "\n    %s revision %d at %s, %s by %s", e.Kind, e.Revision, clock(e.When), e.Observation.Precision, e.Observation.Source)
		if e.Observation.ObservedAt != nil {
			fmt.Fprintf(&what, ", seen at %s", clock(*e.Observation.ObservedAt))
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
	o.v.lies = append(o.v.lies, what.String())
}

// covered tells that gaps which were told reach over all of the time.
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
	r := o.r
	latest := map[backendapi.Kind]backendapi.Event{}
	for _, e := range o.all {
		was, ok := latest[e.Kind]
		if ok && was.EventID != e.EventID && e.Kind != backendapi.KindCrashLoop {
			o.lie("%s twice, as %s and %s", e.Kind, was.EventID, e.EventID)
		}
		if !ok || e.Revision > was.Revision {
			latest[e.Kind] = e
		}
		o.plausible(e)
	}
	if len(o.all) == 0 {
		switch lived := r.RemovedAt.Sub(r.CreatedAt); {
		case o.removed() && o.covered(r.CreatedAt, r.RemovingAt):
			o.v.covered++
			o.v.unseen = append(o.v.unseen, span{r.CreatedAt, r.RemovedAt})
		case o.removed() && lived < o.between:
			o.v.untold++
		default:
			o.lie("there is nothing about it, and no gap from %v to %v", r.CreatedAt, r.RemovingAt)
		}
		return
	}
	o.at(latest, backendapi.KindCreate, r.CreatedAt)
	o.start(latest)
	o.stop(latest)
	o.remove(latest)
	for kind := range latest {
		switch kind {
		case backendapi.KindCreate, backendapi.KindStart, backendapi.KindRestart, backendapi.KindStop, backendapi.KindRemove:
		case backendapi.KindOOM:
			if !o.hungry(r.Name) {
				o.lie("a process of it was killed for want of memory, which it had")
			}
		case backendapi.KindCrashLoop:
			if n := o.failures(); n < 3 {
				o.lie("a crash loop after %d failed ends", n)
			}
		default:
			o.lie("%s did not happen", kind)
		}
	}
}

// plausible checks what must hold of every event.
func (o *one) plausible(e backendapi.Event) {
	r := o.r
	if w := e.Workload; w.Namespace != r.Namespace || w.Pod != r.Pod || w.PodUID != r.PodUID || w.Container != r.Name {
		o.lie("%s: workload %+v", e.Kind, *w)
	}
	if e.Observation.ObservedAt == nil || e.Observation.ObservedAt.Before(e.When) {
		o.lie("%s at %v was seen before, at %v", e.Kind, e.When, e.Observation.ObservedAt)
	}
}

// at compares the time of an event that must be there.
func (o *one) at(latest map[backendapi.Kind]backendapi.Event, kind backendapi.Kind, when time.Time) {
	e, ok := latest[kind]
	switch {
	case !ok:
		o.lie("%s is missing", kind)
	case e.Observation.Precision == "window":
		o.within(e, when, when)
	case !e.When.Equal(when):
		o.lie("%s: when %v, the runtime says %v", kind, e.When, when)
	}
}

// within checks that what happened between two moments lies in the window that an event gives for it.
func (o *one) within(e backendapi.Event, notBefore, notAfter time.Time) {
	if e.When.Before(notBefore) {
		o.lie("%s: its window ends at %v, and it happened from %v on", e.Kind, e.When, notBefore)
	}
	if start := e.Observation.WindowStart; start != nil && start.After(notAfter) {
		o.lie("%s: its window begins at %v, and it happened until %v", e.Kind, *start, notAfter)
	}
}

func (o *one) start(latest map[backendapi.Kind]backendapi.Event) {
	r := o.r
	began, other := backendapi.KindStart, backendapi.KindRestart
	if r.Attempt > 0 {
		began, other = other, began
	}
	if e, ok := latest[other]; ok {
		o.lie("%s at %v, of attempt %d", other, e.When, r.Attempt)
	}
	e, told := latest[began]
	switch {
	case told && !r.Started() && r.State != cri.ContainerState_CONTAINER_UNKNOWN:
		o.lie("%s at %v, and it never started", began, e.When)
	case told && r.Started():
		o.at(latest, began, r.StartedAt)
		o.previous(e)
	case !told && r.Started() && !(o.removed() && o.covered(r.StartedAt, r.RemovingAt)):
		o.lie("%s is missing, and no gap from %v to %v", began, r.StartedAt, r.RemovingAt)
	}
}

// previous checks what a restart says of the run before.
func (o *one) previous(e backendapi.Event) {
	if e.Previous == nil {
		return
	}
	_, id, _ := strings.Cut(e.Previous.ContainerID, "://")
	i := slices.IndexFunc(o.records, func(p privateruntime.Record) bool { return p.ID == id })
	if i < 0 {
		o.lie("the run before was of container %s, which was never made", id)
		return
	}
	p := o.records[i]
	if p.PodUID != o.r.PodUID || p.Name != o.r.Name || p.Attempt >= o.r.Attempt {
		o.lie("the run before was of %s attempt %d", p.Name, p.Attempt)
	}
	if e.Observation.MissedRuns != nil && *e.Observation.MissedRuns != o.r.Attempt-p.Attempt-1 {
		o.lie("%d runs missed since attempt %d", *e.Observation.MissedRuns, p.Attempt)
	}
}

func (o *one) stop(latest map[backendapi.Kind]backendapi.Event) {
	r := o.r
	_, ended := r.Ended()
	forced := o.removed() && r.State == cri.ContainerState_CONTAINER_RUNNING // killed by its removal
	e, told := latest[backendapi.KindStop]
	switch {
	case !told && r.Reason == "StartError" && o.removed() && (r.RemovingAt.Sub(r.FinishedAt) < startErrorSeen || o.touched(r.FinishedAt, r.FinishedAt.Add(startErrorSeen))):
		o.v.covered++ // no runtime has an event for it, so that only a look tells it
	case !told && (ended || forced):
		if o.removed() && o.covered(latestOf(r.StartedAt, r.CreatedAt), r.RemovingAt) {
			o.v.covered++
			o.v.unseen = append(o.v.unseen, span{r.CreatedAt, r.RemovedAt})
			return
		}
		o.lie("the stop is missing, and no gap from %v to %v", r.StartedAt, r.RemovingAt)
	case !told:
	case forced:
		o.within(e, r.RemovingAt, r.RemovedAt)
		if e.Run.ExitCode != nil && *e.Run.ExitCode != 137 {
			o.lie("exit code %d of a container that was removed by force", *e.Run.ExitCode)
		}
		o.v.exact++
	case !ended:
		o.lie("stopped at %v, and it did not end (%s)", e.When, r.State)
	case e.Observation.Precision == "window":
		o.inferred(e)
	case endUnknown(*r):
		// The observer can know better than a runtime that died before it had written the end down.
		if e.When.After(r.FinishedAt) || e.When.Before(r.CreatedAt) || e.Run.ExitCode == nil {
			o.lie("ended exactly at %v with %v, and the runtime knows no more than from %v to %v", e.When, e.Run.ExitCode, r.StartedAt, r.FinishedAt)
		}
		o.v.exact++
	default:
		o.v.exact++
		o.exactly(e)
	}
}

// exactly compares a stop with what the runtime said last.
func (o *one) exactly(e backendapi.Event) {
	r := o.r
	if !e.When.Equal(r.FinishedAt) {
		o.lie("stopped at %v, the runtime says %v", e.When, r.FinishedAt)
	}
	if e.Run.ExitCode == nil || *e.Run.ExitCode != uint32(r.ExitCode) {
		o.lie("exit code %v, the runtime says %d", e.Run.ExitCode, r.ExitCode)
	}
	// The verdict that memory was the reason comes later than the end: it is lost when nobody could look between the two.
	late := r.Reason == "OOMKilled" && e.Run.Reason == "Error" && o.removed() && o.touched(r.FinishedAt, r.RemovingAt)
	if e.Run.Reason != r.Reason && !late {
		o.lie("reason %s, the runtime says %s", e.Run.Reason, r.Reason)
	}
	if e.Run.OOMKilled != (e.Run.Reason == "OOMKilled") {
		o.lie("oomKilled %v with reason %s", e.Run.OOMKilled, e.Run.Reason)
	}
}

// inferred judges a stop that is marked as a window: the runtime did not know better, or was asked too late.
func (o *one) inferred(e backendapi.Event) {
	r := o.r
	o.v.inferred++
	o.v.unseen = append(o.v.unseen, span{r.CreatedAt, latestOf(r.RemovedAt, r.FinishedAt)})
	if e.Run.ExitCode != nil {
		o.lie("exit code %d of an end that nobody saw", *e.Run.ExitCode)
	}
	if e.Run.OOMKilled {
		o.lie("OOM-killed, at an end that nobody saw")
	}
	// A process that ends at once ends a little before its start, by containerd's clocks; no window begins before the start.
	finished := latestOf(r.FinishedAt, r.StartedAt)
	o.within(e, r.FinishedAt, finished)
	if endUnknown(*r) {
		return
	}
	if !o.removed() {
		o.lie("an inferred stop, and the runtime still knows: %d %s at %v", r.ExitCode, r.Reason, r.FinishedAt)
	} else if !o.covered(r.FinishedAt, r.RemovingAt) && r.RemovedAt.Sub(r.FinishedAt) >= o.between {
		o.lie("an inferred stop, and no gap from %v to %v", r.FinishedAt, r.RemovingAt)
	}
}

func (o *one) remove(latest map[backendapi.Kind]backendapi.Event) {
	r := o.r
	e, told := latest[backendapi.KindRemove]
	switch {
	case told && !o.removed():
		o.lie("removed at %v, and it is there", e.When)
	case !told && o.removed() && o.covered(o.told(), r.RemovingAt):
		// The collector died after it had handed on what it told last, and before it had written that down.
		o.v.covered++
	case !told && o.removed():
		o.lie("its removal is missing")
	case told && e.Observation.Precision == "window":
		o.within(e, r.RemovingAt, r.RemovedAt)
	case told && (e.When.Before(r.RemovingAt) || e.When.After(r.RemovedAt)):
		o.lie("removed at %v, which was from %v to %v", e.When, r.RemovingAt, r.RemovedAt)
	}
}

// told is when the last of its events was seen.
func (o *one) told() time.Time {
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

// clock writes a time of day.
func clock(t time.Time) string { return t.UTC().Format("15:04:05.000000") }

func latestOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
