// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/quarantine"
)

const (
	maxAnswerBytes   = 64 << 10 // plus maxRejectedBytes for each event of the batch
	maxRejectedBytes = 2 << 10
	maxReasonBytes   = 1 << 10
	maxRetryAfter    = time.Minute // longer waits are cut, because a person waits for the command
)

// Target is an endpoint of the backend.
type Target struct {
	URL   string // without query
	Shown string // URL for errors: without user and password
	Flags string // the command-line flags that set it, for errors
}

// Sender posts batches.
type Sender struct {
	Client    *http.Client
	Events    Target
	Facts     Target
	Header    http.Header   // of each request: tenant and credentials
	MaxEvents int           // events or facts in a batch; at least 1
	MaxBytes  int           // of the uncompressed JSON of a batch; a larger event is sent alone
	Attempts  uint          // for a batch with a retryable error; at least 1
	FirstWait time.Duration // before the second attempt; later waits grow
}

type verdict int

const (
	unsent verdict = iota
	stored
	duplicate
	refused
)

// outcome is the result of one event or fact.
type outcome struct {
	verdict verdict
	reason  string // of a refusal
}

// unacceptableError is a response that rejects the content of a batch.
type unacceptableError struct {
	indivisible bool // dividing the batch does not help
	known       bool // the batch was processed before; the response does not repeat which events were rejected then
	reason      string
}

func (e *unacceptableError) Error() string { return e.reason }

// deliver sends items, which are events or facts about one subject, and stores the result of each in out, which has the same length. After an
// error, further batches would fail too.
func (s *Sender) deliver(ctx context.Context, of *about, items []quarantine.Entry, out []outcome) error {
	return s.divide(ctx, of, items, out, false)
}

// divide implements deliver. resent means that items are half of a batch that the backend processed before. Halves are batches with
// other ids, and their responses name the events that were rejected then. They are sent once.
func (s *Sender) divide(ctx context.Context, of *about, items []quarantine.Entry, out []outcome, resent bool) error {
	err := s.post(ctx, of, items, out)
	bad, ok := errors.AsType[*unacceptableError](err)
	switch {
	case !ok:
		return err
	case bad.known && (resent || len(items) == 1 || of != nil): // facts are not rejected one by one
		for i := range out {
			out[i].verdict = duplicate
		}
		return nil
	case len(items) > 1 && !bad.indivisible:
		half := len(items) / 2
		if err := s.divide(ctx, of, items[:half], out[:half], bad.known); err != nil {
			return err
		}
		return s.divide(ctx, of, items[half:], out[half:], bad.known)
	}
	for i := range out {
		out[i] = outcome{refused, bad.reason}
	}
	return nil
}

// post sends one batch and retries retryable errors.
func (s *Sender) post(ctx context.Context, of *about, items []quarantine.Entry, out []outcome) error {
	r := request{Target: s.Events, address: s.Events.URL, contentType: "application/json", items: items}
	if of == nil {
		r.id = batchID(items)
		r.body = encode(items, r.id)
	} else {
		r.Target, r.address, r.contentType, r.facts = s.Facts, s.Facts.URL+"?"+of.query(), backendapi.NDJSONContentType, true
		r.id, r.body = encodeFacts(of, items)
	}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval = s.FirstWait
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		return struct{}{}, s.attempt(ctx, &r, out)
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(s.Attempts), backoff.WithMaxElapsedTime(0))
	return err
}

// request is the encoded request of one batch.
type request struct {
	Target

	address, contentType, id string
	body                     []byte
	items                    []quarantine.Entry
	facts                    bool
}

// attempt sends one batch once. Errors that a retry cannot change are backoff.Permanent.
func (s *Sender) attempt(ctx context.Context, r *request, out []outcome) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.address, bytes.NewReader(r.body))
	if err != nil {
		return backoff.Permanent(fmt.Errorf("create the request to %s: %w", r.Shown, withoutURL(err)))
	}
	req.Header = s.Header.Clone()
	req.Header.Set("Content-Type", r.contentType)
	req.Header.Set(backendapi.HeaderIdempotencyKey, r.id)
	resp, err := s.Client.Do(req)
	if err != nil {
		return fmt.Errorf("POST %s: %w", r.Shown, withoutURL(err))
	}
	answer, err := backendapi.ReadAnswer(resp, int64(maxAnswerBytes+len(r.items)*maxRejectedBytes))
	_ = resp.Body.Close()
	status := fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if p, ok := backendapi.ParseProblem(resp.Header.Get("Content-Type"), answer); ok {
		status += ": " + clip(p.String())
	}
	switch {
	case resp.StatusCode != http.StatusAccepted:
		return r.refusal(resp, status)
	case err != nil:
		return fmt.Errorf("POST %s: read the answer %s: %w", r.Shown, status, err)
	case r.facts:
		for i := range out {
			out[i].verdict = stored
		}
		return nil
	default:
		return r.accepted(answer, out)
	}
}

// refusal returns the error of a response that is not 202: retryable, about the content of the batch, or about the configuration.
func (r *request) refusal(resp *http.Response, status string) error {
	switch code := resp.StatusCode; {
	case code == http.StatusConflict:
		return backoff.Permanent(&unacceptableError{known: true, reason: status})
	case code == http.StatusBadRequest, code == http.StatusUnprocessableEntity, code == http.StatusRequestEntityTooLarge:
		return backoff.Permanent(&unacceptableError{reason: status})
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests,
		code >= 500 && code != http.StatusNotImplemented:
		err := fmt.Errorf("POST %s: answered %s", r.Shown, status)
		if seconds, e := strconv.Atoi(resp.Header.Get("Retry-After")); e == nil && seconds > 0 {
			return fmt.Errorf("%w; %w", err, backoff.RetryAfter(min(seconds, int(maxRetryAfter/time.Second))))
		}
		return err
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return backoff.Permanent(fmt.Errorf("POST %s: answered %s; check --token-file and --tenant", r.Shown, status))
	case code < 400, code == http.StatusNotFound, code == http.StatusMethodNotAllowed, code == http.StatusNotImplemented:
		return backoff.Permanent(fmt.Errorf("POST %s: answered %s; the API is not at this address: check %s", r.Shown, status, r.Flags))
	}
	return backoff.Permanent(&unacceptableError{indivisible: true, reason: status})
}

// accepted stores the results of a 202 response.
func (r *request) accepted(answer []byte, out []outcome) error {
	var in backendapi.IngestResponse
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &in); err != nil {
			return backoff.Permanent(fmt.Errorf("POST %s: answered 202 with a body that is not of this API; check %s", r.Shown, r.Flags))
		}
	}
	sent := make(map[string]bool, len(r.items))
	for i := range r.items {
		sent[strings.ToLower(r.items[i].EventID)] = true
	}
	rejections := make(map[string]string, len(in.Rejected))
	for _, rejected := range in.Rejected {
		id, reason := strings.ToLower(rejected.EventID), clip(rejected.Code+" "+rejected.Detail) // UUIDs may be in upper case
		if !sent[id] {
			return backoff.Permanent(&unacceptableError{reason: reason}) // an unknown id: halves show which event is meant
		}
		rejections[id] = reason
	}
	duplicates := in.Duplicates // the response has only their number
	for i := range out {
		switch reason, rejected := rejections[strings.ToLower(r.items[i].EventID)]; {
		case rejected:
			out[i] = outcome{refused, reason}
		case duplicates > 0:
			out[i].verdict = duplicate
			duplicates--
		default:
			out[i].verdict = stored
		}
	}
	return nil
}

func withoutURL(err error) error {
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		return urlErr.Err
	}
	return err
}

func clip(s string) string {
	if len(s) > maxReasonBytes {
		s = s[:maxReasonBytes]
	}
	return strings.ToValidUTF8(s, "")
}
