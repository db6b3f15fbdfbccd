// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"strconv"
	"time"

	"github.com/google/uuid"
)

// namespace is the fixed UUID v5 namespace of all our ids.
var namespace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/zastava-otel/zastava"))

// EventID derives the id of an event from what happened: the engine, the bare container id, the kind, the moment that
// identifies it (start of the run, or creation; zero counts as 0 ns) and, from the second on, its ordinal within the run.
// It does not depend on the observer or the time of observation, so every observation of one event has one id. A gap has no
// container; record.GapID replaces its id. Engine and container id must not contain NUL, which separates the parts; the ids of
// runtimes never do.
func EventID(engine, containerID string, kind Kind, key time.Time, ordinal uint32) string {
	name := make([]byte, 0, len(engine)+len(containerID)+len(kind)+48)
	name = append(name, engine...)
	name = append(name, 0)
	name = append(name, containerID...)
	name = append(name, 0)
	name = append(name, kind...)
	name = append(name, 0)
	var ns int64
	if !key.IsZero() {
		ns = key.UnixNano()
	}
	name = strconv.AppendInt(name, ns, 10)
	if ordinal > 0 {
		name = append(name, 0)
		name = strconv.AppendUint(name, uint64(ordinal), 10)
	}
	return uuid.NewSHA1(namespace, name).String()
}

// BatchID derives the id of a batch from the ids and revisions of its events, in order: a retried batch keeps its id.
func BatchID(events []Envelope) string {
	name := make([]byte, 0, len(events)*40)
	for i := range events {
		name = AppendBatchKey(name, events[i].Event.EventID, events[i].Event.Revision)
	}
	return BatchIDOfKeys(name)
}

// AppendBatchKey appends what an event contributes to its batch's id.
func AppendBatchKey(dst []byte, eventID string, revision uint32) []byte {
	dst = append(dst, eventID...)
	dst = append(dst, 0)
	dst = strconv.AppendUint(dst, uint64(revision), 10)
	return append(dst, 0)
}

// BatchIDOfKeys is BatchID for a caller that has the keys of the events, appended in order, but not the events.
func BatchIDOfKeys(keys []byte) string {
	return uuid.NewSHA1(namespace, keys).String()
}
