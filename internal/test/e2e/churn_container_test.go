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
	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// startErrorSeen is how long a container whose start failed must exist so that the second or third inspection finds it
// (Options.RecheckAfterStop of the observer, and twice that).
const startErrorSeen = 2500 * time.Millisecond

// containerJudge judges the events of one container.
type containerJudge struct {
	*chronicle
	r    *privateruntime.Record
	gaps []span
	all  []backendapi.Event
	v    *verdict
}

func (j *containerJudge) fault(format string, args ...any) {
	var what strings.Builder
	fmt.Fprintf(&what, "%s attempt %d (%.12s): "+format, append([]any{j.r.Name, j.r.Attempt, j.r.ID}, args...)...)
	for _, e := range j.all {
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
		clock(j.r.CreatedAt), clock(j.r.StartedAt), clock(j.r.FinishedAt), j.r.ExitCode, j.r.Reason, clock(j.r.RemovingAt), clock(j.r.RemovedAt))
	j.v.faults = append(j.v.faults, what.String())
}

// covered reports whether gaps were reported for all of the time.
func (j *containerJudge) covered(from, to time.Time) bool {
	sorted := slices.SortedFunc(slices.Values(j.gaps), func(a, b span) int { return a.from.Compare(b.from) })
	for _, g := range sorted {
		if !g.from.After(from) && g.to.After(from) {
			from = g.to
		}
	}
	return !from.Before(to)
}

func (j *containerJudge) touched(from, to time.Time) bool {
	return slices.ContainsFunc(j.gaps, span{from, to}.overlaps)
}

func (j *containerJudge) removed() bool { return !j.r.RemovedAt.IsZero() }

func (j *containerJudge) judge() {
	latest := map[backendapi.Kind]backendapi.Event{}
	for _, e := range j.all {
		was, ok := latest[e.Kind]
		if ok && was.EventID != e.EventID && e.Kind != backendapi.KindCrashLoop {
			j.fault("%s twice, as %s and %s", e.Kind, was.EventID, e.EventID)
		}
		if !ok || e.Revision > was.Revision {
			latest[e.Kind] = e
		}
		j.plausible(e)
	}
	if len(j.all) == 0 {
		j.absent()
		return
	}
	j.at(latest, backendapi.KindCreate, j.r.CreatedAt)
	j.start(latest)
	j.stop(latest)
	j.remove(latest)
	j.kinds(latest)
}

// absent judges a container without events.
func (j *containerJudge) absent() {
	r := j.r
	switch lived := r.RemovedAt.Sub(r.CreatedAt); {
	case j.removed() && j.covered(r.CreatedAt, r.RemovingAt):
		j.v.covered++
		j.v.partial = append(j.v.partial, span{r.CreatedAt, r.RemovedAt})
	case j.removed() && lived < j.between:
		j.v.between++
	default:
		j.fault("there is no event, and no gap from %v to %v", r.CreatedAt, r.RemovingAt)
	}
}

// kinds judges events that not every container has.
func (j *containerJudge) kinds(latest map[backendapi.Kind]backendapi.Event) {
	for kind := range latest {
		switch kind {
		case backendapi.KindCreate, backendapi.KindStart, backendapi.KindRestart, backendapi.KindStop, backendapi.KindRemove:
		case backendapi.KindOOM:
			if !j.mayOOM(j.r.Name) {
				j.fault("a process was killed for lack of memory, of which it had enough")
			}
		case backendapi.KindCrashLoop:
			if n := j.failures(); n < 3 {
				j.fault("a crash loop after %d failed ends", n)
			}
		default:
			j.fault("%s did not happen", kind)
		}
	}
}

// plausible checks what must hold of every event.
func (j *containerJudge) plausible(e backendapi.Event) {
	if !isOf(e.Workload, j.r) {
		j.fault("%s: workload %+v", e.Kind, *e.Workload)
	}
	if e.Observation.ObservedAt == nil || e.Observation.ObservedAt.Before(e.When) {
		j.fault("%s at %v was observed before, at %v", e.Kind, e.When, e.Observation.ObservedAt)
	}
}

// at compares the time of an event that must exist.
func (j *containerJudge) at(latest map[backendapi.Kind]backendapi.Event, kind backendapi.Kind, when time.Time) {
	e, ok := latest[kind]
	switch {
	case !ok:
		j.fault("%s is missing", kind)
	case e.Observation.Precision == "window":
		j.within(e, when, when)
	case !e.When.Equal(when):
		j.fault("%s: when %v, the runtime reports %v", kind, e.When, when)
	}
}

// within checks that the window of an event contains what happened between two moments.
func (j *containerJudge) within(e backendapi.Event, notBefore, notAfter time.Time) {
	if e.When.Before(notBefore) {
		j.fault("%s: its window ends at %v, and it happened from %v on", e.Kind, e.When, notBefore)
	}
	if start := e.Observation.WindowStart; start != nil && start.After(notAfter) {
		j.fault("%s: its window begins at %v, and it happened until %v", e.Kind, *start, notAfter)
	}
}

func (j *containerJudge) start(latest map[backendapi.Kind]backendapi.Event) {
	r := j.r
	began, other := backendapi.KindStart, backendapi.KindRestart
	if r.Attempt > 0 {
		began, other = other, began
	}
	if e, ok := latest[other]; ok {
		j.fault("%s at %v, of attempt %d", other, e.When, r.Attempt)
	}
	e, reported := latest[began]
	switch {
	case reported && !r.Started() && r.State != cri.ContainerState_CONTAINER_UNKNOWN:
		j.fault("%s at %v, and it never started", began, e.When)
	case reported && r.Started():
		j.at(latest, began, r.StartedAt)
		j.previous(e)
	case !reported && r.Started() && !(j.removed() && j.covered(r.StartedAt, r.RemovingAt)):
		j.fault("%s is missing, and no gap from %v to %v", began, r.StartedAt, r.RemovingAt)
	}
}

// previous checks what a restart reports about the run before.
func (j *containerJudge) previous(e backendapi.Event) {
	if e.Previous == nil {
		return
	}
	_, id, _ := strings.Cut(e.Previous.ContainerID, "://")
	i := slices.IndexFunc(j.records, func(p privateruntime.Record) bool { return p.ID == id })
	if i < 0 {
		j.fault("the run before was of container %s, which was never created", id)
		return
	}
	p := j.records[i]
	if p.PodUID != j.r.PodUID || p.Name != j.r.Name || p.Attempt >= j.r.Attempt {
		j.fault("the run before was of %s attempt %d", p.Name, p.Attempt)
	}
	if e.Observation.MissedRuns != nil && *e.Observation.MissedRuns != j.r.Attempt-p.Attempt-1 {
		j.fault("%d runs missed since attempt %d", *e.Observation.MissedRuns, p.Attempt)
	}
}

func (j *containerJudge) remove(latest map[backendapi.Kind]backendapi.Event) {
	r := j.r
	e, reported := latest[backendapi.KindRemove]
	switch {
	case reported && !j.removed():
		j.fault("removed at %v, and it still exists", e.When)
	case !reported && j.removed() && j.covered(j.lastObserved(), r.RemovingAt):
		// The collector was killed after it had delivered the last event, and before it had stored that.
		j.v.covered++
	case !reported && j.removed():
		j.fault("its removal is missing")
	case reported && e.Observation.Precision == "window":
		j.within(e, r.RemovingAt, r.RemovedAt)
	case reported && (e.When.Before(r.RemovingAt) || e.When.After(r.RemovedAt)):
		j.fault("removed at %v, which was from %v to %v", e.When, r.RemovingAt, r.RemovedAt)
	}
}

// lastObserved returns when the last event was observed.
func (j *containerJudge) lastObserved() time.Time {
	var last time.Time
	for _, e := range j.all {
		if e.Observation.ObservedAt != nil {
			last = latestOf(last, *e.Observation.ObservedAt)
		}
	}
	return last
}

// failures counts the failed ends of the container's identity.
func (j *containerJudge) failures() int {
	n := 0
	for _, r := range j.records {
		if _, ended := r.Ended(); ended && r.PodUID == j.r.PodUID && r.Name == j.r.Name && r.ExitCode != 0 {
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
