// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package backendapi is the wire format of the backend API (docs/api/openapi.yaml): the types of runtime events and facts, their
// ids and their canonical bytes. The exporter and the reference backend both use it.
//
// Absent means unknown: no nulls, no empty strings, no zero times. Times are RFC 3339 in UTC with up to nanoseconds.
//
// The fields of every type are in the order of RFC 8785, so that encoding/json writes them in the canonical order too.
package backendapi

import "time"

// SchemaVersion names the event schema that Envelope carries.
const SchemaVersion = "zastava.runtime.event@v1.0"

// Default limits of a batch (docs/api/openapi.yaml).
const (
	MaxEventsPerBatch = 256
	MaxBatchBytes     = 1 << 20 // uncompressed JSON
)

// Limits of an event's fields, in Unicode code points as JSON Schema counts (docs/api/openapi.yaml).
const (
	MaxEngine   = 64
	MaxTenant   = 128
	MaxName     = 512  // node, namespace, pod, digests, keys of labels and annotations …
	MaxText     = 4096 // image references, reasons, paths, values of labels, annotations and evidence
	MaxArgument = 65536
	MaxPairs    = 256 // entries of labels, and of annotations
)

// Header names of the API. The tenant header is configurable; this is its default.
const (
	HeaderTenant         = "X-StellaOps-Tenant"
	HeaderIdempotencyKey = "Idempotency-Key"
	EventsPath           = "/api/v1/runtime/events"
)

// Kind is the kind of an event.
type Kind string

// The kinds.
const (
	KindCreate       Kind = "CONTAINER_CREATE"
	KindStart        Kind = "CONTAINER_START"
	KindRestart      Kind = "CONTAINER_RESTART"
	KindStop         Kind = "CONTAINER_STOP"
	KindPause        Kind = "CONTAINER_PAUSE"
	KindUnpause      Kind = "CONTAINER_UNPAUSE"
	KindRemove       Kind = "CONTAINER_REMOVE"
	KindOOM          Kind = "CONTAINER_OOM"
	KindHealth       Kind = "CONTAINER_HEALTH"
	KindCrashLoop    Kind = "CRASH_LOOP"
	KindCrashLoopEnd Kind = "CRASH_LOOP_END"
	KindObserverGap  Kind = "OBSERVER_GAP"
)

// Batch is the body of POST EventsPath.
type Batch struct {
	BatchID string     `json:"batchId"`
	Events  []Envelope `json:"events"`
}

// Envelope carries one event and the schema it follows.
type Envelope struct {
	Event         Event  `json:"event"`
	SchemaVersion string `json:"schemaVersion"`
}

// Event is one runtime event. EventID, When, Kind, Tenant, Node, Runtime.Engine, Observation.Source and, except for
// KindObserverGap, Workload.ContainerID are required. It has more fields than other types, because the fields are the members of
// the document.
type Event struct {
	Annotations map[string]string `json:"annotations,omitempty"`
	CrashLoop   *CrashLoop        `json:"crashLoop,omitempty"`
	EventID     string            `json:"eventId"`
	Evidence    []Evidence        `json:"evidence,omitempty"`
	Gap         *Gap              `json:"gap,omitempty"`
	Kind        Kind              `json:"kind"`
	LoadedLibs  []LoadedLib       `json:"loadedLibs,omitempty"`
	Node        string            `json:"node"`
	Observation Observation       `json:"observation"`
	Previous    *Previous         `json:"previous,omitempty"`
	Process     *Process          `json:"process,omitempty"`
	Project     string            `json:"project,omitempty"`
	Revision    uint32            `json:"revision"`
	Run         *Run              `json:"run,omitempty"`
	Runtime     Runtime           `json:"runtime"`
	Tenant      string            `json:"tenant"`
	When        time.Time         `json:"when"`
	Workload    *Workload         `json:"workload,omitempty"`
}

// Runtime is the container runtime that the event comes from.
type Runtime struct {
	Engine  string `json:"engine"`
	Version string `json:"version,omitempty"`
}

// PlatformKubernetes is Workload.Platform of a container that belongs to a pod.
const PlatformKubernetes = "kubernetes"

// Workload is the container and its place. ContainerID is "<engine>://<id>".
type Workload struct {
	Container   string            `json:"container,omitempty"`
	ContainerID string            `json:"containerId"`
	ImageDigest string            `json:"imageDigest,omitempty"`
	ImageID     string            `json:"imageId,omitempty"`
	ImageRef    string            `json:"imageRef,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Namespace   string            `json:"namespace,omitempty"`
	Owner       *Owner            `json:"owner,omitempty"`
	Platform    string            `json:"platform,omitempty"` // PlatformKubernetes, or absent
	Pod         string            `json:"pod,omitempty"`
	PodUID      string            `json:"podUid,omitempty"`
}

// Owner is the Kubernetes object that made the pod, if a processor of the pipeline added it.
type Owner struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// Run is the life of the main process that the event belongs to. ExitCode is absent while the process lives and if it is unknown.
type Run struct {
	ExitCode     *uint32    `json:"exitCode,omitempty"`
	FinishedAt   *time.Time `json:"finishedAt,omitempty"`
	OOMKilled    bool       `json:"oomKilled,omitempty"`
	Reason       string     `json:"reason,omitempty"`
	RestartCount *uint32    `json:"restartCount,omitempty"`
	Signal       string     `json:"signal,omitempty"` // SIGKILL …, if the exit code shows one
	StartedAt    *time.Time `json:"startedAt,omitempty"`
}

// Previous is the run before a restart.
type Previous struct {
	ContainerID string     `json:"containerId,omitempty"`
	ExitCode    *uint32    `json:"exitCode,omitempty"`
	FinishedAt  *time.Time `json:"finishedAt,omitempty"`
	Reason      string     `json:"reason,omitempty"`
}

// CrashLoop summarizes the repeated failures of KindCrashLoop and KindCrashLoopEnd.
type CrashLoop struct {
	Count         uint32  `json:"count"`
	ExitCode      *uint32 `json:"exitCode,omitempty"` // the most frequent one
	Reason        string  `json:"reason,omitempty"`
	WindowSeconds float64 `json:"windowSeconds"`
}

// Gap is the period of KindObserverGap in which the observer could not observe a runtime.
type Gap struct {
	Cause   string    `json:"cause"`
	Folded  uint64    `json:"folded,omitempty"` // transitions that were coalesced into later ones
	From    time.Time `json:"from"`
	Runtime string    `json:"runtime,omitempty"` // its configured name
	To      time.Time `json:"to"`
}

// Process is the main process of the container.
type Process struct {
	BuildID    string   `json:"buildId,omitempty"`
	Entrypoint []string `json:"entrypoint,omitempty"` // redacted
	Executable string   `json:"executable,omitempty"`
	PID        uint32   `json:"pid,omitempty"`
}

// LoadedLib is a file that a process of the container has mapped executable.
type LoadedLib struct {
	BuildID string `json:"buildId,omitempty"`
	Path    string `json:"path"`
	SHA256  string `json:"sha256,omitempty"`
	Size    uint64 `json:"size,omitempty"`
}

// Observation is the provenance of the event.
type Observation struct {
	MissedRuns    *uint32    `json:"missedRuns,omitempty"` // absent when MissedUnknown
	MissedUnknown bool       `json:"missedUnknown,omitempty"`
	ObservedAt    *time.Time `json:"observedAt,omitempty"`
	Precision     string     `json:"precision,omitempty"` // exact, window
	Source        string     `json:"source"`              // stream, list, checkpoint, inventory
	WindowStart   *time.Time `json:"windowStart,omitempty"`
}

// Evidence is one signal that supports the event, for example {"cri.container.status", "OOMKilled"}.
type Evidence struct {
	Signal string `json:"signal"`
	Value  string `json:"value"`
}

// IngestResponse is the body of a 202 answer. Accepted + Duplicates + len(Rejected) is the size of the batch.
type IngestResponse struct {
	Accepted   int        `json:"accepted"`
	Duplicates int        `json:"duplicates"`
	Rejected   []Rejected `json:"rejected,omitempty"`
}

// Rejected is an event that the backend will never accept.
type Rejected struct {
	EventID string `json:"eventId"`
	Code    string `json:"code"`
	Detail  string `json:"detail,omitempty"`
}
