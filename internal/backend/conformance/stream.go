// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// streamChecks follow events.
func streamChecks() []check {
	return []check{
		{"stream", "a stream sends events as they are stored, as server-sent events with ids", May, follows},
		{"stream-resume", "with Last-Event-ID a stream continues after that event", May, resumes},
	}
}

// message is a server-sent event.
type message struct{ id, event, data string }

// readMessage reads the next message that has data. Comments are skipped.
func readMessage(lines *bufio.Scanner) (message, error) {
	var m message
	for lines.Scan() {
		if lines.Text() == "" {
			if m.data != "" {
				return m, nil
			}
			m = message{id: m.id}
			continue
		}
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			m.id = value
		case "event":
			m.event = value
		case "data":
			if m.data != "" {
				m.data += "\n"
			}
			m.data += value
		}
		if len(m.data) > maxAnswer {
			return m, fmt.Errorf("a message has more than %d bytes", maxAnswer)
		}
	}
	if err := lines.Err(); err != nil {
		return m, fmt.Errorf("read the stream: %w", err)
	}
	return m, io.ErrUnexpectedEOF
}

// open opens the stream of a container's events. The stream ends with the context.
func (s *session) open(ctx context.Context, l life, after string) (*bufio.Scanner, io.Closer, error) {
	query := url.Values{"container": {l.uri()}}
	req, err := s.request(ctx, http.MethodGet, s.o.EventsPath+"/stream?"+query.Encode(), nil, map[string]string{
		"Accept": "text/event-stream", "Last-Event-ID": after,
	})
	if err != nil {
		return nil, nil, err
	}
	client := *s.o.Client
	client.Timeout = 0 // the context ends the stream
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("open the stream: %w", withoutAddress(err))
	}
	a := answer{status: resp.StatusCode, header: resp.Header}
	if a.notServed() {
		return nil, nil, errors.Join(errAbsent, resp.Body.Close())
	}
	if kind := resp.Header.Get("Content-Type"); a.status != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		return nil, nil, errors.Join(fmt.Errorf("the stream is answered with %d and the Content-Type %q", a.status, shown(kind)), resp.Body.Close())
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxAnswer)
	return lines, resp.Body, nil
}

// expect reads the next event, which must be this one.
func (s *session) expect(lines *bufio.Scanner, eventID string) (string, error) {
	m, err := readMessage(lines)
	if err != nil {
		return "", fmt.Errorf("the event did not arrive within %s: %w", s.o.Wait, err)
	}
	var e stored
	if err := json.Unmarshal([]byte(m.data), &e); err != nil {
		return "", fmt.Errorf("the data of a message is not an event: %s", shown(m.data))
	}
	switch {
	case m.event != "runtime":
		return "", fmt.Errorf("a message with an event is named %q, not runtime", shown(m.event))
	case !strings.EqualFold(e.EventID, eventID):
		return "", fmt.Errorf("want the event %s, but %s arrived", eventID, shown(e.EventID))
	case m.id == "":
		return "", errors.New("a message has no id")
	case e.ReceivedAt.IsZero() || e.BatchID == "":
		return "", errors.New("an event arrived without receivedAt or batchId")
	}
	return m.id, nil
}

func follows(ctx context.Context, s *session) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Wait)
	defer cancel()
	l := s.life()
	lines, body, err := s.open(ctx, l, "")
	if err != nil {
		return "", err
	}
	defer body.Close()
	if err := errors.Join(s.store(ctx, l.start()), s.store(ctx, l.stop())); err != nil {
		return "", err
	}
	if _, err := s.expect(lines, l.start().EventID); err != nil {
		return "", err
	}
	_, err = s.expect(lines, l.stop().EventID)
	return "", err
}

func resumes(ctx context.Context, s *session) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Wait)
	defer cancel()
	l := s.life()
	lines, body, err := s.open(ctx, l, "")
	if err != nil {
		return "", err
	}
	defer body.Close()
	if err := s.store(ctx, l.start()); err != nil {
		return "", err
	}
	first, err := s.expect(lines, l.start().EventID)
	if err != nil {
		return "", err
	}
	if err := s.store(ctx, l.stop()); err != nil { // the second stream must send it although it is stored before that stream opens
		return "", err
	}
	again, next, err := s.open(ctx, l, first)
	if err != nil {
		return "", err
	}
	defer next.Close()
	_, err = s.expect(again, l.stop().EventID)
	return "", err
}
