// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package quarantine

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/zastava-otel/zastava/internal/limit"
)

// MaxLineBytes is the maximum length of a line.
const MaxLineBytes = 64 << 20

// limits are those of one line. An event has some ten levels of nesting and numbers of up to 24 characters; numbers are not converted
// here, but by what a replay sends them to.
var limits = limit.JSON{Nesting: 64, Items: 1 << 20, Digits: 64}

// Entry is a quarantined event or fact.
type Entry struct {
	Time     time.Time // when it was quarantined
	Reason   string    // the reason that the backend reported
	Status   int       // HTTP status of the response that refused it; 0 if unknown
	Envelope []byte    // the JSON object that was sent, with event and schemaVersion

	// Set by Read, from Envelope.
	EventID  string
	Revision uint32
	Schema   string // schemaVersion
}

type head struct {
	Time   time.Time `json:"time"`
	Reason string    `json:"reason,omitempty"`
	Status int       `json:"status,omitempty"`
}

type line struct {
	head
	Event         json.RawMessage `json:"event"`
	SchemaVersion string          `json:"schemaVersion"`
}

// appendLine appends the entry as a line that parse accepts.
func (e *Entry) appendLine(dst []byte) ([]byte, error) {
	begin, err := json.Marshal(head{Time: e.Time.UTC(), Reason: e.Reason, Status: e.Status})
	if err != nil {
		return dst, fmt.Errorf("encode a quarantined event: %w", err)
	}
	var envelope bytes.Buffer
	if err := json.Compact(&envelope, e.Envelope); err != nil || envelope.Len() == 0 || envelope.Bytes()[0] != '{' {
		return dst, errors.New("encode a quarantined event: it is not a JSON object")
	}
	from := len(dst)
	dst = append(dst, begin[:len(begin)-1]...)
	dst = append(dst, ',')
	dst = append(dst, envelope.Bytes()[1:]...)
	if _, err := parse(dst[from:]); err != nil {
		return dst[:from], fmt.Errorf("encode a quarantined event: %w", err)
	}
	return append(dst, '\n'), nil
}

// parse decodes a line without its newline.
func parse(raw []byte) (Entry, error) {
	if err := limit.CheckJSON(raw, limits); err != nil {
		return Entry{}, fmt.Errorf("not a line of a quarantine: %w", err)
	}
	var l line
	if err := json.Unmarshal(raw, &l); err != nil {
		return Entry{}, fmt.Errorf("not a line of a quarantine: %w", err)
	}
	var id struct {
		EventID  string `json:"eventId"`
		Revision uint32 `json:"revision"`
	}
	if err := json.Unmarshal(l.Event, &id); err != nil || id.EventID == "" || l.SchemaVersion == "" {
		return Entry{}, errors.New("not a line of a quarantine: an event with eventId and a schemaVersion are required")
	}
	version, err := json.Marshal(l.SchemaVersion)
	if err != nil {
		return Entry{}, fmt.Errorf("not a line of a quarantine: %w", err)
	}
	envelope := append([]byte(`{"event":`), l.Event...)
	envelope = append(append(append(envelope, `,"schemaVersion":`...), version...), '}')
	return Entry{
		Time: l.Time, Reason: l.Reason, Status: l.Status, Envelope: envelope, EventID: id.EventID, Revision: id.Revision, Schema: l.SchemaVersion,
	}, nil
}

// Line is a complete line of a file.
type Line struct {
	Entry    Entry
	Err      error // why it cannot be decoded; Entry is then empty
	From, To int64 // its bytes in the file, including the newline
}

// Read calls each for the complete lines of a file, in order, until each returns an error. It returns torn if the file ends within a
// line: a crash left it there before Add returned. Read keeps at most one line in memory.
func Read(r io.Reader, each func(Line) error) (torn bool, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var at int64
	for {
		raw, n, err := readLine(in)
		switch {
		case errors.Is(err, io.EOF):
			return n > 0, nil
		case err != nil:
			return false, fmt.Errorf("read a file of the quarantine: %w", err)
		}
		l := Line{From: at, To: at + n}
		at = l.To
		if raw == nil {
			l.Err = fmt.Errorf("not a line of a quarantine: longer than %d bytes", MaxLineBytes)
		} else {
			l.Entry, l.Err = parse(raw)
		}
		if err := each(l); err != nil {
			return false, err
		}
	}
}

// readLine returns a line without its newline, or nil if it is too long, and its length with the newline.
func readLine(in *bufio.Reader) (raw []byte, n int64, err error) {
	raw = []byte{}
	for {
		part, err := in.ReadSlice('\n')
		n += int64(len(part))
		if n > MaxLineBytes {
			raw = nil
		} else {
			raw = append(raw, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err == nil && raw != nil {
			raw = raw[:len(raw)-1]
		}
		return raw, n, err
	}
}
