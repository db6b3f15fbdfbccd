// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// FieldError is one thing wrong with an event. Field is its JSON path, for example workload.containerId.
type FieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

func (e *FieldError) Error() string { return e.Field + " " + e.Detail }

// Times outside of these cannot come from a container runtime; they are some spelling of "not set".
var (
	earliest = time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// PlausibleTime tells whether an event may carry t: from 1971 up to and without 2200.
func PlausibleTime(t time.Time) bool { return !t.Before(earliest) && t.Before(latest) }

// Kinds lists the kinds in the order of their declaration.
func Kinds() []Kind {
	return []Kind{
		KindCreate, KindStart, KindRestart, KindStop, KindPause, KindUnpause, KindRemove, KindOOM, KindHealth,
		KindCrashLoop, KindCrashLoopEnd, KindObserverGap,
	}
}

func (k Kind) known() bool {
	switch k {
	case KindCreate, KindStart, KindRestart, KindStop, KindPause, KindUnpause, KindRemove, KindOOM, KindHealth,
		KindCrashLoop, KindCrashLoopEnd, KindObserverGap:
		return true
	}
	return false
}

// Sources and Precisions are the values of Observation.Source and Observation.Precision.
var (
	Sources    = []string{"stream", "list", "checkpoint", "inventory"}
	Precisions = []string{"exact", "window"}
)

// ValidTenant tells whether a tenant may be sent: 1 to MaxTenant printable ASCII characters without spaces, as a header
// value can carry them.
func ValidTenant(tenant string) bool {
	return tenant != "" && len(tenant) <= MaxTenant && isGraphic(tenant)
}

// isGraphic: ASCII from ! to ~ only.
func isGraphic(s string) bool {
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' {
			return false
		}
	}
	return true
}

// isContainerURI: <engine>://<id>, the engine spelt like a URI scheme (RFC 3986 section 3.1) in lower case.
func isContainerURI(s string) bool {
	engine, id, ok := strings.Cut(s, "://")
	if !ok || engine == "" || id == "" || engine[0] < 'a' || engine[0] > 'z' {
		return false
	}
	for _, c := range []byte(engine) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '+' && c != '.' && c != '-' {
			return false
		}
	}
	return isGraphic(id)
}

// IsSHA256 tells whether s is a SHA-256 as the API spells it: 64 lower-case hexadecimal digits.
func IsSHA256(s string) bool { return isLowerHex(s, 64) }

func isLowerHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isUUID(s string) bool {
	return len(s) == 36 && uuid.Validate(s) == nil
}

// Validate tells everything that keeps the event from being accepted, each as a *FieldError. It says what the schema in
// docs/api/openapi.yaml says, without the cost of a schema.
func (e *Event) Validate() error {
	var c check
	c.form("eventId", e.EventID, isUUID, "must be a UUID")
	c.time("when", e.When)
	if !e.Kind.known() {
		c.fault("kind", fmt.Sprintf("must be one of %v", Kinds()))
	}
	c.form("tenant", e.Tenant, ValidTenant, "must have 1 to 128 characters of printable ASCII without spaces")
	c.length("project", e.Project, MaxName)
	c.required("node", e.Node, MaxName)
	c.required("runtime.engine", e.Runtime.Engine, MaxEngine)
	c.length("runtime.version", e.Runtime.Version, MaxName)
	c.pairs("annotations", e.Annotations)
	c.observation(&e.Observation)
	switch {
	case e.Kind == KindObserverGap && e.Gap == nil:
		c.fault("gap", "is required for "+string(e.Kind))
	case e.Kind != KindObserverGap && e.Workload == nil:
		c.fault("workload", "is required for "+string(e.Kind))
	}
	if e.Workload != nil {
		c.workload(e.Workload)
	}
	if e.Run != nil {
		c.maybeTime("run.startedAt", e.Run.StartedAt)
		c.maybeTime("run.finishedAt", e.Run.FinishedAt)
		c.length("run.signal", e.Run.Signal, MaxName)
		c.length("run.reason", e.Run.Reason, MaxText)
	}
	if e.Previous != nil {
		c.length("previous.containerId", e.Previous.ContainerID, MaxName)
		c.length("previous.reason", e.Previous.Reason, MaxText)
		c.maybeTime("previous.finishedAt", e.Previous.FinishedAt)
	}
	if l := e.CrashLoop; l != nil {
		c.length("crashLoop.reason", l.Reason, MaxText)
		if math.IsNaN(l.WindowSeconds) || math.IsInf(l.WindowSeconds, 0) || l.WindowSeconds < 0 {
			c.fault("crashLoop.windowSeconds", "must be a number that is not negative")
		}
	}
	if g := e.Gap; g != nil {
		c.length("gap.runtime", g.Runtime, MaxName)
		c.required("gap.cause", g.Cause, MaxName)
		c.time("gap.from", g.From)
		c.time("gap.to", g.To)
		c.exact("gap.folded", g.Folded)
	}
	if e.Process != nil {
		c.process(e.Process)
	}
	for i := range e.LoadedLibs {
		c.loadedLib("loadedLibs["+strconv.Itoa(i)+"].", &e.LoadedLibs[i])
	}
	for i := range e.Evidence {
		at := "evidence[" + strconv.Itoa(i) + "]."
		c.required(at+"signal", e.Evidence[i].Signal, MaxName)
		c.length(at+"value", e.Evidence[i].Value, MaxText)
	}
	return c.err()
}

// check collects faults.
type check struct{ faults []error }

func (c *check) err() error { return errors.Join(c.faults...) }

func (c *check) fault(field, detail string) {
	c.faults = append(c.faults, &FieldError{Field: field, Detail: detail})
}

func (c *check) length(field, value string, most int) {
	if !Fits(value, most) {
		c.fault(field, fmt.Sprintf("must have at most %d characters", most))
	}
}

func (c *check) required(field, value string, most int) {
	if value == "" {
		c.fault(field, "is required")
	}
	c.length(field, value, most)
}

func (c *check) form(field, value string, ok func(string) bool, detail string) {
	switch {
	case value == "":
		c.fault(field, "is required")
	case !ok(value):
		c.fault(field, detail)
	}
}

func (c *check) time(field string, value time.Time) {
	if value.IsZero() {
		c.fault(field, "is required")
	} else if !PlausibleTime(value) {
		c.fault(field, "must be from 1971 to 2199")
	}
}

func (c *check) maybeTime(field string, value *time.Time) {
	if value != nil && !PlausibleTime(*value) {
		c.fault(field, "must be from 1971 to 2199, or absent")
	}
}

// exact: a JSON number is exact up to 2^53 - 1.
func (c *check) exact(field string, value uint64) {
	if value > 1<<53-1 {
		c.fault(field, "must be at most 9007199254740991")
	}
}

func (c *check) pairs(field string, pairs map[string]string) {
	if len(pairs) > MaxPairs {
		c.fault(field, fmt.Sprintf("must have at most %d entries", MaxPairs))
	}
	for k, v := range pairs {
		if !PairFits(k, v) {
			c.fault(field, fmt.Sprintf("must have keys of 1 to %d and values of at most %d characters", MaxName, MaxText))
			return
		}
	}
}

// PairFits tells whether a label or annotation is within the limits.
func PairFits(key, value string) bool {
	return key != "" && Fits(key, MaxName) && Fits(value, MaxText)
}

// Fits tells whether s has at most so many Unicode code points.
func Fits(s string, most int) bool { return len(s) <= most || utf8.RuneCountInString(s) <= most }

func (c *check) observation(o *Observation) {
	if !slices.Contains(Sources, o.Source) {
		c.fault("observation.source", fmt.Sprintf("must be one of %v", Sources))
	}
	if o.Precision != "" && !slices.Contains(Precisions, o.Precision) {
		c.fault("observation.precision", fmt.Sprintf("must be one of %v, or absent", Precisions))
	}
	c.maybeTime("observation.windowStart", o.WindowStart)
	c.maybeTime("observation.observedAt", o.ObservedAt)
}

func (c *check) workload(w *Workload) {
	c.form("workload.containerId", w.ContainerID, isContainerURI, "must be <engine>://<id>")
	c.length("workload.containerId", w.ContainerID, MaxName)
	c.length("workload.imageRef", w.ImageRef, MaxText)
	for _, f := range [...]struct{ field, value string }{
		{"workload.platform", w.Platform},
		{"workload.namespace", w.Namespace},
		{"workload.pod", w.Pod},
		{"workload.podUid", w.PodUID},
		{"workload.container", w.Container},
		{"workload.imageDigest", w.ImageDigest},
		{"workload.imageId", w.ImageID},
	} {
		c.length(f.field, f.value, MaxName)
	}
	if w.Owner != nil {
		c.required("workload.owner.kind", w.Owner.Kind, MaxName)
		c.required("workload.owner.name", w.Owner.Name, MaxName)
	}
	c.pairs("workload.labels", w.Labels)
}

func (c *check) process(p *Process) {
	c.length("process.executable", p.Executable, MaxText)
	c.length("process.buildId", p.BuildID, MaxName)
	for i, arg := range p.Entrypoint {
		c.length("process.entrypoint["+strconv.Itoa(i)+"]", arg, MaxArgument)
	}
}

func (c *check) loadedLib(at string, l *LoadedLib) {
	c.required(at+"path", l.Path, MaxText)
	c.length(at+"buildId", l.BuildID, MaxName)
	if l.SHA256 != "" && !isLowerHex(l.SHA256, 64) {
		c.fault(at+"sha256", "must be 64 lower-case hexadecimal digits")
	}
	c.exact(at+"size", l.Size)
}
