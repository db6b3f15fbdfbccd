// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// FieldError is one fault of an event. Field is the JSON path of the faulty member, for example workload.containerId.
type FieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

func (e *FieldError) Error() string { return e.Field + " " + e.Detail }

// Times outside of these cannot come from a container runtime; they stand for an unset time.
var (
	earliest = time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// PlausibleTime reports whether an event may contain t: from 1971 to the end of 2199.
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

// ValidTenant reports whether tenant has 1 to MaxTenant printable ASCII characters without spaces, which a header value can hold.
func ValidTenant(tenant string) bool {
	return tenant != "" && len(tenant) <= MaxTenant && isGraphic(tenant)
}

// isGraphic reports whether s has only ASCII characters from ! to ~.
func isGraphic(s string) bool {
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' {
			return false
		}
	}
	return true
}

// isContainerURI reports whether s is <engine>://<id> with an engine that is a URI scheme (RFC 3986 section 3.1) in lower case.
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

// IsSHA256 reports whether s is a SHA-256 in the form of the API: 64 lower-case hexadecimal digits.
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

// Validate returns all faults of the event, each as a *FieldError. It has the rules of the schema in docs/api/openapi.yaml, without
// the cost of a schema.
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
	c.workload(e.Workload)
	c.run(e.Run)
	c.previous(e.Previous)
	c.crashLoop(e.CrashLoop)
	c.gap(e.Gap)
	c.process(e.Process)
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

// exact accepts integers that JSON numbers express exactly, up to 2^53 - 1.
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

// PairFits reports whether a label or annotation is within the limits.
func PairFits(key, value string) bool {
	return key != "" && Fits(key, MaxName) && Fits(value, MaxText)
}

// Fits reports whether s has at most most Unicode code points.
func Fits(s string, most int) bool { return len(s) <= most || utf8.RuneCountInString(s) <= most }
