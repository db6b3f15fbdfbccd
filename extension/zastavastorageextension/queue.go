// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavastorageextension

import (
	"slices"
	"strconv"

	"github.com/zastava-otel/zastava/extension/zastavastorageextension/internal/journal"
	"github.com/zastava-otel/zastava/internal/queuestate"
)

// isQueueState reports whether key is the queue's own state. Its last value may be lost: with an older one, items are sent again, or
// items that no longer exist are read.
func isQueueState(key string) bool { return key == queuestate.Key }

// moveItems appends the items of one queue to another one that is not running. If a crash repeats it, items are delivered twice,
// which receivers must handle anyway.
func moveItems(into, from *journal.Journal) (moved int, err error) {
	var numbers []uint64
	for _, key := range from.Keys() {
		if n, err := strconv.ParseUint(key, 10, 64); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	raw, err := into.Get(queuestate.Key)
	if err != nil {
		return 0, err
	}
	state, err := queuestate.Parse(raw)
	if err != nil {
		return 0, err
	}
	theirs, err := from.Get(queuestate.Key)
	if err != nil {
		return 0, err
	}
	// Add the sizes once: only the queue knows the size of each item.
	if sizes, err := queuestate.Parse(theirs); err == nil {
		state.Items, state.Bytes = state.Items+sizes.Items, state.Bytes+sizes.Bytes
	}
	for _, n := range numbers {
		item, err := from.Get(strconv.FormatUint(n, 10))
		if err != nil {
			return moved, err
		}
		if item == nil {
			continue // damaged; the journal counts it
		}
		key := strconv.FormatUint(state.WriteIndex, 10)
		state.WriteIndex++
		if raw, err = queuestate.Append(raw, state); err != nil {
			return moved, err
		}
		if err := into.Batch(journal.Change{Key: key, Value: item}, journal.Change{Key: queuestate.Key, Value: raw}); err != nil {
			return moved, err
		}
		moved++
	}
	return moved, nil
}
