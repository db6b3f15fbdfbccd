// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package feed reads the backend's live stream of runtime events (server-sent events) and renders each as a line for a terminal. It
// reconnects until its context ends, and resumes after the last event. It stores no events.
package feed

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/retry"
)

const (
	// maxLine bounds a line of the stream, in bytes: an event is not larger than a batch.
	maxLine = backendapi.MaxBatchBytes + 64<<10

	firstRetry = 100 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// Follow calls handle for each event of the stream at url, in order, until ctx ends, and then returns nil. It begins after the
// message with the id after; "0" begins with the first event, and "" with the next new one. After every failure it reconnects with the
// id of the last event, so that the backend sends what it has missed. It returns an error only for an invalid address.
func Follow(ctx context.Context, client *http.Client, url, after string, handle func(backendapi.Event)) error {
	if _, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody); err != nil {
		return fmt.Errorf("follow the events at %s: %w", url, err)
	}
	lastID := after
	wait := retry.NewBackOff(retry.Options{Initial: firstRetry, Max: lastRetry, Multiplier: 2})
	for {
		// Why the stream ended does not matter: the demo ends when the backend does.
		_ = connect(ctx, client, url, lastID, func(m message) {
			wait.Reset()
			if m.id != "" {
				lastID = m.id
			}
			var event backendapi.Event
			if json.Unmarshal(m.data, &event) == nil && event.Kind != "" {
				handle(event)
			}
		})
		if !retry.Sleep(ctx, wait.NextBackOff()) {
			return nil
		}
	}
}

func connect(ctx context.Context, client *http.Client, url, lastID string, each func(message)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	answer, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") {
		return fmt.Errorf("%s answered %s with %q", url, answer.Status, answer.Header.Get("Content-Type"))
	}
	return parse(answer.Body, each)
}

// message is one dispatched server-sent event.
type message struct {
	id   string
	data []byte
}

// parse reads a stream according to the HTML standard, section 9.2.6 ("Interpreting an event stream"). It ignores the event type and
// retry, and drops a last message without its closing empty line, as the standard demands.
func parse(r io.Reader, each func(message)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 8<<10), maxLine)
	lines.Split(splitLines)
	var m message
	hasData, size := false, 0
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			if hasData {
				each(m)
			}
			m = message{id: m.id}
			hasData, size = false, 0
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "id":
			if !bytes.Contains(value, []byte{0}) {
				m.id = string(value)
			}
		case "data":
			if size += len(value) + 1; size > maxLine {
				return errors.New("an event of the stream is too long")
			}
			if hasData {
				m.data = append(m.data, '\n')
			}
			m.data = append(m.data, value...)
			hasData = true
		}
	}
	return lines.Err()
}

// splitLines ends a line at LF, CR LF or CR. A CR at the end of what has been read so far waits for the next byte.
func splitLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	i := bytes.IndexAny(data, "\r\n")
	switch {
	case i < 0 && atEOF:
		return len(data), nil, nil // an unfinished line is dropped
	case i < 0:
		return 0, nil, nil
	case data[i] == '\n':
		return i + 1, data[:i], nil
	case i+1 < len(data) && data[i+1] == '\n':
		return i + 2, data[:i], nil
	case i+1 == len(data) && !atEOF:
		return 0, nil, nil
	}
	return i + 1, data[:i], nil
}
