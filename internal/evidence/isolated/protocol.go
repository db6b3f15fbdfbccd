// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/evidence/procfs"
	"github.com/zastava-otel/zastava/internal/limit"
)

// The messages are frames: four bytes of length, big-endian, then JSON. Both sides bound what they read, because each may be another
// program than it seems: the sampler reads what containers control, and a socket may be connected to by anybody.
const (
	maxRequestBytes = 1 << 20
	// maxReplyBytes is above what a sample within the default limits takes: 1,024 files with two names of 4 KiB are 8 MiB.
	maxReplyBytes = 16 << 20
	version       = 1
)

// replyLimits bound the JSON of a message. A number is 64 bits at most. An element takes two items, and becomes 40 bytes if it is a module of
// Go: 10 MiB of these. A sample with more, of a hundred Go binaries with a thousand modules each, is not sent.
var replyLimits = limit.JSON{Nesting: 16, Items: 512 << 10, Digits: 32}

// Bounds of the elements that take the most memory for their bytes: "{}" becomes a File of 600. They are above any configured limit that is
// useful; a sample within the default limits has a quarter.
const (
	maxReplyFiles     = 8_192
	maxReplyProcesses = 4_096
)

// hello is the first message of the collector.
type hello struct {
	Version int           `json:"version"`
	Config  procfs.Config `json:"config"`
}

// welcome is the answer: what the process is confined by, or why it cannot sample.
type welcome struct {
	Version int    `json:"version"`
	PID     int    `json:"pid"`
	Seccomp bool   `json:"seccomp"`
	Error   string `json:"error,omitempty"`
}

// request asks for a sample, or cancels one.
type request struct {
	ID     uint64          `json:"id"`
	Target evidence.Target `json:"target"`
	Cancel bool            `json:"cancel,omitempty"`
}

// reply has the sample of the request with the same id, and what the process has done so far.
type reply struct {
	ID     uint64          `json:"id"`
	Sample evidence.Sample `json:"sample"`
	Stats  procfs.Stats    `json:"stats"`
	Error  string          `json:"error,omitempty"`
}

// bounded is a list that is decoded only if it is no longer than its bound.
type (
	boundedFiles     []evidence.File
	boundedProcesses []evidence.Process
)

// UnmarshalJSON is json.Unmarshaler's.
func (f *boundedFiles) UnmarshalJSON(text []byte) error {
	return unmarshalBounded(text, (*[]evidence.File)(f), maxReplyFiles)
}

// UnmarshalJSON is json.Unmarshaler's.
func (p *boundedProcesses) UnmarshalJSON(text []byte) error {
	return unmarshalBounded(text, (*[]evidence.Process)(p), maxReplyProcesses)
}

func unmarshalBounded[T any](text []byte, list *[]T, most int) error {
	if elements(text) > most {
		return &limit.Error{Kind: limit.Items, Max: int64(most)}
	}
	return json.Unmarshal(text, list)
}

// UnmarshalJSON decodes a reply whose lists are within their bounds.
func (r *reply) UnmarshalJSON(text []byte) error {
	type sample evidence.Sample
	type plain reply
	message := struct {
		Sample struct {
			*sample
			Processes boundedProcesses
			Files     boundedFiles
		} `json:"sample"`
		*plain
	}{plain: (*plain)(r)}
	message.Sample.sample = (*sample)(&r.Sample)
	if err := json.Unmarshal(text, &message); err != nil {
		return err
	}
	r.Sample.Processes, r.Sample.Files = message.Sample.Processes, message.Sample.Files
	return nil
}

// elements returns an upper bound of the elements of a JSON array: its commas outside of strings and of inner arrays and objects, and one.
func elements(text []byte) int {
	n, depth, quoted := 1, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		case c == ',' && depth == 1:
			n++
		}
	}
	return n
}

func writeFrame(w io.Writer, message any, maximum int) error {
	text, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	if len(text) > maximum {
		return fmt.Errorf("encode a message: %w", &limit.Error{Kind: limit.Bytes, Max: int64(maximum)})
	}
	if err := limit.CheckJSON(text, replyLimits); err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	frame := make([]byte, 4, 4+len(text))
	binary.BigEndian.PutUint32(frame, uint32(len(text)))
	_, err = w.Write(append(frame, text...))
	return err
}

// readFrame reads one message. It allocates as bytes arrive, not as the length announces.
func readFrame(r io.Reader, message any, maximum int) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint32(head[:]))
	if size > int64(maximum) {
		return fmt.Errorf("read a message of %d bytes: %w", size, &limit.Error{Kind: limit.Bytes, Max: int64(maximum)})
	}
	text, err := io.ReadAll(io.LimitReader(r, size))
	if err != nil {
		return fmt.Errorf("read a message: %w", err)
	}
	if int64(len(text)) < size {
		return fmt.Errorf("read a message: %w", io.ErrUnexpectedEOF)
	}
	if err := limit.CheckJSON(text, replyLimits); err != nil {
		return fmt.Errorf("read a message: %w", err)
	}
	if err := json.Unmarshal(text, message); err != nil {
		return fmt.Errorf("decode a message: %w", err)
	}
	return nil
}
