// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/gowebpki/jcs"
)

// namespace is the fixed UUID v5 namespace of all our ids.
var namespace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/zastava-otel/zastava"))

// EventID derives the id of an event from what happened: the engine, the bare container id, the kind, the moment that
// identifies it (start of the run, or creation; zero counts as 0 ns) and, from the second on, its ordinal within the run.
// Who saw it and when plays no part, so every sight of one thing has one id. A gap has no container: its container id is
// "node/runtime".
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
		name = append(name, events[i].Event.EventID...)
		name = append(name, 0)
		name = strconv.AppendUint(name, uint64(events[i].Event.Revision), 10)
		name = append(name, 0)
	}
	return uuid.NewSHA1(namespace, name).String()
}

// Canonical gives the RFC 8785 bytes of v, so that hashes over them do not depend on who wrote them.
func Canonical(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	out, err := jcs.Transform(raw)
	if err != nil {
		return nil, fmt.Errorf("canonicalise %T: %w", v, err)
	}
	return out, nil
}
