// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package queuestate reads what the collector's persistent queue writes of itself into its storage, under one key beside the
// items (exporterhelper, internal/queue/persistent_queue.go and meta.proto, v0.159).
//
// What it promises: Parse refuses what it does not understand and never panics. Fields of a later version are passed over.
package queuestate

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// Key is where the state is kept. Items have their number, in decimal digits, as key.
const Key = "qmv0"

// The fields of the state; each is a fixed64.
const (
	FieldItemsSize  protowire.Number = 1
	FieldBytesSize  protowire.Number = 2
	FieldReadIndex  protowire.Number = 3
	FieldWriteIndex protowire.Number = 4
	FieldDispatched protowire.Number = 5 // repeated, packed
)

// ErrFormat says that a state cannot be read.
var ErrFormat = errors.New("the queue's record of itself cannot be read")

// State is a queue's size.
type State struct {
	Items      uint64 // log records, data points, spans
	Bytes      uint64
	ReadIndex  uint64 // number of the item that is read next
	WriteIndex uint64 // number that the next item gets
	Dispatched int    // items that are being sent
}

// Requests is how many items are in the queue, those that are being sent included.
func (s State) Requests() uint64 { return s.WriteIndex - s.ReadIndex + uint64(s.Dispatched) }

// Parse reads a state. One that was never written is empty.
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

// Append gives raw, a state, with s's sizes and indexes in place of its own.
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
