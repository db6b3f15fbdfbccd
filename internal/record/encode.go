// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/signal"
)

// Encoder holds what all records of one observer share. Several goroutines may use it at a time.
type Encoder struct {
	HostName     string // host.name; empty if unset
	HostID       string // host.id; empty if unset
	NodeName     string // k8s.node.name; empty outside Kubernetes
	Scope        string // instrumentation scope: the receiver's package import path
	ScopeVersion string
	OS           string // GOOS of containers whose runtime does not report it, for signal names; empty: the GOOS of this binary
}

// Node returns the name of the node in events: that of Kubernetes if set, or else the host's.
func (e *Encoder) Node() string {
	if e.NodeName != "" {
		return e.NodeName
	}
	return e.HostName
}

// NewBatch starts an empty batch of records.
func (e *Encoder) NewBatch() *Batch {
	return &Batch{enc: e, logs: plog.NewLogs()}
}

// Batch collects the log records of transitions. Consecutive transitions of one container share a ResourceLogs. One goroutine may
// use it at a time.
type Batch struct {
	enc      *Encoder
	logs     plog.Logs
	records  plog.LogRecordSlice // of the last ResourceLogs
	of       *container.Container
	restarts uint32
	n        int
}

// Logs returns the records. Nothing may be appended to the batch afterwards.
func (b *Batch) Logs() plog.Logs { return b.logs }

// Len returns the number of records.
func (b *Batch) Len() int { return b.n }

// Append adds the record of t. t.Container must be set.
func (b *Batch) Append(t *container.Transition) {
	c := t.Container
	if b.of != c || b.restarts != t.RestartCount {
		// The restart count is a resource attribute by convention, so a new count is a new resource.
		b.resource(func(m pcommon.Map) { b.enc.containerResource(m, c, t.RestartCount) })
		b.of, b.restarts = c, t.RestartCount
	}
	lr := b.append()
	lr.SetEventName(EventName(t.Kind))
	setTime(lr.SetTimestamp, t.When)
	setTime(lr.SetObservedTimestamp, t.Provenance.ObservedAt)
	setSeverity(lr, severity(t))
	lr.Body().SetStr(body(t))
	b.enc.transition(lr.Attributes(), t)
}

// AppendGap adds the record of g, which was observed at the given time.
func (b *Batch) AppendGap(g *container.Gap, observed time.Time) {
	b.resource(func(m pcommon.Map) {
		m.EnsureCapacity(7)
		b.enc.nodeResource(m)
		putStr(m, AttrRuntimeName, g.Engine)
		putStr(m, AttrRuntimeVersion, g.Version)
		putStr(m, AttrRuntimeConfigured, g.Runtime)
		putOwner(m, g.Owner)
	})
	b.of = nil
	lr := b.append()
	lr.SetEventName(EventObserverGap)
	setTime(lr.SetTimestamp, g.To)
	setTime(lr.SetObservedTimestamp, observed)
	setSeverity(lr, plog.SeverityNumberWarn)
	lr.Body().SetStr(gapBody(g))
	m := lr.Attributes()
	m.EnsureCapacity(10)
	m.PutStr(AttrEventID, GapID(b.enc.Node(), g))
	m.PutInt(AttrEventRevision, 0)
	m.PutStr(AttrSource, container.SourceList.String())
	m.PutStr(AttrPrecision, container.PrecisionWindow.String())
	putTime(m, AttrWindowStart, g.From)
	m.PutBool(AttrMissedUnknown, true)
	putTime(m, AttrGapFrom, g.From)
	putTime(m, AttrGapTo, g.To)
	putStr(m, AttrGapCause, g.Cause)
	if g.Coalesced > 0 {
		m.PutInt(AttrGapFolded, int64(min(g.Coalesced, math.MaxInt64)))
	}
}

// resource begins a ResourceLogs.
func (b *Batch) resource(fill func(pcommon.Map)) {
	rl := b.logs.ResourceLogs().AppendEmpty()
	rl.SetSchemaUrl(SchemaURL)
	fill(rl.Resource().Attributes())
	sl := rl.ScopeLogs().AppendEmpty()
	sl.SetSchemaUrl(SchemaURL)
	sl.Scope().SetName(b.enc.Scope)
	sl.Scope().SetVersion(b.enc.ScopeVersion)
	b.records = sl.LogRecords()
}

func (b *Batch) append() plog.LogRecord {
	b.n++
	return b.records.AppendEmpty()
}

func (e *Encoder) nodeResource(m pcommon.Map) {
	putStr(m, AttrHostName, e.HostName)
	putStr(m, AttrHostID, e.HostID)
	putStr(m, AttrK8sNodeName, e.NodeName)
}

func (e *Encoder) containerResource(m pcommon.Map, c *container.Container, restarts uint32) {
	m.EnsureCapacity(20 + len(c.Labels) + len(c.Annotations))
	e.nodeResource(m)
	putStr(m, AttrContainerID, c.ID)
	putStr(m, AttrContainerName, c.Name)
	putStr(m, AttrRuntimeName, c.Engine)
	putStr(m, AttrRuntimeVersion, c.Version)
	putStr(m, AttrRuntimeConfigured, c.Runtime)
	putOwner(m, c.Owner)
	putImage(m, &c.Image)
	// A user's runtime may name any pod: its containers must not join the life of a real pod's container.
	if c.Pod != (container.Pod{}) && c.Owner == 0 {
		putStr(m, AttrPodName, c.Pod.Name)
		putStr(m, AttrPodUID, c.Pod.UID)
		putStr(m, AttrNamespaceName, c.Pod.Namespace)
		putStr(m, AttrK8sContainerName, c.Name)
		m.PutInt(AttrK8sRestartCount, int64(restarts))
	}
	putTime(m, AttrContainerCreatedAt, c.CreatedAt)
	putStr(m, AttrComposeProject, c.Compose.Project)
	putStr(m, AttrComposeService, c.Compose.Service)
	putStr(m, AttrComposeNumber, c.Compose.Number)
	putStr(m, AttrOSType, c.Platform.OS)
	putStr(m, AttrIsolation, string(c.Platform.Isolation))
	putStr(m, AttrSwarmServiceID, c.Swarm.ServiceID)
	putStr(m, AttrSwarmServiceName, c.Swarm.ServiceName)
	putStr(m, AttrSwarmTaskID, c.Swarm.TaskID)
	putTemplate(m, AttrContainerLabelPrefix, c.Labels)
	putTemplate(m, AttrAnnotationPrefix, c.Annotations)
}

func putOwner(m pcommon.Map, owner uint32) {
	if owner != 0 {
		m.PutInt(AttrRuntimeOwner, int64(owner))
	}
}

func putImage(m pcommon.Map, i *container.Image) {
	name, tag := splitReference(i.Reference)
	putStr(m, AttrImageName, name)
	if tag != "" {
		m.PutEmptySlice(AttrImageTags).AppendEmpty().SetStr(tag)
	}
	putStr(m, AttrImageID, i.ID)
	if len(i.RepoDigests) > 0 {
		s := m.PutEmptySlice(AttrImageRepoDigests)
		s.EnsureCapacity(len(i.RepoDigests))
		for _, d := range i.RepoDigests {
			s.AppendEmpty().SetStr(d)
		}
	}
	putStr(m, AttrManifestDigest, i.ManifestDigest)
	if joinReference(name, tag) != i.Reference {
		putStr(m, AttrImageReference, i.Reference)
	}
}

func (e *Encoder) transition(m pcommon.Map, t *container.Transition) {
	m.EnsureCapacity(20)
	m.PutStr(AttrEventID, EventID(t))
	m.PutInt(AttrEventRevision, int64(t.Revision))
	m.PutStr(AttrContainerState, t.State.String())
	m.PutInt(AttrRestartCount, int64(t.RestartCount))
	e.run(m, t.Container, &t.Run)
	if p := t.Previous; p != nil {
		putStr(m, AttrPreviousID, p.ContainerID)
		if p.ExitKnown {
			m.PutInt(AttrPreviousExitCode, int64(p.ExitCode))
		}
		putStr(m, AttrPreviousReason, p.Reason)
		putTime(m, AttrPreviousFinishedAt, p.FinishedAt)
	}
	if c := t.CrashLoop; c != nil {
		m.PutInt(AttrCrashLoopCount, int64(c.Count))
		m.PutDouble(AttrCrashLoopWindow, c.Window.Seconds())
		m.PutInt(AttrCrashLoopExitCode, int64(c.ExitCode))
		putStr(m, AttrCrashLoopReason, c.Reason)
	}
	putStr(m, AttrHealth, t.Health)
	p := &t.Provenance
	m.PutStr(AttrSource, p.Source.String())
	m.PutStr(AttrPrecision, p.Precision.String())
	if p.Precision == container.PrecisionWindow {
		putTime(m, AttrWindowStart, p.WindowStart)
	}
	if p.MissedUnknown {
		m.PutBool(AttrMissedUnknown, true)
	} else {
		m.PutInt(AttrMissedRuns, int64(p.MissedRuns))
	}
}

func (e *Encoder) run(m pcommon.Map, c *container.Container, r *container.Run) {
	putTime(m, AttrRunStartedAt, r.StartedAt)
	putTime(m, AttrRunFinishedAt, r.FinishedAt)
	if r.PID != 0 && c.Owner == 0 { // a user's runtime may report any process; that of a sample is the container's
		m.PutInt(AttrProcessPID, int64(r.PID))
	}
	if r.ExitKnown {
		m.PutInt(AttrExitCode, int64(r.ExitCode))
		putStr(m, AttrExitSignal, signal.FromExitCode(cmp.Or(c.Platform.OS, e.OS), c.Platform.Arch, r.ExitCode))
	}
	putStr(m, AttrExitReason, r.Reason)
	putStr(m, AttrStopSignal, r.StopSignal)
	if r.OOMKilled {
		m.PutBool(AttrOOMKilled, true)
	}
}

func putStr(m pcommon.Map, key, value string) {
	if value != "" {
		m.PutStr(key, strings.ToValidUTF8(value, "?")) // names of files may be any bytes, and one invalid string has the whole request refused
	}
}

func putTime(m pcommon.Map, key string, at time.Time) {
	if !at.IsZero() {
		m.PutStr(key, at.UTC().Format(time.RFC3339Nano))
	}
}

func putTemplate(m pcommon.Map, prefix string, values map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		m.PutStr(prefix+key, values[key])
	}
}

func setTime(set func(pcommon.Timestamp), at time.Time) {
	if !at.IsZero() {
		set(pcommon.NewTimestampFromTime(at))
	}
}

func setSeverity(lr plog.LogRecord, n plog.SeverityNumber) {
	lr.SetSeverityNumber(n)
	switch n {
	case plog.SeverityNumberError:
		lr.SetSeverityText("ERROR")
	case plog.SeverityNumberWarn:
		lr.SetSeverityText("WARN")
	default:
		lr.SetSeverityText("INFO")
	}
}
