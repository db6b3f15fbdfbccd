//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// moment returns a time of the judge's own test; s is in seconds.
func moment(s float64) time.Time {
	return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).Add(time.Duration(s * float64(time.Second)))
}

// fact is the event of something that happened at a moment to container "a".
func fact(kind backendapi.Kind, at float64, change ...func(*backendapi.Event)) backendapi.Event {
	seen := moment(at + 0.01)
	e := backendapi.Event{
		EventID: "id-" + string(kind), Kind: kind, When: moment(at),
		Workload:    &backendapi.Workload{ContainerID: "containerd://a", Container: "api", Pod: "web", Namespace: "shop", PodUID: "u"},
		Observation: backendapi.Observation{Precision: "exact", Source: "stream", ObservedAt: &seen},
	}
	for _, c := range change {
		c(&e)
	}
	return e
}

func ended(code uint32, reason string) func(*backendapi.Event) {
	return func(e *backendapi.Event) {
		e.Run = &backendapi.Run{ExitCode: &code, Reason: reason, OOMKilled: reason == "OOMKilled"}
	}
}

// since turns an event into one of an unobserved end, with a window as its time.
func since(s float64) func(*backendapi.Event) {
	return func(e *backendapi.Event) {
		start := moment(s)
		e.Observation.Precision, e.Observation.WindowStart, e.Run = "window", &start, &backendapi.Run{}
	}
}

func revised(n uint32) func(*backendapi.Event) {
	return func(e *backendapi.Event) { e.Revision = n }
}

func gap(from, to float64) backendapi.Event {
	return backendapi.Event{EventID: fmt.Sprint("gap", from), Kind: backendapi.KindObserverGap, Gap: &backendapi.Gap{From: moment(from), To: moment(to)}}
}

// aLife is the record of a container that was created at 1, started at 2, failed with 3 at 5 and was removed from 7 to 7.5.
func aLife(change ...func(*privateruntime.Record)) privateruntime.Record {
	r := privateruntime.Record{
		Identity: privateruntime.Identity{ID: "a", Name: "api", Pod: "web", Namespace: "shop", PodUID: "u"},
		Status: privateruntime.Status{
			State: cri.ContainerState_CONTAINER_EXITED, ExitCode: 3, Reason: "Error",
			CreatedAt: moment(1), StartedAt: moment(2), FinishedAt: moment(5),
		},
		RemovingAt: moment(7), RemovedAt: moment(7.5),
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func still(r *privateruntime.Record) { r.RemovingAt, r.RemovedAt = time.Time{}, time.Time{} }

func runs(r *privateruntime.Record) {
	still(r)
	r.State, r.ExitCode, r.Reason, r.FinishedAt = cri.ContainerState_CONTAINER_RUNNING, 0, "", time.Time{}
}

func outOfMemory(r *privateruntime.Record) { r.ExitCode, r.Reason = 137, "OOMKilled" }

func unknown(r *privateruntime.Record) { r.ExitCode, r.Reason = 255, "Unknown" }

// TestJudgeReportsEveryFault checks the judge of the churn test: each case is one way to be right or wrong.
func TestJudgeReportsEveryFault(t *testing.T) {
	create, start := fact(backendapi.KindCreate, 1), fact(backendapi.KindStart, 2)
	stop, remove := fact(backendapi.KindStop, 5, ended(3, "Error")), fact(backendapi.KindRemove, 7.2)
	complete := []backendapi.Event{create, start, stop, remove}
	without := func(kind backendapi.Kind, more ...backendapi.Event) []backendapi.Event {
		return append(slices.DeleteFunc(slices.Clone(complete), func(e backendapi.Event) bool { return e.Kind == kind }), more...)
	}
	for _, c := range []struct {
		name   string
		record privateruntime.Record
		events []backendapi.Event
		fault  string // what a fault contains, empty if there is none
	}{
		{"every event", aLife(), complete, ""},
		{"no event, in a gap", aLife(), []backendapi.Event{gap(0, 7)}, ""},
		{"no event, in two gaps that meet", aLife(), []backendapi.Event{gap(3, 8), gap(0, 4)}, ""},
		{"no event and no gap", aLife(), nil, "there is no event"},
		{"no event, and the gap begins too late", aLife(), []backendapi.Event{gap(1.5, 8)}, "there is no event"},
		{"no event, and the gap ends too early", aLife(), []backendapi.Event{gap(0, 6.9)}, "there is no event"},
		{"no event, in a gap, of a container that exists", aLife(still), []backendapi.Event{gap(0, 8)}, "there is no event"},
		{"a gap without a reason", aLife(), append(slices.Clone(complete), gap(100, 101)), "nothing was down"},
		{"a gap for a container without events", aLife(func(r *privateruntime.Record) {
			r.CreatedAt, r.StartedAt, r.FinishedAt, r.RemovingAt, r.RemovedAt = moment(100), moment(101), moment(102), moment(103), moment(104)
		}), []backendapi.Event{gap(99, 105)}, ""},
		{"the creation is missing", aLife(), without(backendapi.KindCreate), "CONTAINER_CREATE is missing"},
		{"the creation at another time", aLife(), without(backendapi.KindCreate, fact(backendapi.KindCreate, 1.1)), "CONTAINER_CREATE: when"},
		{"the start is missing", aLife(), without(backendapi.KindStart), "CONTAINER_START is missing"},
		{"the start is missing, in a gap", aLife(), []backendapi.Event{create, remove, gap(1.5, 8)}, ""},
		{"the start at another time", aLife(), without(backendapi.KindStart, fact(backendapi.KindStart, 2.1)), "CONTAINER_START: when"},
		{"a start of a container that never started", aLife(runs, func(r *privateruntime.Record) {
			r.State, r.StartedAt = cri.ContainerState_CONTAINER_CREATED, time.Time{}
		}), []backendapi.Event{create, start}, "it never started"},
		{"a restart of the first attempt", aLife(), without(backendapi.KindStart, fact(backendapi.KindRestart, 2)), "CONTAINER_RESTART at"},
		{"the stop is missing", aLife(), without(backendapi.KindStop), "stop is missing"},
		{"the stop is missing, in a gap that is too short", aLife(), without(backendapi.KindStop, gap(4, 8)), "stop is missing"},
		{"the stop at another time", aLife(), without(backendapi.KindStop, fact(backendapi.KindStop, 5.1, ended(3, "Error"))), "stopped at"},
		{"another exit code", aLife(), without(backendapi.KindStop, fact(backendapi.KindStop, 5, ended(4, "Error"))), "exit code"},
		{"another reason", aLife(), without(backendapi.KindStop, fact(backendapi.KindStop, 5, ended(3, "Completed"))), "reason Completed"},
		{"one revision twice", aLife(), append(slices.Clone(complete), stop), "exists twice"},
		{"the reason in a revision", aLife(outOfMemory), []backendapi.Event{
			create, start, remove, fact(backendapi.KindStop, 5, ended(137, "Error")), fact(backendapi.KindStop, 5, ended(137, "OOMKilled"), revised(1)),
		}, ""},
		{"the reason is missing", aLife(outOfMemory), without(backendapi.KindStop, fact(backendapi.KindStop, 5, ended(137, "Error"))), "reason Error"},
		{"the reason is missing, in a gap after the end", aLife(outOfMemory), without(backendapi.KindStop, fact(backendapi.KindStop, 5, ended(137, "Error")), gap(5.5, 7)), ""},
		{"the stop of a running container", aLife(runs), []backendapi.Event{create, start, stop}, "it did not end"},
		{"a running container", aLife(runs), []backendapi.Event{create, start}, ""},
		{"an inferred stop, in a gap", aLife(), without(backendapi.KindStop, fact(backendapi.KindStop, 8, since(4)), gap(4, 8)), ""},
		{"an inferred stop without a gap", aLife(), without(backendapi.KindStop, fact(backendapi.KindStop, 8, since(4))), "no gap"},
		{"an inferred stop of a container that exists", aLife(still), []backendapi.Event{create, start, fact(backendapi.KindStop, 8, since(4)), gap(4, 8)}, "still reports"},
		{"an end just before the start", aLife(func(r *privateruntime.Record) { r.StartedAt = moment(5.001) }), []backendapi.Event{
			create, remove, fact(backendapi.KindStart, 5.001), fact(backendapi.KindStop, 8, since(5.001)), gap(4, 8),
		}, ""},
		{"a window that begins too late", aLife(), without(backendapi.KindStop, fact(backendapi.KindStop, 8, since(5.1)), gap(4, 8)), "its window begins"},
		{"a window that ends too early", aLife(), without(backendapi.KindStop, fact(backendapi.KindStop, 4.9, since(4)), gap(4, 8)), "its window ends"},
		{"an inferred stop with a code", aLife(), without(backendapi.KindStop, fact(backendapi.KindStop, 8, since(4), ended(3, "Error")), gap(4, 8)), "unobserved end"},
		{"an end that the runtime does not know", aLife(unknown), without(backendapi.KindStop, fact(backendapi.KindStop, 5, since(4))), ""},
		{"an end that the runtime does not know, at another time", aLife(unknown), without(backendapi.KindStop, fact(backendapi.KindStop, 4.5, since(4))), "its window ends"},
		{"an end that the observer received and the runtime lost", aLife(unknown), without(backendapi.KindStop, fact(backendapi.KindStop, 4.5, ended(3, "Error"))), ""},
		{"an end after the runtime's own time", aLife(unknown), without(backendapi.KindStop, fact(backendapi.KindStop, 5.5, ended(3, "Error"))), "the runtime reports only"},
		{"the removal is missing", aLife(), without(backendapi.KindRemove), "removal is missing"},
		{"the removal is missing, in a gap", aLife(), without(backendapi.KindRemove, gap(4, 8)), ""},
		{"the removal is missing, in a gap that begins too late", aLife(), without(backendapi.KindRemove, gap(6.5, 8)), "removal is missing"},
		{"the removal is missing, in a gap that ends too early", aLife(), without(backendapi.KindRemove, gap(4, 6.5)), "removal is missing"},
		{"a removal too early", aLife(), without(backendapi.KindRemove, fact(backendapi.KindRemove, 6.9)), "removed at"},
		{"a removal too late", aLife(), without(backendapi.KindRemove, fact(backendapi.KindRemove, 7.6)), "removed at"},
		{"a removal in a window", aLife(), without(backendapi.KindRemove, fact(backendapi.KindRemove, 9, since(7))), ""},
		{"a removal in a later window", aLife(), without(backendapi.KindRemove, fact(backendapi.KindRemove, 9, since(7.6))), "its window begins"},
		{"the removal of a container that exists", aLife(still), complete, "it still exists"},
		{"one stop under two ids", aLife(), append(slices.Clone(complete), fact(backendapi.KindStop, 5, ended(3, "Error"), func(e *backendapi.Event) { e.EventID = "other" })), "twice, as"},
		{"observed before it happened", aLife(), without(backendapi.KindStop, fact(backendapi.KindStop, 5, ended(3, "Error"), func(e *backendapi.Event) {
			before := moment(4)
			e.Observation.ObservedAt = &before
		})), "was observed before"},
		{"another pod's", aLife(), without(backendapi.KindStop, fact(backendapi.KindStop, 5, ended(3, "Error"), func(e *backendapi.Event) {
			other := *e.Workload
			other.Pod = "other"
			e.Workload = &other
		})), "workload"},
		{"another container", aLife(), append(slices.Clone(complete), fact(backendapi.KindCreate, 1, func(e *backendapi.Event) {
			other := *e.Workload
			other.ContainerID, e.EventID = "containerd://b", "b"
			e.Workload = &other
		})), "was never created"},
		{"a pause", aLife(), append(slices.Clone(complete), fact(backendapi.KindPause, 3)), "did not happen"},
		{"an OOM kill with enough memory", aLife(), append(slices.Clone(complete), fact(backendapi.KindOOM, 3)), "of which it had enough"},
		{"a crash loop of one", aLife(), append(slices.Clone(complete), fact(backendapi.KindCrashLoop, 5)), "after 1 failed ends"},
	} {
		t.Run(c.name, func(t *testing.T) {
			known := chronicle{records: []privateruntime.Record{c.record}, outages: []span{{moment(0), moment(10)}}, mayOOM: mayOOM}
			v := known.judge(c.events)
			if c.fault == "" {
				assert.Empty(t, v.faults)
				return
			}
			require.NotEmpty(t, v.faults)
			assert.Contains(t, fmt.Sprint(v.faults), c.fault)
		})
	}
}

// TestJudgeComparesRestarts has two attempts of one container.
func TestJudgeComparesRestarts(t *testing.T) {
	second := aLife(still, func(r *privateruntime.Record) {
		r.ID, r.Attempt = "b", 1
		r.CreatedAt, r.StartedAt, r.FinishedAt = moment(8), moment(9), moment(10)
	})
	again := func(e *backendapi.Event) {
		other := *e.Workload
		other.ContainerID = "containerd://b"
		e.Workload, e.EventID = &other, "b"+e.EventID
	}
	previous := func(id string, missed uint32) func(*backendapi.Event) {
		return func(e *backendapi.Event) {
			e.Previous, e.Observation.MissedRuns = &backendapi.Previous{ContainerID: "containerd://" + id}, &missed
		}
	}
	of := func(change func(*backendapi.Event)) []string {
		known := chronicle{records: []privateruntime.Record{aLife(), second}, mayOOM: mayOOM}
		return known.judge([]backendapi.Event{
			fact(backendapi.KindCreate, 1), fact(backendapi.KindStart, 2), fact(backendapi.KindStop, 5, ended(3, "Error")), fact(backendapi.KindRemove, 7.2),
			fact(backendapi.KindCreate, 8, again), fact(backendapi.KindRestart, 9, again, change), fact(backendapi.KindStop, 10, again, ended(3, "Error")),
		}).faults
	}
	assert.Empty(t, of(previous("a", 0)))
	assert.Contains(t, fmt.Sprint(of(previous("a", 1))), "1 runs missed")
	assert.Contains(t, fmt.Sprint(of(previous("c", 0))), "never created")
	assert.Contains(t, fmt.Sprint(of(previous("b", 0))), "the run before was of api attempt 1")
}
