// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"cmp"
	"errors"
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/limit"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// A quiet node lists the same containers every few seconds and needs four fields of each. Decoding the complete response, with
// labels and annotations, would be most of the cost of a list. So the encoded bytes are kept, the four fields are read from
// them, and a container is decoded only when it is described. See docs/decisions/0004-own-reading-of-cri-wire-format.md.

// Field numbers of CRI v1 (api.proto).
const (
	fieldContainers = 1 // of ListContainersResponse and of StreamContainersResponse

	fieldID        = 1 // of Container
	fieldMetadata  = 3
	fieldState     = 6
	fieldCreatedAt = 7

	fieldAttempt = 2 // of ContainerMetadata
)

// listItem is one encoded container of a list. It refers to the memory of the complete response.
type listItem struct{ wire []byte }

// decode decodes all fields of the item.
func (i *listItem) decode() (*runtimeapi.Container, error) {
	c := &runtimeapi.Container{}
	if err := proto.Unmarshal(i.wire, c); err != nil {
		return nil, fmt.Errorf("decode a list item: %w", err)
	}
	return c, nil
}

// listResponse receives a list, or one message of a streamed list. Each message appends to summaries.
type listResponse struct {
	summaries []runtime.Summary
	bounds    *bounds
	bytes     int // of all messages
	entries   int
	invalid   int // entries without a valid id
	exceeded  error
}

// cause returns the limit that was exceeded, of which gRPC keeps only the text, or else err.
func (l *listResponse) cause(err error) error { return cmp.Or(l.exceeded, err) }

// count counts one message.
func (l *listResponse) count(bytes, entries int) error {
	l.bytes += bytes
	l.entries += entries
	switch {
	case l.bytes > l.bounds.list:
		l.exceeded = &limit.Error{Kind: limit.Bytes, Max: int64(l.bounds.list)}
	case l.entries > l.bounds.containers:
		l.exceeded = &limit.Error{Kind: limit.Items, Max: int64(l.bounds.containers)}
	}
	return l.exceeded
}

// listCodec encodes requests as usual and decodes only into a listResponse.
type listCodec struct{}

var _ encoding.CodecV2 = listCodec{}

// Name returns protobuf's name, because that is the format on the wire.
func (listCodec) Name() string { return "proto" }

func (listCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is not a protobuf message", v)
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (listCodec) Unmarshal(data mem.BufferSlice, v any) error {
	response, ok := v.(*listResponse)
	if !ok {
		return fmt.Errorf("%T cannot receive a list", v)
	}
	return response.read(data.Materialize())
}

var errMalformed = errors.New("the list is not valid protobuf")

// read appends a summary of each container in an encoded ListContainersResponse.
func (l *listResponse) read(wire []byte) error {
	count := 0
	for rest := wire; len(rest) > 0; count++ {
		n := fieldLength(rest)
		if n < 0 {
			return errMalformed
		}
		rest = rest[n:]
	}
	if err := l.count(len(wire), count); err != nil {
		return err
	}
	items := make([]listItem, 0, count)
	for len(wire) > 0 {
		number, kind, n := protowire.ConsumeTag(wire)
		if number != fieldContainers || kind != protowire.BytesType {
			wire = wire[fieldLength(wire):]
			continue
		}
		item, m := protowire.ConsumeBytes(wire[n:])
		wire = wire[n+m:]
		summary, err := summarize(item)
		if err != nil {
			return err
		}
		if summary.ID == "" {
			l.invalid++
			continue
		}
		items = append(items, listItem{item})
		summary.Item = &items[len(items)-1]
		l.summaries = append(l.summaries, summary)
	}
	return nil
}

// summarize reads the fields of a summary from an encoded Container. An id that is not valid counts as empty. If a field is repeated, the last one counts, as protobuf defines.
func summarize(wire []byte) (runtime.Summary, error) {
	var s runtime.Summary
	var encodedState uint64 // 0 is created, which protobuf omits
	for len(wire) > 0 {
		number, kind, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return s, errMalformed
		}
		wire = wire[n:]
		switch kind {
		case protowire.BytesType:
			var b []byte
			if b, n = protowire.ConsumeBytes(wire); n >= 0 && !readBytesField(&s, number, b) {
				return s, errMalformed
			}
		case protowire.VarintType:
			var v uint64
			v, n = protowire.ConsumeVarint(wire)
			switch number {
			case fieldState:
				encodedState = v
			case fieldCreatedAt:
				s.CreatedAt = plausibleNanos(int64(v))
			default: // not needed
			}
		default:
			n = protowire.ConsumeFieldValue(number, kind, wire)
		}
		if n < 0 {
			return s, errMalformed
		}
		wire = wire[n:]
	}
	s.State = state(runtimeapi.ContainerState(int32(encodedState))) // protobuf truncates an enumeration to 32 bits, too
	return s, nil
}

// readBytesField sets the id or the attempt from a length-delimited field of a Container and ignores other fields. It returns
// false if the field is malformed.
func readBytesField(s *runtime.Summary, number protowire.Number, b []byte) bool {
	switch number {
	case fieldID:
		s.ID = ""
		if id := string(b[:min(len(b), runtime.MaxID+1)]); runtime.ValidID(id) {
			s.ID = id
		}
	case fieldMetadata:
		return readAttempt(s, b)
	default: // not needed
	}
	return true
}

// readAttempt sets the attempt from an encoded ContainerMetadata, if it contains one. It returns false if it is malformed.
func readAttempt(s *runtime.Summary, wire []byte) bool {
	attempt := s.Attempt
	for len(wire) > 0 {
		number, kind, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return false
		}
		wire = wire[n:]
		if number == fieldAttempt && kind == protowire.VarintType {
			var v uint64
			v, n = protowire.ConsumeVarint(wire)
			attempt = uint32(v)
		} else {
			n = protowire.ConsumeFieldValue(number, kind, wire)
		}
		if n < 0 {
			return false
		}
		wire = wire[n:]
	}
	s.Attempt = attempt
	return true
}

// fieldLength returns the length of the field at the start of wire, or a negative number if it is malformed.
func fieldLength(wire []byte) int {
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
