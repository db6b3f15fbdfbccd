// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"cmp"
	"maps"
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/evidence"
)

func sortedReasons(m map[evidence.Reason]int) []evidence.Reason { return slices.Sorted(maps.Keys(m)) }

// IsSampled reports whether a record belongs to a sample. Event refuses such records as foreign: they are converted to facts.
func IsSampled(lr plog.LogRecord) bool { return eventName(lr) == EventProcessSampled }

// Workload returns the container of the origin, in shared memory. Its ContainerID is empty if unknown.
func (o *Origin) Workload() *backendapi.Workload { return &o.workload }

// Subject returns what facts of the origin are about: the image's digest, or else its name as component and its tag or, without
// one, its id as version. The Subject is zero if the image is unknown.
func (o *Origin) Subject() backendapi.Subject {
	w := &o.workload
	if w.ImageDigest != "" {
		return backendapi.Subject{ImageDigest: w.ImageDigest}
	}
	name, tag := splitReference(w.ImageRef)
	s := backendapi.Subject{Component: within(cmp.Or(name, w.ImageRef), backendapi.MaxName), Version: cmp.Or(tag, w.ImageID)}
	if s.Component == "" || s.Version == "" {
		return backendapi.Subject{}
	}
	return s
}

// Facts decodes the facts in a record of a sample and passes each to use, in the order of the record. The fact and its metadata
// are the same memory each time. Errors: ErrForeign, *InvalidError. A file that cannot be converted to a fact is skipped and
// counted, and does not affect the others.
func (o *Origin) Facts(lr plog.LogRecord, use func(*backendapi.Fact)) (skipped int, err error) {
	if !IsSampled(lr) {
		return 0, ErrForeign
	}
	var id string
	var files pcommon.Slice
	var hasFiles bool
	for key, v := range lr.Attributes().All() {
		switch key {
		case AttrEventID:
			id = text(v)
		case AttrSampleFiles:
			if hasFiles = v.Type() == pcommon.ValueTypeSlice; hasFiles {
				files = v.Slice()
			}
		}
	}
	switch {
	case id == "":
		return 0, ErrForeign
	case o.workload.ContainerID == "":
		return 0, &InvalidError{id, AttrContainerID, "is absent; a processor of the pipeline may have removed it"}
	case !hasFiles:
		return 0, nil
	}
	r := fileReader{container: within(o.workload.ContainerID, backendapi.MaxName), metadata: make(map[string]string, 12), use: use}
	at := lr.Timestamp().AsTime()
	if !backendapi.PlausibleTime(at) {
		at = lr.ObservedTimestamp().AsTime()
	}
	if backendapi.PlausibleTime(at) {
		r.at = &at
	}
	for _, v := range files.All() {
		if v.Type() != pcommon.ValueTypeMap || !r.read(v.Map()) {
			skipped++
		}
	}
	return skipped, nil
}
