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
	maxAnswerBytes   = 64 << 10 // read of an answer's body
	maxRejectedBytes = 2 << 10  // more of a 202, for each event of the batch
	maxQuotedBytes   = 1 << 10  // of an answer's body in an error
	maxRetryAfter    = time.Hour
	contentTypeJSON  = "application/json"
)

// verdict is what an answer asks the exporter to do. The table is in docs/api/openapi.yaml and in README.md.
type verdict int

const (
	stored    verdict = iota // done
	later                    // retry
	denied                   // retry; the credentials are at fault
	misplaced                // retry; what answers there is not this API, or is to be asked in another way
	invalid                  // something in the batch is: bisect
	tooLarge                 // split
	refused                  // no retry can mend it
)

// answer is what came of one request. err is set for every verdict but stored.
type answer struct {
	verdict    verdict
	status     int // of HTTP; 0 = there was no answer
	err        error
	reason     string        // the answer without what an unknown server may have put into it; for the quarantine
	retryAfter time.Duration // 0 = not told
	duplicates int           // as told; no more than the batch has
	rejected   []backendapi.Rejected
}

// verdictOf reads the table of answers.
func verdictOf(status int) verdict {
	switch status {
	case http.StatusAccepted, http.StatusConflict:
		return stored
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return denied
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented,
		http.StatusGone, http.StatusUnsupportedMediaType, http.StatusMisdirectedRequest, http.StatusUpgradeRequired:
		return misplaced // of the last four no event is at fault, whatever it holds, but how or where it is sent
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
	case status < 400: // other 2xx, and redirects, which are not followed: a batch goes where the configuration says
		return misplaced
	}
	return refused
}

// read makes an answer of resp to a batch of n events. It closes the body.
func (e *backendExporter) read(resp *http.Response, n int) answer {
	most := int64(maxAnswerBytes)
	if resp.StatusCode == http.StatusAccepted { // it may reject each event
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

// explain takes from an answer that is not stored why it is none, and when to come back.
func (a *answer) explain(shownURL string, resp *http.Response, body []byte, now time.Time) {
	a.err = fmt.Errorf("POST %s: answered %s%s", shownURL, statusLine(resp), quote(resp.Header.Get("Content-Type"), body))
	a.reason = statusLine(resp)
	if p, ok := backendapi.ParseProblem(resp.Header.Get("Content-Type"), body); ok {
		a.reason += ": " + clip(p.String())
	}
	if a.verdict == later {
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			now = date // a date in Retry-After is of the same clock
		}
		a.retryAfter = retryAfter(resp.Header.Get("Retry-After"), now)
	}
}

// readStored reads a 202. What it does not call a duplicate or rejected was accepted. A body that is no such JSON object
// comes from something that is not this API, and a body that broke off is asked for again: the batch's id makes that
// harmless. One that is too long to be read would be as long the next time; those to parts of the batch are shorter.
func (e *backendExporter) readStored(resp *http.Response, body []byte, tooLong bool, readErr error, n int) answer {
	if readErr != nil {
		return answer{verdict: later, status: resp.StatusCode, err: fmt.Errorf("POST %s: read the answer %s: %w", e.shownURL, statusLine(resp), readErr)}
	}
	if tooLong && body[0] == '{' {
		return answer{
			verdict: invalid, status: resp.StatusCode, reason: statusLine(resp) + ", with more text than is read",
			err: fmt.Errorf("POST %s: answered %s with more than %d bytes, which nobody reads", e.shownURL, statusLine(resp), len(body)),
		}
	}
	var in backendapi.IngestResponse
	if len(body) > 0 {
		if err := json.Unmarshal(body, &in); err != nil {
			return answer{verdict: misplaced, status: resp.StatusCode, err: fmt.Errorf("POST %s: answered %s with a body that is not of this API%s",
				e.shownURL, statusLine(resp), quote(resp.Header.Get("Content-Type"), body))}
		}
	}
	// Numbers beyond the batch would make the metrics lie.
	return answer{verdict: stored, status: resp.StatusCode, duplicates: min(max(in.Duplicates, 0), n), rejected: in.Rejected}
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

// quote is what an answer's body says, for an error: the problem in it, else its beginning.
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

// retryAfter reads a Retry-After header (RFC 9110 section 10.2.3): seconds, or a date. 0 where it says nothing usable;
// at most maxRetryAfter, so that no answer can stop delivery for good.
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
