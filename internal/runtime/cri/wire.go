// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/runtime"
)

// A quiet node lists the same containers every few seconds and looks at four fields of each. Decoding all of the answer,
// labels and annotations included, is most of the cost of a list. So a list is not decoded: its bytes are kept, the four
// fields are read from them, and the rest is decoded when, and if, the container is described.

// Field numbers of CRI v1 (api.proto).
const (
	fieldContainers = 1 // of ListContainersResponse and StreamContainersResponse alike

	fieldID        = 1 // of Container
	fieldMetadata  = 3
	fieldState     = 6
	fieldCreatedAt = 7

	fieldAttempt = 2 // of ContainerMetadata
)

// listItem is one container of a list, as the runtime encoded it. It refers to the bytes of the whole answer.
type listItem struct{ wire []byte }

// decode gives all of the item.
func (i *listItem) decode() (*runtimeapi.Container, error) {
	c := &runtimeapi.Container{}
	if err := proto.Unmarshal(i.wire, c); err != nil {
		return nil, fmt.Errorf("decode a list item: %w", err)
	}
	return c, nil
}

// listAnswer receives a list, or a part of one. It appends to summaries.
type listAnswer struct{ summaries []runtime.Summary }

// listCodec encodes requests as usual and decodes nothing but lists.
type listCodec struct{}

var _ encoding.CodecV2 = listCodec{}

// Name is that of protobuf: it is what goes over the wire.
func (listCodec) Name() string { return "proto" }

func (listCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is no protobuf message", v)
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (listCodec) Unmarshal(data mem.BufferSlice, v any) error {
	answer, ok := v.(*listAnswer)
	if !ok {
		return fmt.Errorf("%T receives no list", v)
	}
	return answer.read(data.Materialize())
}

var errMalformed = errors.New("the list is not valid protobuf")

// read appends a summary of each container in an encoded ListContainersResponse.
func (a *listAnswer) read(wire []byte) error {
	count := 0
	for rest := wire; len(rest) > 0; count++ {
		n := skipField(rest)
		if n < 0 {
			return errMalformed
		}
		rest = rest[n:]
	}
	items := make([]listItem, 0, count)
	for len(wire) > 0 {
		number, kind, n := protowire.ConsumeTag(wire)
		if number != fieldContainers || kind != protowire.BytesType {
			wire = wire[skipField(wire):]
			continue
		}
		item, m := protowire.ConsumeBytes(wire[n:])
		wire = wire[n+m:]
		summary, err := summarize(item)
		if err != nil {
			return err
		}
		if summary.ID == "" {
			continue
		}
		items = append(items, listItem{item})
		summary.Item = &items[len(items)-1]
		a.summaries = append(a.summaries, summary)
	}
	return nil
}

// summarize reads what a summary holds from an encoded Container. An id that is not UTF-8 is none: no request can carry it.
func summarize(wire []byte) (runtime.Summary, error) {
	var s runtime.Summary
	var said uint64 // the state; 0 is created, which protobuf leaves out
	for len(wire) > 0 {
		number, kind, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return s, errMalformed
		}
		value := wire[n:]
		var bytes []byte
		var integer uint64
		switch kind {
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(value)
		case protowire.VarintType:
			integer, n = protowire.ConsumeVarint(value)
		default:
			n = protowire.ConsumeFieldValue(number, kind, value)
		}
		if n < 0 {
			return s, errMalformed
		}
		wire = value[n:]
		switch {
		case number == fieldID && kind == protowire.BytesType:
			s.ID = ""
			if utf8.Valid(bytes) {
				s.ID = string(bytes)
			}
		case number == fieldMetadata && kind == protowire.BytesType:
			attempt, ok, err := attemptIn(bytes)
			if err != nil {
				return s, err
			}
			if ok {
				s.Attempt = attempt
			}
		case number == fieldState && kind == protowire.VarintType:
			said = integer
		case number == fieldCreatedAt && kind == protowire.VarintType:
			s.CreatedAt = saneNanos(int64(integer))
		}
	}
	s.State = state(runtimeapi.ContainerState(int32(said))) // as protobuf narrows an enumeration
	return s, nil
}

// attemptIn reads the attempt from an encoded ContainerMetadata; false: it has none.
func attemptIn(wire []byte) (attempt uint32, ok bool, err error) {
	for len(wire) > 0 {
		number, kind, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return 0, false, errMalformed
		}
		wire = wire[n:]
		if number == fieldAttempt && kind == protowire.VarintType {
			var v uint64
			v, n = protowire.ConsumeVarint(wire)
			attempt, ok = uint32(v), true
		} else {
			n = protowire.ConsumeFieldValue(number, kind, wire)
		}
		if n < 0 {
			return 0, false, errMalformed
		}
		wire = wire[n:]
	}
	return attempt, ok, nil
}

// skipField gives the length of the field that wire begins with; negative: it is none.
func skipField(wire []byte) int {
	number, kind, n := protowire.ConsumeTag(wire)
	if n < 0 {
		return n
	}
	m := protowire.ConsumeFieldValue(number, kind, wire[n:])
	if m < 0 {
		return m
	}
	return n + m
}
