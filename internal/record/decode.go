// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// ErrForeign is the error for a record that is not of this schema: it has no event name of the schema, or no zastava.event.id.
var ErrForeign = errors.New("not a Zastava event record")

// InvalidError is the error for a record of this schema that lacks what an event requires, or contains what the wire format cannot
// express. It never quotes values.
type InvalidError struct {
	EventID   string
	Attribute string // the attribute, record field or event field that is wrong
	Problem   string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("event %s: %s %s", e.EventID, e.Attribute, e.Problem)
}

// Decoder holds what the exporter's configuration adds to every event.
type Decoder struct {
	Tenant  string
	Project string
	// Node is used where a record's resource has neither k8s.node.name nor host.name. If empty, such a record is invalid.
	Node string
	// Annotations are added to every event. They replace annotations of the container that have the same key.
	Annotations map[string]string
}

// Origin is the decoded resource of records: the container they are about, and where it runs. One goroutine may use it at a time.
// The events decoded from it share its memory: each is valid until the next one is decoded, or the next resource is read.
type Origin struct {
	dec         *Decoder
	node        string
	runtime     backendapi.Runtime
	configured  string // the configured name of the observed runtime
	workload    backendapi.Workload
	restarts    uint32
	restartsSet bool
	labels      map[string]string // reused for the next resource
	annotations map[string]string
	resource    resourceDraft
	draft       eventDraft
}

// Origin decodes the resource that a ResourceLogs' records share.
func (d *Decoder) Origin(res pcommon.Resource) *Origin {
	o := new(Origin)
	o.Read(d, res)
	return o
}

// invalid returns an error for the first required part that ev lacks, or else for what the wire format cannot express.
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
