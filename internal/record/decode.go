// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// ErrForeign says that a record is not of this schema: it has no event name of ours, or no zastava.event.id.
var ErrForeign = errors.New("not a Zastava event record")

// InvalidError is a record of this schema that lacks what an event cannot be without, or holds what the wire format has no
// room for. It never quotes values.
type InvalidError struct {
	EventID   string
	Attribute string // the attribute, record field or event field at fault
	Problem   string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("event %s: %s %s", e.EventID, e.Attribute, e.Problem)
}

// Decoder knows what the exporter's configuration adds to every event.
type Decoder struct {
	Tenant  string
	Project string
	// Node is used where a record's resource has neither k8s.node.name nor host.name. "" = such a record is invalid.
	Node string
	// Annotations are put on every event. They win over annotations of the container.
	Annotations map[string]string
}

// Origin is the decoded resource of records: the container they are about, and where it runs. It belongs to one goroutine.
// The events made from it share its memory: each is good until the next is made, or the next resource is read.
type Origin struct {
	dec         *Decoder
	node        string
	runtime     backendapi.Runtime
	configured  string // name of the observed runtime
	workload    backendapi.Workload
	restarts    uint32
	restartsSet bool
	labels      map[string]string // kept for the next resource
	annotations map[string]string
	parts       parts
}

// Origin decodes the resource that a ResourceLogs' records share.
func (d *Decoder) Origin(res pcommon.Resource) *Origin {
	o := new(Origin)
	o.Read(d, res)
	return o
}

// Read makes o the origin that res describes, whatever it was before.
func (o *Origin) Read(d *Decoder, res pcommon.Resource) {
	labels := o.labels
	clear(labels)
	*o = Origin{dec: d, labels: labels}
	w := &o.workload
	var hostName, nodeName, id, containerName, k8sContainerName, imageName, imageTag, repoDigest string
	var owner owners
	var podLabels, annotations map[string]string
	for key, v := range res.Attributes().All() {
		switch key {
		case AttrHostName:
			hostName = name(v)
		case AttrK8sNodeName:
			nodeName = name(v)
		case AttrContainerID:
			id = text(v)
		case AttrContainerName:
			containerName = name(v)
		case AttrK8sContainerName:
			k8sContainerName = name(v)
		case AttrRuntimeName:
			o.runtime.Engine = text(v)
		case AttrRuntimeVersion:
			o.runtime.Version = name(v)
		case AttrRuntimeConfigured:
			o.configured = name(v)
		case AttrImageName:
			imageName = text(v)
		case AttrImageTags:
			imageTag = first(v)
		case AttrImageReference:
			w.ImageRef = prose(v)
		case AttrImageID:
			w.ImageID = name(v)
		case AttrImageRepoDigests:
			repoDigest = first(v)
		case AttrManifestDigest:
			w.ImageDigest = name(v)
		case AttrPodName:
			w.Pod = name(v)
		case AttrPodUID:
			w.PodUID = name(v)
		case AttrNamespaceName:
			w.Namespace = name(v)
		case AttrK8sRestartCount:
			o.restarts, o.restartsSet = u32(v)
		case AttrOSType, AttrIsolation: // what the contract has no field of its own for
			if value := name(v); value != "" {
				put(&annotations, key, value)
			}
		default:
			switch {
			case strings.HasPrefix(key, AttrContainerLabelPrefix):
				put(&o.labels, key[len(AttrContainerLabelPrefix):], text(v))
			case strings.HasPrefix(key, AttrAnnotationPrefix):
				put(&annotations, key[len(AttrAnnotationPrefix):], text(v))
			case strings.HasPrefix(key, "k8s."):
				switch {
				case strings.HasPrefix(key, attrPodLabelPrefix):
					put(&podLabels, key[len(attrPodLabelPrefix):], text(v))
				case strings.HasPrefix(key, attrPodLabelOldPrefix):
					put(&podLabels, key[len(attrPodLabelOldPrefix):], text(v))
				default:
					owner.take(key, v)
				}
			}
		}
	}
	o.node = firstOf(nodeName, hostName, d.Node)
	if id != "" {
		w.ContainerID = containerURI(o.runtime.Engine, id)
	}
	w.Container = firstOf(k8sContainerName, containerName)
	if w.ImageRef == "" && imageName != "" {
		w.ImageRef = within(joinReference(imageName, imageTag), backendapi.MaxText)
	}
	if w.ImageDigest == "" {
		w.ImageDigest = within(digestOf(repoDigest), backendapi.MaxName)
	}
	if w.Pod != "" || w.PodUID != "" {
		w.Platform = backendapi.PlatformKubernetes
	}
	w.Owner = owner.best()
	w.Labels = o.labels
	if podLabels != nil {
		maps.Copy(podLabels, o.labels) // the container's own labels are closer to the truth
		w.Labels = podLabels
	}
	o.annotations = d.Annotations
	if annotations != nil {
		maps.Copy(annotations, d.Annotations)
		o.annotations = annotations
	}
}

// parts is what an event points to.
type parts struct {
	run                                         backendapi.Run
	previous                                    backendapi.Previous
	crashLoop                                   backendapi.CrashLoop
	gap                                         backendapi.Gap
	process                                     backendapi.Process
	started, finished, prevFinished             time.Time
	windowStart, observedAt                     time.Time
	restarts, exit, prevExit, loopExit, missing uint32
	buildIDGNU, buildIDGo                       string
}

// Event decodes one record of the origin. Errors: ErrForeign, *InvalidError.
func (o *Origin) Event(lr plog.LogRecord) (backendapi.Event, error) {
	var ev backendapi.Event
	kind, known := kindByName[eventName(lr)]
	if !known {
		return ev, ErrForeign
	}
	o.parts = parts{}
	p := &o.parts
	run, prev, loop, gap := &p.run, &p.previous, &p.crashLoop, &p.gap
	var previousID string
	var missedKnown bool
	for key, v := range lr.Attributes().All() {
		switch key {
		case AttrEventID:
			ev.EventID = text(v)
		case AttrEventRevision:
			ev.Revision, _ = u32(v)
		case AttrRestartCount:
			run.RestartCount = u32Into(v, &p.restarts)
		case AttrRunStartedAt:
			run.StartedAt = timeInto(v, &p.started)
		case AttrRunFinishedAt:
			run.FinishedAt = timeInto(v, &p.finished)
		case AttrExitCode:
			run.ExitCode = u32Into(v, &p.exit)
		case AttrExitSignal:
			run.Signal = name(v)
		case AttrExitReason:
			run.Reason = prose(v)
		case AttrOOMKilled:
			run.OOMKilled = truth(v)
		case AttrStopSignal, AttrHealth: // what the contract has no field of its own for
			if value := name(v); value != "" {
				ev.Evidence = append(ev.Evidence, backendapi.Evidence{Signal: key, Value: value})
			}
		case AttrProcessPID:
			p.process.PID, _ = u32(v)
		case AttrExecutablePath:
			p.process.Executable = prose(v)
		case AttrCommandArgs:
			p.process.Entrypoint = arguments(v)
		case AttrBuildIDGNU:
			p.buildIDGNU = backendapi.GNUBuildID(text(v))
		case AttrBuildIDGo:
			p.buildIDGo = backendapi.GoBuildID(name(v))
		case AttrLoadedLibs:
			ev.LoadedLibs = loadedLibs(v)
		case AttrPreviousID:
			previousID = text(v)
		case AttrPreviousExitCode:
			prev.ExitCode = u32Into(v, &p.prevExit)
		case AttrPreviousReason:
			prev.Reason = prose(v)
		case AttrPreviousFinishedAt:
			prev.FinishedAt = timeInto(v, &p.prevFinished)
		case AttrCrashLoopCount:
			loop.Count, _ = u32(v)
		case AttrCrashLoopWindow:
			loop.WindowSeconds = seconds(v)
		case AttrCrashLoopExitCode:
			loop.ExitCode = u32Into(v, &p.loopExit)
		case AttrCrashLoopReason:
			loop.Reason = prose(v)
		case AttrSource:
			ev.Observation.Source = text(v)
		case AttrPrecision:
			if precision := text(v); slices.Contains(backendapi.Precisions, precision) {
				ev.Observation.Precision = precision
			}
		case AttrWindowStart:
			ev.Observation.WindowStart = timeInto(v, &p.windowStart)
		case AttrMissedRuns:
			p.missing, missedKnown = u32(v)
		case AttrMissedUnknown:
			ev.Observation.MissedUnknown = truth(v)
		case AttrGapFrom:
			gap.From, _ = instant(v)
		case AttrGapTo:
			gap.To, _ = instant(v)
		case AttrGapCause:
			gap.Cause = name(v)
		case AttrGapFolded:
			gap.Folded, _ = u64(v)
		}
	}
	if ev.EventID == "" {
		return ev, ErrForeign
	}
	ev.Kind = kind
	ev.Tenant, ev.Project = o.dec.Tenant, o.dec.Project
	ev.Node, ev.Runtime = o.node, o.runtime
	ev.Annotations = o.annotations
	o.observation(&ev, lr, p, missedKnown)
	if kind == backendapi.KindObserverGap {
		gap.Runtime = o.configured
		if gap.To.IsZero() {
			gap.To = ev.When
		}
		if gap.From.IsZero() { // nobody knows when it began: claim no more than its end
			gap.From = gap.To
		}
		ev.Gap = gap
	} else {
		if o.workload.ContainerID != "" {
			ev.Workload = &o.workload
		}
		if run.RestartCount == nil && o.restartsSet {
			p.restarts = o.restarts
			run.RestartCount = &p.restarts
		}
		if *run != (backendapi.Run{}) {
			ev.Run = run
		}
		if previousID != "" {
			prev.ContainerID = within(containerURI(o.runtime.Engine, previousID), backendapi.MaxName)
		}
		if *prev != (backendapi.Previous{}) {
			ev.Previous = prev
		}
		if loop.Count != 0 {
			ev.CrashLoop = loop
		}
		p.process.BuildID = firstOf(p.buildIDGNU, p.buildIDGo)
		if p.process.PID != 0 || p.process.Executable != "" || len(p.process.Entrypoint) > 0 {
			ev.Process = &p.process
		}
	}
	err := invalid(&ev)
	return ev, err
}

// observation fills in when and how. A record without a time of its own happened at or before it was observed.
func (o *Origin) observation(ev *backendapi.Event, lr plog.LogRecord, p *parts, missedKnown bool) {
	if at := lr.ObservedTimestamp().AsTime(); backendapi.PlausibleTime(at) {
		p.observedAt = at
		ev.Observation.ObservedAt = &p.observedAt
	}
	if at := lr.Timestamp().AsTime(); backendapi.PlausibleTime(at) {
		ev.When = at
	} else if ev.Observation.ObservedAt != nil {
		ev.When = p.observedAt
		ev.Observation.Precision = precisionWindow
	}
	if missedKnown && !ev.Observation.MissedUnknown {
		ev.Observation.MissedRuns = &p.missing
	}
}

// invalid names the first thing that ev cannot be without and does not have, and else what the wire format refuses.
func invalid(ev *backendapi.Event) error {
	var attribute string
	switch {
	case ev.When.IsZero():
		attribute = "timestamp"
	case ev.Node == "":
		return &InvalidError{ev.EventID, AttrK8sNodeName, "and " + AttrHostName + " are both absent; set the exporter's node"}
	case ev.Runtime.Engine == "":
		attribute = AttrRuntimeName
	case ev.Workload == nil && ev.Kind != backendapi.KindObserverGap:
		attribute = AttrContainerID
	case ev.Observation.Source == "":
		attribute = AttrSource
	default:
		err := ev.Validate()
		if fault, ok := errors.AsType[*backendapi.FieldError](err); ok {
			return &InvalidError{ev.EventID, fault.Field, fault.Detail}
		}
		return err
	}
	return &InvalidError{ev.EventID, attribute, "is absent; a processor of the pipeline may have removed it"}
}

func eventName(lr plog.LogRecord) string {
	if name := lr.EventName(); name != "" {
		return name
	}
	if v, ok := lr.Attributes().Get(attrEventName); ok {
		return text(v)
	}
	return ""
}

// containerURI gives "<engine>://<id>", and leaves an id that has a scheme already.
func containerURI(engine, id string) string {
	if engine == "" || strings.Contains(id, "://") {
		return id
	}
	return engine + "://" + id
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// put adds a label or annotation that the wire format has room for. One that is too large is left out rather than cut, as
// name and prose do. Half of the room is for what is merged in later.
func put(m *map[string]string, key, value string) {
	if !backendapi.PairFits(key, value) || len(*m) >= backendapi.MaxPairs/2 {
		return
	}
	if *m == nil {
		*m = make(map[string]string)
	}
	(*m)[key] = value
}
