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
)

// MaxLineBytes is the longest line that is written or read.
const MaxLineBytes = 64 << 20

// Entry is a quarantined event, or fact.
type Entry struct {
	Time     time.Time // when it was put into quarantine
	Reason   string    // why, in the words of the backend
	Status   int       // of HTTP, of the answer that refused it; 0 = unknown
	Envelope []byte    // the event as it was sent: an object of event and schemaVersion

	EventID  string // of the event in Envelope; only reading sets it
	Revision uint32 // the same
	Schema   string // schemaVersion of Envelope; the same
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

// appendLine appends the entry as a line. What it appends can be read.
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

// parse reads a line, without its end.
func parse(raw []byte) (Entry, error) {
	var l line
	if err := json.Unmarshal(raw, &l); err != nil {
		return Entry{}, fmt.Errorf("not a line of a quarantine: %w", err)
	}
	var id struct {
		EventID  string `json:"eventId"`
		Revision uint32 `json:"revision"`
	}
	if err := json.Unmarshal(l.Event, &id); err != nil || id.EventID == "" || l.SchemaVersion == "" {
		return Entry{}, errors.New("not a line of a quarantine: there is no event with eventId and schemaVersion in it")
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

// Line is a whole line of a file.
type Line struct {
	Entry    Entry
	Err      error // why it cannot be read; Entry is empty then
	From, To int64 // its bytes in the file, with the end of line
}

// Read gives each whole line of a file, in order, until each fails. torn: the file ends within a line, which a crash left
// there; Add has not returned for it. Memory holds one line at most.
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

// readLine gives a line without its end, nil if it is too long, and the bytes it has with its end.
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
