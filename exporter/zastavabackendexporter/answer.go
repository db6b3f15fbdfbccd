// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

const (
	maxAnswerBytes   = 64 << 10 // of an answer's body that are read
	maxRejectedBytes = 2 << 10  // more for each event of the batch in a 202
	maxQuotedBytes   = 1 << 10  // of an answer's body that an error quotes
	maxRetryAfter    = time.Hour
	contentTypeJSON  = "application/json"
)

// verdict is what an answer asks the exporter to do. The table is in docs/api/openapi.yaml and in README.md.
type verdict int

const (
	stored    verdict = iota // done
	later                    // retry
	denied                   // retry; the credentials are wrong
	misplaced                // retry; the server that answers does not have this API, or expects another kind of request
	invalid                  // bisect: something in the batch is invalid
	tooLarge                 // split
	refused                  // no retry helps
)

// answer is the result of one request. err is set for every verdict but stored.
type answer struct {
	verdict    verdict
	status     int // of HTTP; 0 without an answer
	err        error
	reason     string        // for the quarantine: the answer without text of an unknown server
	retryAfter time.Duration // 0 if the answer sets none
	duplicates int           // as reported; at most the size of the batch
	rejected   []backendapi.Rejected
}

// verdictOf returns the verdict for an HTTP status.
func verdictOf(status int) verdict {
	switch status {
	case http.StatusAccepted, http.StatusConflict:
		return stored
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return denied
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented,
		http.StatusGone, http.StatusUnsupportedMediaType, http.StatusMisdirectedRequest, http.StatusUpgradeRequired:
		return misplaced // the last four blame how or where the batch is sent, not an event in it
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return invalid
	case http.StatusRequestEntityTooLarge:
		return tooLarge
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return later
	}
	switch {
	case status >= 500:
		return later
	case status < 400: // other 2xx, and redirects, which are not followed: a batch is sent only where the configuration says
		return misplaced
	}
	return refused
}

// read returns the answer in resp to a batch of n events. It closes the body.
func (e *eventSender) read(resp *http.Response, n int) answer {
	most := int64(maxAnswerBytes)
	if resp.StatusCode == http.StatusAccepted { // it may reject every event
		most += int64(n) * maxRejectedBytes
	}
	body, readErr := backendapi.ReadAnswer(resp, most)
	_ = resp.Body.Close()

	a := answer{verdict: verdictOf(resp.StatusCode), status: resp.StatusCode}
	switch {
	case resp.StatusCode == http.StatusConflict:
		a.duplicates = n
		return a
	case a.verdict == stored:
		return e.readStored(resp, body, int64(len(body)) == most, readErr, n)
	}
	a.explain(e.shownURL, resp, body, e.now())
	return a
}

// explain sets the error, the reason and the wait of an answer that is not stored.
func (a *answer) explain(shownURL string, resp *http.Response, body []byte, now time.Time) {
	a.err = fmt.Errorf("POST %s: answered %s%s", shownURL, statusLine(resp), quote(resp.Header.Get("Content-Type"), body))
	a.reason = statusLine(resp)
	if p, ok := backendapi.ParseProblem(resp.Header.Get("Content-Type"), body); ok {
		a.reason += ": " + clip(p.String())
	}
	if a.verdict == later {
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			now = date // a date in Retry-After is from the same clock
		}
		a.retryAfter = retryAfter(resp.Header.Get("Retry-After"), now)
	}
}

// readStored reads a 202. Events that it reports neither as duplicates nor as rejected were accepted. A body that is not such a
// JSON object comes from a server without this API. After a truncated body the batch is sent again, which its id makes harmless.
// A body that exceeds the read limit would exceed it again, so the batch is bisected: the answers to its parts are shorter.
func (e *eventSender) readStored(resp *http.Response, body []byte, tooLong bool, readErr error, n int) answer {
	if readErr != nil {
		return truncated(e.shownURL, resp, readErr)
	}
	if tooLong && body[0] == '{' {
		return answer{
			verdict: invalid, status: resp.StatusCode, reason: statusLine(resp) + ", with a body that exceeds the read limit",
			err: fmt.Errorf("POST %s: answered %s with a body that exceeds the read limit of %d bytes", e.shownURL, statusLine(resp), len(body)),
		}
	}
	var in backendapi.IngestResponse
	if len(body) > 0 {
		if err := json.Unmarshal(body, &in); err != nil {
			return foreign(e.shownURL, resp, body)
		}
	}
	// Numbers that exceed the batch would falsify the metrics.
	return answer{verdict: stored, status: resp.StatusCode, duplicates: min(max(in.Duplicates, 0), n), rejected: in.Rejected}
}

// truncated returns the answer for a response whose body could not be read.
func truncated(shownURL string, resp *http.Response, err error) answer {
	return answer{verdict: later, status: resp.StatusCode, err: fmt.Errorf("POST %s: read the answer %s: %w", shownURL, statusLine(resp), err)}
}

// foreign returns the answer for a success of a server without this API.
func foreign(shownURL string, resp *http.Response, body []byte) answer {
	return answer{verdict: misplaced, status: resp.StatusCode, err: fmt.Errorf("POST %s: answered %s with a body that is not of this API%s",
		shownURL, statusLine(resp), quote(resp.Header.Get("Content-Type"), body))}
}

func statusLine(resp *http.Response) string {
	line := strconv.Itoa(resp.StatusCode)
	if text := http.StatusText(resp.StatusCode); text != "" {
		line += " " + text
	}
	if location := resp.Header.Get("Location"); location != "" && resp.StatusCode < 400 && resp.StatusCode >= 300 {
		line += " (redirects are not followed)"
	}
	return line
}

// quote returns what an error quotes of an answer's body: the problem in it, or else its beginning.
func quote(contentType string, body []byte) string {
	if p, ok := backendapi.ParseProblem(contentType, body); ok {
		return ": " + clip(p.String())
	}
	text := strings.TrimSpace(clip(string(body)))
	if text == "" {
		return ""
	}
	return ": " + strconv.Quote(text)
}

func clip(s string) string {
	if len(s) > maxQuotedBytes {
		s = s[:maxQuotedBytes]
	}
	return strings.ToValidUTF8(s, "")
}

// retryAfter parses a Retry-After header (RFC 9110 section 10.2.3): seconds, or a date. It returns 0 for an unusable value, and
// at most maxRetryAfter, so that no answer can stop delivery permanently.
func retryAfter(header string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.ParseUint(header, 10, 63); err == nil {
		d = time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if errors.Is(err, strconv.ErrRange) {
		d = maxRetryAfter
	} else if at, err := http.ParseTime(header); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}
