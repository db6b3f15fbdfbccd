// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// what has every field that distinguishes two events.
type what struct {
	engine, container string
	kind              Kind
	ns                int64
	ordinal           uint32
}

func (w *what) id() string {
	return EventID(w.engine, w.container, w.kind, time.Unix(0, w.ns), w.ordinal)
}

func whats() *rapid.Generator[what] {
	// Few values each, so that events are drawn that are nearly equal, or whose parts are equal when joined without a separator.
	part := rapid.SampledFrom([]string{"", "a", "a1", "CONTAINER_STOP"})
	return rapid.Custom(func(t *rapid.T) what {
		return what{
			part.Draw(t, "engine"), part.Draw(t, "container"), rapid.SampledFrom([]Kind{KindStart, KindStop}).Draw(t, "kind"),
			rapid.SampledFrom([]int64{1, 2, 11, 12}).Draw(t, "ns"), rapid.Uint32Range(0, 2).Draw(t, "ordinal"),
		}
	})
}

func TestEventIDsDifferForDifferentEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		byID := map[string]what{}
		for _, w := range rapid.SliceOfN(whats(), 1, 200).Draw(t, "things") {
			id := w.id()
			if other, ok := byID[id]; ok {
				require.Equal(t, other, w, "two things share %s", id)
			}
			byID[id] = w
			require.Equal(t, id, w.id())
		}
	})
}

func TestEventIDNeverChanges(t *testing.T) {
	// Backends remember ids: this value must never change.
	at := time.Date(2026, 11, 22, 18, 6, 32, 123_456_789, time.UTC)
	id := EventID("containerd", "4f1a9c0d", KindStop, at, 0)
	assert.Equal(t, "bc7e990a-2131-5d82-a270-4a8bd40a2b0e", id)
	assert.Equal(t, uuid.Version(5), uuid.MustParse(id).Version())
	assert.Equal(t, id, EventID("containerd", "4f1a9c0d", KindStop, at.In(time.FixedZone("", 3600)), 0))
	assert.NotEqual(t, id, EventID("containerd", "4f1a9c0d", KindStop, at.Add(1), 0))
	assert.Equal(t, EventID("x", "y", KindStop, time.Unix(0, 0), 0), EventID("x", "y", KindStop, time.Time{}, 0))
}

func TestBatchIDDependsOnIDsRevisionsAndOrder(t *testing.T) {
	a := Envelope{Event: Event{EventID: "a"}}
	b := Envelope{Event: Event{EventID: "b"}}
	b1 := Envelope{Event: Event{EventID: "b", Revision: 1}}
	ids := map[string]bool{}
	for _, batch := range [][]Envelope{{a}, {b}, {b1}, {a, b}, {b, a}, {a, b1}} {
		id := BatchID(batch)
		assert.False(t, ids[id])
		ids[id] = true
		assert.Equal(t, id, BatchID(batch))
	}
	keys := AppendBatchKey(AppendBatchKey(nil, "a", 0), "b", 1)
	assert.Equal(t, BatchID([]Envelope{a, b1}), BatchIDOfKeys(keys))
}
