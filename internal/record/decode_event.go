// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// eventDraft is an event while it is decoded, with the memory that its optional parts point to. It is part of the Origin, so that
// decoding an event does not allocate.
type eventDraft struct {
	event                 backendapi.Event
	run                   backendapi.Run
	previous              backendapi.Previous
	crashLoop             backendapi.CrashLoop
	gap                   backendapi.Gap
	process               backendapi.Process
	times                 draftTimes
	numbers               draftNumbers
	previousID            string
	missedKnown           bool
	buildIDGNU, buildIDGo string
}

type draftTimes struct{ started, finished, previousFinished, windowStart, observedAt time.Time }

type draftNumbers struct{ restarts, exit, previousExit, crashLoopExit, missed uint32 }

// eventAttributes decodes each record attribute. Attributes that are not listed are ignored.
var eventAttributes = map[string]func(*eventDraft, pcommon.Value){
	AttrEventID:       func(d *eventDraft, v pcommon.Value) { d.event.EventID = text(v) },
	AttrEventRevision: func(d *eventDraft, v pcommon.Value) { d.event.Revision, _ = u32(v) },

	AttrRestartCount:  func(d *eventDraft, v pcommon.Value) { d.run.RestartCount = u32Into(v, &d.numbers.restarts) },
	AttrRunStartedAt:  func(d *eventDraft, v pcommon.Value) { d.run.StartedAt = timeInto(v, &d.times.started) },
	AttrRunFinishedAt: func(d *eventDraft, v pcommon.Value) { d.run.FinishedAt = timeInto(v, &d.times.finished) },
	AttrExitCode:      func(d *eventDraft, v pcommon.Value) { d.run.ExitCode = u32Into(v, &d.numbers.exit) },
	AttrExitSignal:    func(d *eventDraft, v pcommon.Value) { d.run.Signal = name(v) },
	AttrExitReason:    func(d *eventDraft, v pcommon.Value) { d.run.Reason = prose(v) },
	AttrOOMKilled:     func(d *eventDraft, v pcommon.Value) { d.run.OOMKilled = truth(v) },
	AttrStopSignal:    asEvidence(AttrStopSignal),
	AttrHealth:        asEvidence(AttrHealth),

	AttrProcessPID:     func(d *eventDraft, v pcommon.Value) { d.process.PID, _ = u32(v) },
	AttrExecutablePath: func(d *eventDraft, v pcommon.Value) { d.process.Executable = prose(v) },
	AttrCommandArgs:    func(d *eventDraft, v pcommon.Value) { d.process.Entrypoint = arguments(v) },
	AttrBuildIDGNU:     func(d *eventDraft, v pcommon.Value) { d.buildIDGNU = backendapi.GNUBuildID(text(v)) },
	AttrBuildIDGo:      func(d *eventDraft, v pcommon.Value) { d.buildIDGo = backendapi.GoBuildID(name(v)) },
	AttrLoadedLibs:     func(d *eventDraft, v pcommon.Value) { d.event.LoadedLibs = loadedLibs(v) },

	AttrPreviousID:         func(d *eventDraft, v pcommon.Value) { d.previousID = text(v) },
	AttrPreviousExitCode:   func(d *eventDraft, v pcommon.Value) { d.previous.ExitCode = u32Into(v, &d.numbers.previousExit) },
	AttrPreviousReason:     func(d *eventDraft, v pcommon.Value) { d.previous.Reason = prose(v) },
	AttrPreviousFinishedAt: func(d *eventDraft, v pcommon.Value) { d.previous.FinishedAt = timeInto(v, &d.times.previousFinished) },

	AttrCrashLoopCount:    func(d *eventDraft, v pcommon.Value) { d.crashLoop.Count, _ = u32(v) },
	AttrCrashLoopWindow:   func(d *eventDraft, v pcommon.Value) { d.crashLoop.WindowSeconds = seconds(v) },
	AttrCrashLoopExitCode: func(d *eventDraft, v pcommon.Value) { d.crashLoop.ExitCode = u32Into(v, &d.numbers.crashLoopExit) },
	AttrCrashLoopReason:   func(d *eventDraft, v pcommon.Value) { d.crashLoop.Reason = prose(v) },

	AttrSource: func(d *eventDraft, v pcommon.Value) { d.event.Observation.Source = text(v) },
	AttrPrecision: func(d *eventDraft, v pcommon.Value) {
		if precision := text(v); slices.Contains(backendapi.Precisions, precision) {
			d.event.Observation.Precision = precision
		}
	},
	AttrWindowStart: func(d *eventDraft, v pcommon.Value) {
		d.event.Observation.WindowStart = timeInto(v, &d.times.windowStart)
	},
	AttrMissedRuns:    func(d *eventDraft, v pcommon.Value) { d.numbers.missed, d.missedKnown = u32(v) },
	AttrMissedUnknown: func(d *eventDraft, v pcommon.Value) { d.event.Observation.MissedUnknown = truth(v) },

	AttrGapFrom:   func(d *eventDraft, v pcommon.Value) { d.gap.From, _ = instant(v) },
	AttrGapTo:     func(d *eventDraft, v pcommon.Value) { d.gap.To, _ = instant(v) },
	AttrGapCause:  func(d *eventDraft, v pcommon.Value) { d.gap.Cause = name(v) },
	AttrGapFolded: func(d *eventDraft, v pcommon.Value) { d.gap.Folded, _ = u64(v) },
}

// asEvidence decodes an attribute for which the contract has no field.
func asEvidence(key string) func(*eventDraft, pcommon.Value) {
	return func(d *eventDraft, v pcommon.Value) {
		if value := name(v); value != "" {
			d.event.Evidence = append(d.event.Evidence, backendapi.Evidence{Signal: key, Value: value})
		}
	}
}

// Event decodes one record of the origin. Errors: ErrForeign, *InvalidError.
func (o *Origin) Event(lr plog.LogRecord) (backendapi.Event, error) {
	kind, known := kindByName[eventName(lr)]
	if !known {
		return backendapi.Event{}, ErrForeign
	}
	o.draft = eventDraft{}
	d := &o.draft
	for key, v := range lr.Attributes().All() {
		if set, ok := eventAttributes[key]; ok {
			set(d, v)
		}
	}
	ev := &d.event
	if ev.EventID == "" {
		return *ev, ErrForeign
	}
	ev.Kind = kind
	ev.Tenant, ev.Project = o.dec.Tenant, o.dec.Project
	ev.Node, ev.Runtime = o.node, o.runtime
	ev.Annotations = o.annotations
	d.observation(lr)
	if kind == backendapi.KindObserverGap {
		o.completeGap()
	} else {
		o.completeContainer()
	}
	return *ev, invalid(ev)
}

// observation sets when the event happened and how that is known. A record without a time happened at or before it was observed.
func (d *eventDraft) observation(lr plog.LogRecord) {
	ev := &d.event
	if at := lr.ObservedTimestamp().AsTime(); backendapi.PlausibleTime(at) {
		d.times.observedAt = at
		ev.Observation.ObservedAt = &d.times.observedAt
	}
	if at := lr.Timestamp().AsTime(); backendapi.PlausibleTime(at) {
		ev.When = at
	} else if ev.Observation.ObservedAt != nil {
		ev.When = d.times.observedAt
		ev.Observation.Precision = precisionWindow
	}
	if d.missedKnown && !ev.Observation.MissedUnknown {
		ev.Observation.MissedRuns = &d.numbers.missed
	}
}

func (o *Origin) completeGap() {
	ev, gap := &o.draft.event, &o.draft.gap
	gap.Runtime = o.configured
	if gap.To.IsZero() {
		gap.To = ev.When
	}
	if gap.From.IsZero() { // the beginning is unknown: claim no more than the end
		gap.From = gap.To
	}
	ev.Gap = gap
}

// completeContainer attaches the parts that the record has.
func (o *Origin) completeContainer() {
	d := &o.draft
	ev := &d.event
	if o.workload.ContainerID != "" {
		ev.Workload = &o.workload
	}
	if d.run.RestartCount == nil && o.restartsSet {
		d.numbers.restarts = o.restarts
		d.run.RestartCount = &d.numbers.restarts
	}
	if d.run != (backendapi.Run{}) {
		ev.Run = &d.run
	}
	if d.previousID != "" {
		d.previous.ContainerID = within(o.containerURI(d.previousID), backendapi.MaxName)
	}
	if d.previous != (backendapi.Previous{}) {
		ev.Previous = &d.previous
	}
	if d.crashLoop.Count != 0 {
		ev.CrashLoop = &d.crashLoop
	}
	d.process.BuildID = firstOf(d.buildIDGNU, d.buildIDGo)
	if d.process.PID != 0 || d.process.Executable != "" || len(d.process.Entrypoint) > 0 {
		ev.Process = &d.process
	}
}
