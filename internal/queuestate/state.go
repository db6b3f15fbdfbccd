// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package queuestate reads the state that the collector's persistent queue writes to its storage, under one key beside the items
// (exporterhelper, internal/queue/persistent_queue.go and meta.proto, v0.159). Key and format are private to the collector; they
// are known here and nowhere else, and a test with the collector's own queue fails when they change.
//
// What it promises: Parse refuses a state that is not well-formed and never panics. It ignores fields of a later version.
package queuestate

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// Key is the storage key of the state. The key of an item is its number in decimal digits.
const Key = "qmv0"

// The field numbers of the state; each field is a fixed64.
const (
	FieldItemsSize  protowire.Number = 1
	FieldBytesSize  protowire.Number = 2
	FieldReadIndex  protowire.Number = 3
	FieldWriteIndex protowire.Number = 4
	FieldDispatched protowire.Number = 5 // repeated, packed
)

// ErrFormat is the error for a state that is not well-formed.
var ErrFormat = errors.New("parse the state of the collector's queue: not a well-formed protobuf message")

// State is the size of a queue.
type State struct {
	Items      uint64 // log records, data points, spans
	Bytes      uint64
	ReadIndex  uint64 // number of the item that is read next
	WriteIndex uint64 // number of the next new item
	Dispatched int    // items that were read and are being sent
}

// Requests returns the number of items in the queue, including those that are being sent.
func (s State) Requests() uint64 { return s.WriteIndex - s.ReadIndex + uint64(s.Dispatched) }

// Parse decodes a state. An empty raw, a state that was never written, is the zero State.
func Parse(raw []byte) (State, error) {
	var s State
	for len(raw) > 0 {
		field, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return State{}, ErrFormat
		}
		raw = raw[n:]
		if n = protowire.ConsumeFieldValue(field, kind, raw); n < 0 {
			return State{}, ErrFormat
		}
		value := raw[:n]
		raw = raw[n:]
		switch {
		case field == FieldDispatched && kind == protowire.BytesType:
			packed, _ := protowire.ConsumeBytes(value)
			s.Dispatched += len(packed) / 8
		case field == FieldDispatched:
			s.Dispatched++
		case kind == protowire.Fixed64Type:
			v, _ := protowire.ConsumeFixed64(value)
			s.set(field, v)
		}
	}
	return s, nil
}

func (s *State) set(field protowire.Number, v uint64) {
	switch field {
	case FieldItemsSize:
		s.Items = v
	case FieldBytesSize:
		s.Bytes = v
	case FieldReadIndex:
		s.ReadIndex = v
	case FieldWriteIndex:
		s.WriteIndex = v
	default: // of a later version
	}
}

// Append returns the encoded state raw with its sizes and indexes replaced by those of s.
func Append(raw []byte, s State) ([]byte, error) {
	var out []byte
	for field, v := range map[protowire.Number]uint64{
		FieldItemsSize: s.Items, FieldBytesSize: s.Bytes, FieldReadIndex: s.ReadIndex, FieldWriteIndex: s.WriteIndex,
	} {
		out = protowire.AppendFixed64(protowire.AppendTag(out, field, protowire.Fixed64Type), v)
	}
	for len(raw) > 0 {
		field, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return nil, ErrFormat
		}
		size := protowire.ConsumeFieldValue(field, kind, raw[n:])
		if size < 0 {
			return nil, ErrFormat
		}
		if field >= FieldDispatched {
			out = append(out, raw[:n+size]...)
		}
		raw = raw[n+size:]
	}
	return out, nil
}
