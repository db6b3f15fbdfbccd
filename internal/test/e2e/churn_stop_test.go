//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// stop judges the end of the run.
func (j *containerJudge) stop(latest map[backendapi.Kind]backendapi.Event) {
	r := j.r
	_, ended := r.Ended()
	forced := j.removed() && r.State == cri.ContainerState_CONTAINER_RUNNING // the removal kills it
	e, reported := latest[backendapi.KindStop]
	switch {
	case !reported && (ended || forced):
		j.missingStop()
	case !reported:
	case forced:
		j.within(e, r.RemovingAt, r.RemovedAt)
		if e.Run.ExitCode != nil && *e.Run.ExitCode != 137 {
			j.fault("exit code %d of a container that was removed by force", *e.Run.ExitCode)
		}
		j.v.exact++
	case !ended:
		j.fault("stopped at %v, and it did not end (%s)", e.When, r.State)
	case e.Observation.Precision == "window":
		j.inferred(e)
	case endUnknown(*r):
		// The observer can know better than a runtime that was killed before it had stored the end.
		if e.When.After(r.FinishedAt) || e.When.Before(r.CreatedAt) || e.Run.ExitCode == nil {
			j.fault("ended exactly at %v with %v, and the runtime reports only from %v to %v", e.When, e.Run.ExitCode, r.StartedAt, r.FinishedAt)
		}
		j.v.exact++
	default:
		j.v.exact++
		j.exactly(e)
	}
}

// missingStop judges a run that ended and has no stop.
func (j *containerJudge) missingStop() {
	r := j.r
	switch {
	case r.Reason == "StartError" && j.removed() && (r.RemovingAt.Sub(r.FinishedAt) < startErrorSeen || j.touched(r.FinishedAt, r.FinishedAt.Add(startErrorSeen))):
		j.v.covered++ // no runtime sends an event for it, so that only an inspection finds it
	case j.removed() && j.covered(latestOf(r.StartedAt, r.CreatedAt), r.RemovingAt):
		j.v.covered++
		j.v.partial = append(j.v.partial, span{r.CreatedAt, r.RemovedAt})
	default:
		j.fault("the stop is missing, and no gap from %v to %v", r.StartedAt, r.RemovingAt)
	}
}

// exactly compares a stop with the last status of the runtime.
func (j *containerJudge) exactly(e backendapi.Event) {
	r := j.r
	if !e.When.Equal(r.FinishedAt) {
		j.fault("stopped at %v, the runtime reports %v", e.When, r.FinishedAt)
	}
	if e.Run.ExitCode == nil || *e.Run.ExitCode != uint32(r.ExitCode) {
		j.fault("exit code %v, the runtime reports %d", e.Run.ExitCode, r.ExitCode)
	}
	// The runtime reports OOMKilled later than the end. It is missed when no inspection was possible between the two.
	late := r.Reason == "OOMKilled" && e.Run.Reason == "Error" && j.removed() && j.touched(r.FinishedAt, r.RemovingAt)
	if e.Run.Reason != r.Reason && !late {
		j.fault("reason %s, the runtime reports %s", e.Run.Reason, r.Reason)
	}
	if e.Run.OOMKilled != (e.Run.Reason == "OOMKilled") {
		j.fault("oomKilled %v with reason %s", e.Run.OOMKilled, e.Run.Reason)
	}
}

// inferred judges a stop with a window: the runtime did not know the time, or the inspection came too late.
func (j *containerJudge) inferred(e backendapi.Event) {
	r := j.r
	j.v.inferred++
	j.v.partial = append(j.v.partial, span{r.CreatedAt, latestOf(r.RemovedAt, r.FinishedAt)})
	if e.Run.ExitCode != nil {
		j.fault("exit code %d of an unobserved end", *e.Run.ExitCode)
	}
	if e.Run.OOMKilled {
		j.fault("OOM-killed, at an unobserved end")
	}
	// By containerd's clocks a process that exits at once ends a little before its start. No window begins before the start.
	finished := latestOf(r.FinishedAt, r.StartedAt)
	j.within(e, r.FinishedAt, finished)
	if endUnknown(*r) {
		return
	}
	if !j.removed() {
		j.fault("an inferred stop, and the runtime still reports %d %s at %v", r.ExitCode, r.Reason, r.FinishedAt)
	} else if !j.covered(r.FinishedAt, r.RemovingAt) && r.RemovedAt.Sub(r.FinishedAt) >= j.between {
		j.fault("an inferred stop, and no gap from %v to %v", r.FinishedAt, r.RemovingAt)
	}
}
