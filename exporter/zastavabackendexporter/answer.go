// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/limit"
)

const (
	maxAnswerBytes   = 64 << 10 // of an answer's body that are read
	maxRejectedBytes = 2 << 10  // more for each event of the batch in a 202
	maxQuotedBytes   = 1 << 10  // of an answer's body that an error quotes
	maxRetryAfter    = time.Hour
	contentTypeJSON  = "application/json"

	maxRetryAfterChars = 64 // longer than any date of RFC 9110
)

// Bounds of the JSON in an answer.
const (
	maxNesting      = 16
	maxItems        = 256
	maxDigits       = 32
	itemsOfRejected = 8
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
	remedy     string        // of a misplaced answer that shows what to change; empty otherwise
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

// read returns the answer in resp to the batch of the items s of p. It closes the body.
func (e *eventSender) read(resp *http.Response, p *payload, s span) answer {
	n := s.to - s.from
	most := int64(maxAnswerBytes)
	if resp.StatusCode == http.StatusAccepted { // it may reject every event
		most += int64(n) * maxRejectedBytes
	}
	body, readErr := backendapi.ReadAnswer(resp, most)
	_ = resp.Body.Close()

	a := answer{verdict: verdictOf(resp.StatusCode), status: resp.StatusCode}
	if !isOfAPI(a.verdict, resp, body, func(body []byte) bool { return p.names(s, body) }) {
		a.verdict = misplaced
	}
	switch {
	case resp.StatusCode == http.StatusConflict:
		a.duplicates = n
		return a
	case a.verdict == stored:
		return e.readStored(resp, body, int64(len(body)) == most, readErr, n)
	}
	e.explain(&a, e.shownURL, resp, body)
	return a
}

// isOfAPI reports whether an answer that would end the delivery of something is one of this API: problem details, or a 400 or 422 in
// JSON that names what was sent. Anything else comes from a server in between, or from a port that expects TLS, and is no statement
// about an event. 413 needs no proof: it is about the size, whoever says it.
func isOfAPI(v verdict, resp *http.Response, body []byte, names func(body []byte) bool) bool {
	if v != invalid && v != refused {
		return true
	}
	if _, ok := backendapi.ParseProblem(resp.Header.Get("Content-Type"), body); ok {
		return true
	}
	body = bytes.TrimSpace(body)
	return v == invalid && len(body) > 0 && body[0] == '{' && names(body)
}

// names reports whether body names an event of s, by its id or by its place.
func (p *payload) names(s span, body []byte) bool {
	if bytes.Contains(body, []byte("events[")) {
		return true
	}
	body = bytes.ToLower(body)
	return slices.ContainsFunc(p.items[s.from:s.to], func(it item) bool { return bytes.Contains(body, []byte(strings.ToLower(it.eventID))) })
}

// namesFacts reports whether body names a fact by its place.
func namesFacts(body []byte) bool { return bytes.Contains(body, []byte("facts[")) }

// explain sets the error, the reason, the remedy and the wait of an answer that is not stored.
func (c *connection) explain(a *answer, shownURL string, resp *http.Response, body []byte) {
	quoted, isProblem := c.quote(resp.Header.Get("Content-Type"), body)
	a.err = fmt.Errorf("POST %s: answered %s%s", shownURL, statusLine(resp), quoted)
	a.reason = statusLine(resp)
	if isProblem {
		a.reason += quoted
	}
	if a.verdict == misplaced {
		a.remedy = remedyOf(resp.Header.Get("Content-Type"), body)
	}
	if a.verdict == later {
		now := c.now()
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			now = date // a date in Retry-After is from the same clock
		}
		a.retryAfter = retryAfter(resp.Header.Get("Retry-After"), now)
	}
}

// The remedies for answers that are not of the API.
const (
	remedyTLS   = "the port expects TLS: write https:// in the exporter's endpoint"
	remedyNoTLS = "the server does not speak TLS at this port: use its port for TLS, or write http:// in the exporter's endpoint if the network is trusted"
	remedyPage  = "a proxy, a load balancer or a login page answered instead of the backend: check the exporter's endpoint, its paths and proxy_url, " +
		"the proxies of the environment, and what is in between"
)

// tlsHints are parts of the answers of TLS ports to plain HTTP: Go, nginx, Apache, HAProxy and Jetty.
var tlsHints = []string{
	"http request to an https server", "plain http request was sent to https port", "speaking plain http to an ssl-enabled server port",
	"requires tls", "requires ssl", "https required",
}

// remedyOf returns what to change if the answer shows it; empty otherwise.
func remedyOf(contentType string, body []byte) string {
	text := strings.ToLower(string(bytes.TrimSpace(body[:min(len(body), maxQuotedBytes)])))
	if slices.ContainsFunc(tlsHints, func(hint string) bool { return strings.Contains(text, hint) }) {
		return remedyTLS
	}
	if strings.HasPrefix(text, "<") || strings.HasPrefix(strings.ToLower(contentType), "text/html") {
		return remedyPage
	}
	return ""
}

// storedJSON bounds the answer to n events before it is decoded: a rejected event has three members.
func storedJSON(n int) limit.JSON {
	return limit.JSON{Nesting: maxNesting, Items: maxItems + n*itemsOfRejected, Digits: maxDigits}
}

// readStored reads a 202. Events that it reports neither as duplicates nor as rejected were accepted. A body that is not such a
// JSON object comes from a server without this API. After a truncated body the batch is sent again, which its id makes harmless.
// A body that exceeds the read limit would exceed it again, so the batch is bisected: the answers to its parts are shorter.
func (e *eventSender) readStored(resp *http.Response, body []byte, tooLong bool, readErr error, n int) answer {
	if readErr != nil {
		return e.truncated(e.shownURL, resp, readErr)
	}
	err := limit.CheckJSON(body, storedJSON(n))
	if exceeded, ok := errors.AsType[*limit.Error](err); ok && exceeded.Kind != limit.Items {
		return e.foreign(e.shownURL, resp, body)
	}
	if (tooLong || err != nil) && body[0] == '{' {
		return answer{
			verdict: invalid, status: resp.StatusCode, reason: statusLine(resp) + ", with a body that exceeds the read limit",
			err: fmt.Errorf("POST %s: answered %s with a body that exceeds the read limit of %d bytes and %d values",
				e.shownURL, statusLine(resp), maxAnswerBytes+n*maxRejectedBytes, storedJSON(n).Items),
		}
	}
	var in backendapi.IngestResponse
	if len(body) > 0 {
		if err := json.Unmarshal(body, &in); err != nil {
			return e.foreign(e.shownURL, resp, body)
		}
	}
	for i := range in.Rejected {
		in.Rejected[i].Code = e.mask.Text(in.Rejected[i].Code, maxQuotedBytes)
		in.Rejected[i].Detail = e.mask.Text(in.Rejected[i].Detail, maxQuotedBytes)
	}
	// Numbers that exceed the batch would falsify the metrics.
	return answer{verdict: stored, status: resp.StatusCode, duplicates: min(max(in.Duplicates, 0), n), rejected: in.Rejected}
}

// truncated returns the answer for a response whose body could not be read.
func (c *connection) truncated(shownURL string, resp *http.Response, err error) answer {
	return answer{verdict: later, status: resp.StatusCode, err: fmt.Errorf("POST %s: read the answer %s: %w", shownURL, statusLine(resp), c.hide(err))}
}

// foreign returns the answer for a success of a server without this API.
func (c *connection) foreign(shownURL string, resp *http.Response, body []byte) answer {
	contentType := resp.Header.Get("Content-Type")
	quoted, _ := c.quote(contentType, body)
	return answer{
		verdict: misplaced, status: resp.StatusCode, remedy: remedyOf(contentType, body),
		err: fmt.Errorf("POST %s: answered %s with a body that is not of this API%s", shownURL, statusLine(resp), quoted),
	}
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

// quote returns what an error quotes of an answer's body, with our credentials masked: the problem in it, or else its beginning.
func (c *connection) quote(contentType string, body []byte) (quoted string, isProblem bool) {
	if p, ok := backendapi.ParseProblem(contentType, body); ok {
		return ": " + c.mask.Text(p.String(), maxQuotedBytes), true
	}
	text := strings.TrimSpace(c.mask.Text(string(body), maxQuotedBytes))
	if text == "" {
		return "", false
	}
	return ": " + strconv.Quote(text), false
}

// retryAfter parses a Retry-After header (RFC 9110 section 10.2.3): seconds, or a date. It returns 0 for an unusable value, and
// at most maxRetryAfter, so that no answer can stop delivery permanently.
func retryAfter(header string, now time.Time) time.Duration {
	if len(header) > maxRetryAfterChars {
		return 0
	}
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
