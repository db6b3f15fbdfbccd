// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/container"
)

// The version of the semantic conventions that define the registered names below, and the schema URL of the records.
const (
	SemConvVersion = "1.43.0"
	SchemaURL      = "https://opentelemetry.io/schemas/" + SemConvVersion
)

// Resource attributes: the same for all records of a container.
const (
	AttrHostName             = "host.name"
	AttrHostID               = "host.id"
	AttrK8sNodeName          = "k8s.node.name"
	AttrContainerID          = "container.id" // bare, without a scheme
	AttrContainerName        = "container.name"
	AttrRuntimeName          = "container.runtime.name"
	AttrRuntimeVersion       = "container.runtime.version"
	AttrImageName            = "container.image.name"
	AttrImageTags            = "container.image.tags"
	AttrImageID              = "container.image.id"
	AttrImageRepoDigests     = "container.image.repo_digests"
	AttrManifestDigest       = "oci.manifest.digest"
	AttrPodName              = "k8s.pod.name"
	AttrPodUID               = "k8s.pod.uid"
	AttrNamespaceName        = "k8s.namespace.name"
	AttrK8sContainerName     = "k8s.container.name"
	AttrK8sRestartCount      = "k8s.container.restart_count"
	AttrRuntimeConfigured    = "zastava.runtime.name"              // the configured name of the observed runtime
	AttrRuntimeOwner         = "zastava.runtime.owner"             // uid of the user whose runtime it is; absent if it is root's
	AttrImageReference       = "zastava.container.image.reference" // as requested; only where name and tags cannot express it
	AttrContainerCreatedAt   = "zastava.container.created_at"
	AttrContainerLabelPrefix = "container.label."              // + key; allow-listed labels only
	AttrAnnotationPrefix     = "zastava.container.annotation." // + key; allow-listed annotations only
	AttrComposeProject       = "zastava.container.compose.project"
	AttrComposeService       = "zastava.container.compose.service"
	AttrComposeNumber        = "zastava.container.compose.number"
	AttrSwarmServiceID       = "zastava.container.swarm.service.id"
	AttrSwarmServiceName     = "zastava.container.swarm.service.name"
	AttrSwarmTaskID          = "zastava.container.swarm.task.id"
	AttrOSType               = "os.type"                     // of the container, where the runtime reports it (Docker)
	AttrIsolation            = "zastava.container.isolation" // on Windows: process or hyperv
)

// Record attributes: specific to one record.
//
//nolint:gosec // G101 mistakes the names for credentials
const (
	AttrEventID            = "zastava.event.id"
	AttrEventRevision      = "zastava.event.revision"
	AttrContainerState     = "zastava.container.state" // after the event
	AttrRestartCount       = "zastava.container.restart.count"
	AttrProcessPID         = "process.pid"
	AttrExitCode           = "process.exit.code" // unsigned 32 bits
	AttrExitReason         = "zastava.container.exit.reason"
	AttrExitSignal         = "zastava.container.exit.signal"
	AttrStopSignal         = "zastava.container.stop.signal" // sent before the run ended, as requested
	AttrHealth             = "zastava.container.health"
	AttrOOMKilled          = "zastava.container.oom_killed" // true, or absent
	AttrRunStartedAt       = "zastava.run.started_at"
	AttrRunFinishedAt      = "zastava.run.finished_at"
	AttrPreviousID         = "zastava.container.previous.id"
	AttrPreviousExitCode   = "zastava.container.previous.exit_code"
	AttrPreviousReason     = "zastava.container.previous.reason"
	AttrPreviousFinishedAt = "zastava.container.previous.finished_at"
	AttrCrashLoopCount     = "zastava.crash_loop.count"
	AttrCrashLoopWindow    = "zastava.crash_loop.window" // seconds
	AttrCrashLoopExitCode  = "zastava.crash_loop.exit_code"
	AttrCrashLoopReason    = "zastava.crash_loop.reason"
	AttrSource             = "zastava.observation.source"
	AttrPrecision          = "zastava.observation.precision"
	AttrWindowStart        = "zastava.observation.window.start"
	AttrMissedRuns         = "zastava.observation.missed_runs"
	AttrMissedUnknown      = "zastava.observation.missed_unknown" // true, or absent
	AttrGapFrom            = "zastava.observer.gap.from"
	AttrGapTo              = "zastava.observer.gap.to"
	AttrGapCause           = "zastava.observer.gap.cause"
	AttrGapFolded          = "zastava.observer.gap.folded"
	AttrExecutablePath     = "process.executable.path" // of the main process, in the container
	AttrBuildIDGNU         = "process.executable.build_id.gnu"
	AttrBuildIDGo          = "process.executable.build_id.go"
	AttrCommandArgs        = "process.command_args" // redacted
	AttrLoadedLibs         = "zastava.process.loaded_libs"
	AttrSampleSequence     = "zastava.sample.sequence"
	AttrSamplePart         = "zastava.sample.part"
	AttrSampleParts        = "zastava.sample.parts"
	AttrSampleCoverage     = "zastava.sample.coverage"
	AttrSampleProcesses    = "zastava.sample.processes"
	AttrSampleFiles        = "zastava.sample.files"
)

// attrEventName is the attribute in which hops that do not know the event name field of a log record keep it.
const attrEventName = "event.name"

// Attributes that processors of the pipeline add and that the decoder reads. The encoder never writes them.
const (
	attrReplicaSetName    = "k8s.replicaset.name"
	attrStatefulSetName   = "k8s.statefulset.name"
	attrDaemonSetName     = "k8s.daemonset.name"
	attrJobName           = "k8s.job.name"
	attrDeploymentName    = "k8s.deployment.name"
	attrCronJobName       = "k8s.cronjob.name"
	attrPodLabelPrefix    = "k8s.pod.label."
	attrPodLabelOldPrefix = "k8s.pod.labels." // k8sattributes before the convention settled
)

// Attribute is one attribute of the schema. A name that ends in a dot is a template: a key follows.
type Attribute struct {
	Name string
	Type pcommon.ValueType
}

// ResourceAttributes lists every resource attribute that an Encoder may set.
func ResourceAttributes() []Attribute {
	str, list, num := pcommon.ValueTypeStr, pcommon.ValueTypeSlice, pcommon.ValueTypeInt
	return []Attribute{
		{AttrHostName, str},
		{AttrHostID, str},
		{AttrK8sNodeName, str},
		{AttrContainerID, str},
		{AttrContainerName, str},
		{AttrRuntimeName, str},
		{AttrRuntimeVersion, str},
		{AttrRuntimeConfigured, str},
		{AttrRuntimeOwner, num},
		{AttrImageName, str},
		{AttrImageTags, list},
		{AttrImageID, str},
		{AttrImageRepoDigests, list},
		{AttrImageReference, str},
		{AttrManifestDigest, str},
		{AttrPodName, str},
		{AttrPodUID, str},
		{AttrNamespaceName, str},
		{AttrK8sContainerName, str},
		{AttrK8sRestartCount, num},
		{AttrContainerCreatedAt, str},
		{AttrContainerLabelPrefix, str},
		{AttrAnnotationPrefix, str},
		{AttrComposeProject, str},
		{AttrComposeService, str},
		{AttrComposeNumber, str},
		{AttrSwarmServiceID, str},
		{AttrSwarmServiceName, str},
		{AttrSwarmTaskID, str},
		{AttrOSType, str},
		{AttrIsolation, str},
	}
}

// EventType is one event of the schema: its name in a log record, the backend's kind, and the record attributes that an
// Encoder may set on it.
type EventType struct {
	Name       string
	Kind       backendapi.Kind
	Attributes []Attribute
}

// EventTypes lists every event of the schema in the order of container.Kind. Samples, which have no kind at the backend, and the
// observer's gap are last.
func EventTypes() []EventType {
	out := make([]EventType, 0, len(eventNames))
	for k := container.KindCreated; int(k) < len(eventNames); k++ {
		attrs := commonAttributes()
		switch k {
		case container.KindStarted:
			attrs = append(attrs, runAttributes()...)
			attrs = append(attrs, processAttributes()...)
			attrs = append(attrs, Attribute{AttrLoadedLibs, pcommon.ValueTypeSlice})
		case container.KindRestarted:
			attrs = append(attrs, runAttributes()...)
			attrs = append(attrs, processAttributes()...)
			attrs = append(attrs,
				Attribute{AttrLoadedLibs, pcommon.ValueTypeSlice},
				Attribute{AttrPreviousID, pcommon.ValueTypeStr},
				Attribute{AttrPreviousExitCode, pcommon.ValueTypeInt},
				Attribute{AttrPreviousReason, pcommon.ValueTypeStr},
				Attribute{AttrPreviousFinishedAt, pcommon.ValueTypeStr})
		case container.KindCrashLoop, container.KindCrashLoopEnded:
			attrs = append(attrs, runAttributes()...)
			attrs = append(attrs,
				Attribute{AttrCrashLoopCount, pcommon.ValueTypeInt},
				Attribute{AttrCrashLoopWindow, pcommon.ValueTypeDouble},
				Attribute{AttrCrashLoopExitCode, pcommon.ValueTypeInt},
				Attribute{AttrCrashLoopReason, pcommon.ValueTypeStr})
		case container.KindHealthChanged:
			attrs = append(attrs, runAttributes()...)
			attrs = append(attrs, Attribute{AttrHealth, pcommon.ValueTypeStr})
		default:
			attrs = append(attrs, runAttributes()...)
		}
		out = append(out, EventType{Name: eventNames[k], Kind: eventKinds[k], Attributes: attrs})
	}
	out = append(out, EventType{
		Name: EventProcessSampled,
		Attributes: append(processAttributes(),
			Attribute{AttrEventID, pcommon.ValueTypeStr},
			Attribute{AttrEventRevision, pcommon.ValueTypeInt},
			Attribute{AttrRunStartedAt, pcommon.ValueTypeStr},
			Attribute{AttrProcessPID, pcommon.ValueTypeInt},
			Attribute{AttrSampleSequence, pcommon.ValueTypeInt},
			Attribute{AttrSamplePart, pcommon.ValueTypeInt},
			Attribute{AttrSampleParts, pcommon.ValueTypeInt},
			Attribute{AttrSampleCoverage, pcommon.ValueTypeMap},
			Attribute{AttrSampleProcesses, pcommon.ValueTypeSlice},
			Attribute{AttrSampleFiles, pcommon.ValueTypeSlice}),
	})
	return append(out, EventType{
		Name: EventObserverGap,
		Kind: backendapi.KindObserverGap,
		Attributes: []Attribute{
			{AttrEventID, pcommon.ValueTypeStr},
			{AttrEventRevision, pcommon.ValueTypeInt},
			{AttrSource, pcommon.ValueTypeStr},
			{AttrPrecision, pcommon.ValueTypeStr},
			{AttrWindowStart, pcommon.ValueTypeStr},
			{AttrMissedUnknown, pcommon.ValueTypeBool},
			{AttrGapFrom, pcommon.ValueTypeStr},
			{AttrGapTo, pcommon.ValueTypeStr},
			{AttrGapCause, pcommon.ValueTypeStr},
			{AttrGapFolded, pcommon.ValueTypeInt},
		},
	})
}

func commonAttributes() []Attribute {
	return []Attribute{
		{AttrEventID, pcommon.ValueTypeStr},
		{AttrEventRevision, pcommon.ValueTypeInt},
		{AttrContainerState, pcommon.ValueTypeStr},
		{AttrRestartCount, pcommon.ValueTypeInt},
		{AttrSource, pcommon.ValueTypeStr},
		{AttrPrecision, pcommon.ValueTypeStr},
		{AttrWindowStart, pcommon.ValueTypeStr},
		{AttrMissedRuns, pcommon.ValueTypeInt},
		{AttrMissedUnknown, pcommon.ValueTypeBool},
	}
}

// processAttributes are what a sample reports about the main process. A start and a restart have them in the revision that follows
// the first sample.
func processAttributes() []Attribute {
	return []Attribute{
		{AttrExecutablePath, pcommon.ValueTypeStr},
		{AttrBuildIDGNU, pcommon.ValueTypeStr},
		{AttrBuildIDGo, pcommon.ValueTypeStr},
		{AttrCommandArgs, pcommon.ValueTypeSlice},
	}
}

func runAttributes() []Attribute {
	return []Attribute{
		{AttrRunStartedAt, pcommon.ValueTypeStr},
		{AttrRunFinishedAt, pcommon.ValueTypeStr},
		{AttrProcessPID, pcommon.ValueTypeInt},
		{AttrExitCode, pcommon.ValueTypeInt},
		{AttrExitReason, pcommon.ValueTypeStr},
		{AttrExitSignal, pcommon.ValueTypeStr},
		{AttrStopSignal, pcommon.ValueTypeStr},
		{AttrOOMKilled, pcommon.ValueTypeBool},
	}
}
