// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavastorageextension

import (
	"encoding/binary"
	"errors"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/zastava-otel/zastava/internal/journal"
)

// queueStateKey is where exporterhelper's persistent queue keeps what it knows of itself (persistent_queue.go, meta.proto):
// sizes, the first and the next number of an item, and the numbers of those that are being sent. Items have their number as
// key. The last of these states may be lost: an older one only has items sent again, or looked for that are gone.
const queueStateKey = "qmv0"

// The fields of the state; each is a fixed64.
const (
	fieldItemsSize = 1 + iota
	fieldBytesSize
	fieldReadIndex
	fieldWriteIndex
	fieldDispatched // repeated
)

func queueState(key string) bool { return key == queueStateKey }

var errState = errors.New("the queue's own record cannot be read")

// parseState gives the single fields.
func parseState(raw []byte) (map[protowire.Number]uint64, error) {
	out := map[protowire.Number]uint64{}
	for len(raw) > 0 {
		field, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return nil, errState
		}
		raw = raw[n:]
		if kind == protowire.Fixed64Type && field < fieldDispatched {
			value, n := protowire.ConsumeFixed64(raw)
			if n < 0 {
				return nil, errState
			}
			out[field], raw = value, raw[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(field, kind, raw); n < 0 {
			return nil, errState
		}
		raw = raw[n:]
	}
	return out, nil
}

// moveItems puts the items of one queue behind those of another that is not running. Done twice, items are there twice, which
// their receiver has to know anyway.
func moveItems(into, from *journal.Journal) (moved int, err error) {
	var numbers []uint64
	for _, key := range from.Keys() {
		if n, err := strconv.ParseUint(key, 10, 64); err == nil {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) == 0 {
		return 0, nil
	}
	slices.Sort(numbers)
	raw, err := into.Get(queueStateKey)
	if err != nil {
		return 0, err
	}
	if _, err := parseState(raw); err != nil {
		return 0, err
	}
	theirs, err := from.Get(queueStateKey)
	if err != nil {
		return 0, err
	}
	sizes, err := parseState(theirs)
	if err != nil {
		return 0, err
	}
	for _, n := range numbers {
		item, err := from.Get(strconv.FormatUint(n, 10))
		if err != nil {
			return moved, err
		}
		if item == nil {
			continue // damaged, and counted
		}
		state, err := parseState(raw)
		if err != nil {
			return moved, err
		}
		add := [][2]uint64{{fieldWriteIndex, state[fieldWriteIndex] + 1}}
		if moved == 0 { // the sizes at once: what each item adds only the queue can tell
			add = append(add, [2]uint64{fieldItemsSize, state[fieldItemsSize] + sizes[fieldItemsSize]},
				[2]uint64{fieldBytesSize, state[fieldBytesSize] + sizes[fieldBytesSize]})
		}
		for _, f := range add { // the last value of a field counts
			raw = protowire.AppendTag(raw, protowire.Number(f[0]), protowire.Fixed64Type)
			raw = binary.LittleEndian.AppendUint64(raw, f[1])
		}
		if raw, err = compactState(raw); err != nil {
			return moved, err
		}
		err = into.Batch(journal.Change{Key: strconv.FormatUint(state[fieldWriteIndex], 10), Value: item},
			journal.Change{Key: queueStateKey, Value: raw})
		if err != nil {
			return moved, err
		}
		moved++
	}
	return moved, nil
}

// compactState leaves out the values of a field that a later one replaced.
func compactState(raw []byte) ([]byte, error) {
	state, err := parseState(raw)
	if err != nil {
		return nil, err
	}
	var out []byte
	for field := protowire.Number(fieldItemsSize); field < fieldDispatched; field++ {
		out = protowire.AppendTag(out, field, protowire.Fixed64Type)
		out = binary.LittleEndian.AppendUint64(out, state[field])
	}
	for len(raw) > 0 { // the rest as it is
		field, kind, n := protowire.ConsumeTag(raw)
		size := protowire.ConsumeFieldValue(field, kind, raw[n:])
		if size < 0 {
			return nil, errState
		}
		if field >= fieldDispatched {
			out = append(out, raw[:n+size]...)
		}
		raw = raw[n+size:]
	}
	return out, nil
}
