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
	maxAnswerBytes   = 64 << 10 // and maxRejectedBytes for each event of the batch
	maxRejectedBytes = 2 << 10
	maxReasonBytes   = 1 << 10
	maxRetryAfter    = time.Minute // waited for; a person is at the other end
)

// Target is where something is posted to.
type Target struct {
	URL   string // without query
	Shown string // URL as errors may show it: no user, no password
	Flags string // the flags that a user checks when this is not where the API is
}

// Sender posts batches.
type Sender struct {
	Client    *http.Client
	Events    Target
	Facts     Target
	Header    http.Header   // of each request: tenant and credentials
	MaxEvents int           // or facts, in a batch, at least 1
	MaxBytes  int           // of a batch's uncompressed JSON; an event beyond it goes alone
	Attempts  uint          // for a batch that the backend asks to come back with, or that got no answer; at least 1
	FirstWait time.Duration // before the second attempt; doubles
}

type verdict int

const (
	unsent verdict = iota
	stored
	duplicate
	refused
)

// outcome is what became of one event.
type outcome struct {
	verdict verdict
	reason  string // why it is refused
}

// unacceptableError is an answer about the batch's content.
type unacceptableError struct {
	whole  bool // dividing the batch does not help
	known  bool // the batch was stored before; what of it was rejected then is not told
	reason string
}

func (e *unacceptableError) Error() string { return e.reason }

// deliver sends items, events or facts about something, and writes what became of each into out, which is as long. An error means that sending more is
// of no use now.
func (s *Sender) deliver(ctx context.Context, of *about, items []quarantine.Entry, out []outcome) error {
	return s.divide(ctx, of, items, out, false)
}

// divide is deliver. asked: items are half of what was stored before. The answers to halves, which are batches of other ids,
// name what that rejected; they are asked once.
func (s *Sender) divide(ctx context.Context, of *about, items []quarantine.Entry, out []outcome, asked bool) error {
	err := s.post(ctx, of, items, out)
	bad, ok := errors.AsType[*unacceptableError](err)
	switch {
	case !ok:
		return err
	case bad.known && (asked || len(items) == 1 || of != nil): // no fact is rejected by itself
		for i := range out {
			out[i].verdict = duplicate
		}
		return nil
	case len(items) > 1 && !bad.whole:
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

// post sends one batch until there is an answer that will not change.
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
		return struct{}{}, s.once(ctx, &r, out)
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(s.Attempts), backoff.WithMaxElapsedTime(0))
	return err
}

// request is a batch on its way.
type request struct {
	Target

	address, contentType, id string
	body                     []byte
	items                    []quarantine.Entry
	facts                    bool
}

// once sends one batch once. Errors that a repetition may mend are not backoff.Permanent.
func (s *Sender) once(ctx context.Context, r *request, out []outcome) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.address, bytes.NewReader(r.body))
	if err != nil {
		return backoff.Permanent(fmt.Errorf("make the request to %s: %w", r.Shown, withoutURL(err)))
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
	says := fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if p, ok := backendapi.ParseProblem(resp.Header.Get("Content-Type"), answer); ok {
		says += ": " + clip(p.String())
	}
	switch code := resp.StatusCode; {
	case code == http.StatusAccepted && err != nil:
		return fmt.Errorf("POST %s: read the answer %s: %w", r.Shown, says, err)
	case code == http.StatusAccepted && r.facts:
		for i := range out {
			out[i].verdict = stored
		}
		return nil
	case code == http.StatusAccepted:
		return r.accepted(answer, out)
	case code == http.StatusConflict:
		return backoff.Permanent(&unacceptableError{known: true, reason: says})
	case code == http.StatusBadRequest, code == http.StatusUnprocessableEntity, code == http.StatusRequestEntityTooLarge:
		return backoff.Permanent(&unacceptableError{reason: says})
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests,
		code >= 500 && code != http.StatusNotImplemented:
		err := fmt.Errorf("POST %s: answered %s", r.Shown, says)
		if seconds, e := strconv.Atoi(resp.Header.Get("Retry-After")); e == nil && seconds > 0 {
			return fmt.Errorf("%w; %w", err, backoff.RetryAfter(min(seconds, int(maxRetryAfter/time.Second))))
		}
		return err
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return backoff.Permanent(fmt.Errorf("POST %s: answered %s; check --token-file and --tenant", r.Shown, says))
	case code < 400, code == http.StatusNotFound, code == http.StatusMethodNotAllowed, code == http.StatusNotImplemented:
		return backoff.Permanent(fmt.Errorf("POST %s: answered %s; this is not where the API is: check %s", r.Shown, says, r.Flags))
	}
	return backoff.Permanent(&unacceptableError{whole: true, reason: says})
}

// accepted reads a 202.
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
	no := make(map[string]string, len(in.Rejected))
	for _, rejected := range in.Rejected {
		id, reason := strings.ToLower(rejected.EventID), clip(rejected.Code+" "+rejected.Detail) // an id in any spelling of a UUID
		if !sent[id] {
			return backoff.Permanent(&unacceptableError{reason: reason}) // which one is meant, the halves tell
		}
		no[id] = reason
	}
	duplicates := in.Duplicates // the answer does not say which; only their number is told
	for i := range out {
		switch reason, rejected := no[strings.ToLower(r.items[i].EventID)]; {
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
