// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"strconv"
	"time"
)

// The methods below append the RFC 8785 bytes of a value, so that equal values have equal bytes whoever encodes them. They append
// members in the order of their names. Encoding by a library and canonicalizing the result takes several times as long, and the
// exporter encodes every event (docs/decisions/0007-canonical-json.md). A test compares them with the library.
//
// They never fail: a value that Validate refuses may become JSON that the backend refuses as well.

// AppendCanonical appends the batch.
func (b *Batch) AppendCanonical(dst []byte) []byte {
	dst = AppendBatchHead(dst, b.BatchID)
	for i := range b.Events {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = b.Events[i].AppendCanonical(dst)
	}
	return append(dst, BatchTail...)
}

// AppendBatchHead appends the part before the first envelope of a batch. A caller that has the bytes of the envelopes already
// appends them, separated by commas, and then BatchTail.
func AppendBatchHead(dst []byte, batchID string) []byte {
	dst = append(dst, `{"batchId":`...)
	dst = appendString(dst, batchID)
	return append(dst, `,"events":[`...)
}

// BatchTail is the part after the last envelope of a batch.
const BatchTail = `]}`

// AppendCanonical appends the envelope.
func (e *Envelope) AppendCanonical(dst []byte) []byte {
	return appendEnvelope(dst, &e.Event, e.SchemaVersion)
}

// AppendEnvelope appends the envelope of e under SchemaVersion.
func AppendEnvelope(dst []byte, e *Event) []byte {
	return appendEnvelope(dst, e, SchemaVersion)
}

func appendEnvelope(dst []byte, e *Event, schemaVersion string) []byte {
	dst = append(dst, `{"event":`...)
	dst = e.AppendCanonical(dst)
	dst = append(dst, `,"schemaVersion":`...)
	dst = appendString(dst, schemaVersion)
	return append(dst, '}')
}

// AppendCanonical appends the event.
func (e *Event) AppendCanonical(dst []byte) []byte {
	o := object(dst)
	o.pairs(`"annotations":`, e.Annotations)
	if e.CrashLoop != nil {
		o.key(`"crashLoop":`)
		o = e.CrashLoop.append(o)
	}
	o.text(`"eventId":`, e.EventID)
	if len(e.Evidence) > 0 {
		o.key(`"evidence":`)
		o = appendList(o, e.Evidence, (*Evidence).append)
	}
	if e.Gap != nil {
		o.key(`"gap":`)
		o = e.Gap.append(o)
	}
	o.text(`"kind":`, string(e.Kind))
	if len(e.LoadedLibs) > 0 {
		o.key(`"loadedLibs":`)
		o = appendList(o, e.LoadedLibs, (*LoadedLib).append)
	}
	o.text(`"node":`, e.Node)
	o.key(`"observation":`)
	o = e.Observation.append(o)
	if e.Previous != nil {
		o.key(`"previous":`)
		o = e.Previous.append(o)
	}
	if e.Process != nil {
		o.key(`"process":`)
		o = e.Process.append(o)
	}
	o.optional(`"project":`, e.Project)
	o.number(`"revision":`, uint64(e.Revision))
	if e.Run != nil {
		o.key(`"run":`)
		o = e.Run.append(o)
	}
	o.key(`"runtime":`)
	o = e.Runtime.append(o)
	o.text(`"tenant":`, e.Tenant)
	o.time(`"when":`, e.When)
	if e.Workload != nil {
		o.key(`"workload":`)
		o = e.Workload.append(o)
	}
	return o.end()
}

func (c *CrashLoop) append(dst writer) writer {
	o := object(dst)
	o.number(`"count":`, uint64(c.Count))
	o.maybeNumber(`"exitCode":`, c.ExitCode)
	o.optional(`"reason":`, c.Reason)
	o.key(`"windowSeconds":`)
	o = appendFloat(o, c.WindowSeconds)
	return o.end()
}

func (e *Evidence) append(dst writer) writer {
	o := object(dst)
	o.text(`"signal":`, e.Signal)
	o.text(`"value":`, e.Value)
	return o.end()
}

func (g *Gap) append(dst writer) writer {
	o := object(dst)
	o.text(`"cause":`, g.Cause)
	if g.Folded != 0 {
		o.number(`"folded":`, g.Folded)
	}
	o.time(`"from":`, g.From)
	o.optional(`"runtime":`, g.Runtime)
	o.time(`"to":`, g.To)
	return o.end()
}

func (l *LoadedLib) append(dst writer) writer {
	o := object(dst)
	o.optional(`"buildId":`, l.BuildID)
	o.text(`"path":`, l.Path)
	o.optional(`"sha256":`, l.SHA256)
	if l.Size != 0 {
		o.number(`"size":`, l.Size)
	}
	return o.end()
}

func (ob *Observation) append(dst writer) writer {
	o := object(dst)
	o.maybeNumber(`"missedRuns":`, ob.MissedRuns)
	o.flag(`"missedUnknown":`, ob.MissedUnknown)
	o.maybeTime(`"observedAt":`, ob.ObservedAt)
	o.optional(`"precision":`, ob.Precision)
	o.text(`"source":`, ob.Source)
	o.maybeTime(`"windowStart":`, ob.WindowStart)
	return o.end()
}

func (p *Previous) append(dst writer) writer {
	o := object(dst)
	o.optional(`"containerId":`, p.ContainerID)
	o.maybeNumber(`"exitCode":`, p.ExitCode)
	o.maybeTime(`"finishedAt":`, p.FinishedAt)
	o.optional(`"reason":`, p.Reason)
	return o.end()
}

func (p *Process) append(dst writer) writer {
	o := object(dst)
	o.optional(`"buildId":`, p.BuildID)
	if len(p.Entrypoint) > 0 {
		o.key(`"entrypoint":`)
		o = append(o, '[')
		for i, arg := range p.Entrypoint {
			if i > 0 {
				o = append(o, ',')
			}
			o = appendString(o, arg)
		}
		o = append(o, ']')
	}
	o.optional(`"executable":`, p.Executable)
	if p.PID != 0 {
		o.number(`"pid":`, uint64(p.PID))
	}
	return o.end()
}

func (r *Run) append(dst writer) writer {
	o := object(dst)
	o.maybeNumber(`"exitCode":`, r.ExitCode)
	o.maybeTime(`"finishedAt":`, r.FinishedAt)
	o.flag(`"oomKilled":`, r.OOMKilled)
	o.optional(`"reason":`, r.Reason)
	o.maybeNumber(`"restartCount":`, r.RestartCount)
	o.optional(`"signal":`, r.Signal)
	o.maybeTime(`"startedAt":`, r.StartedAt)
	return o.end()
}

func (r *Runtime) append(dst writer) writer {
	o := object(dst)
	o.text(`"engine":`, r.Engine)
	o.optional(`"version":`, r.Version)
	return o.end()
}

func (w *Workload) append(dst writer) writer {
	o := object(dst)
	o.optional(`"container":`, w.Container)
	o.text(`"containerId":`, w.ContainerID)
	o.optional(`"imageDigest":`, w.ImageDigest)
	o.optional(`"imageId":`, w.ImageID)
	o.optional(`"imageRef":`, w.ImageRef)
	o.pairs(`"labels":`, w.Labels)
	o.optional(`"namespace":`, w.Namespace)
	if w.Owner != nil {
		o.key(`"owner":`)
		owner := object(o)
		owner.text(`"kind":`, w.Owner.Kind)
		owner.text(`"name":`, w.Owner.Name)
		o = owner.end()
	}
	o.optional(`"platform":`, w.Platform)
	o.optional(`"pod":`, w.Pod)
	o.optional(`"podUid":`, w.PodUID)
	return o.end()
}

// writer is JSON that is being appended. Its callers append members in the order of their names.
type writer []byte

func object(dst []byte) writer { return append(dst, '{') }

func (w writer) end() writer { return append(w, '}') }

// key appends a member's name, which includes its quotes and colon. Only the first member needs no comma before it.
func (w *writer) key(name string) {
	b := *w
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, name...)
	*w = b
}

func (w *writer) text(name, value string) {
	w.key(name)
	*w = appendString(*w, value)
}

func (w *writer) optional(name, value string) {
	if value != "" {
		w.text(name, value)
	}
}

func (w *writer) flag(name string, value bool) {
	if value {
		w.key(name)
		*w = append(*w, "true"...)
	}
}

func (w *writer) number(name string, value uint64) {
	w.key(name)
	if value > 1<<53 { // RFC 8785 writes larger numbers as float64
		*w = appendFloat(*w, float64(value))
		return
	}
	*w = strconv.AppendUint(*w, value, 10)
}

func (w *writer) maybeNumber(name string, value *uint32) {
	if value != nil {
		w.number(name, uint64(*value))
	}
}

func (w *writer) time(name string, value time.Time) {
	w.key(name)
	*w = append(*w, '"')
	*w = value.UTC().AppendFormat(*w, time.RFC3339Nano)
	*w = append(*w, '"')
}

func (w *writer) maybeTime(name string, value *time.Time) {
	if value != nil {
		w.time(name, *value)
	}
}

func (w *writer) pairs(name string, pairs map[string]string) {
	if len(pairs) > 0 {
		w.key(name)
		*w = appendPairs(*w, pairs)
	}
}

func appendList[T any](w writer, list []T, one func(*T, writer) writer) writer {
	w = append(w, '[')
	for i := range list {
		if i > 0 {
			w = append(w, ',')
		}
		w = one(&list[i], w)
	}
	return append(w, ']')
}
