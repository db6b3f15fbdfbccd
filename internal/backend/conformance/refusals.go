// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// refusalChecks send invalid requests, which the server must refuse permanently, so that the exporter neither retries them without
// limit nor loses other events.
func refusalChecks() []check {
	return []check{
		{"malformed-json", "a body that is not JSON is answered with 400 or 422", Must, malformedJSON},
		{"torn-gzip", "a gzip body that ends early, or is not gzip, is answered with 400", Must, tornGzip},
		{"required-fields", "an event without a required field is refused (400, 422, or rejected)", Must, requiredFields},
		{"unknown-kind", "an event of an unknown kind is refused", Must, unknownKind},
		{"one-bad-event", "an invalid event never causes the loss of a valid one of its batch", Must, oneBadEvent},
		{"wrong-values", "empty texts, nulls, zero times and numbers out of range are refused", Should, wrongValues},
		{"unknown-schema", "another schema version is refused", Should, unknownSchema},
		{"problem-details", "a refusal is RFC 9457 problem details", Should, problemDetails},
		{"names-the-field", "a refusal names the field", Should, namesTheField},
		{"too-large", "a batch beyond the limit is answered with 413, or accepted", Must, tooLarge},
		{"bomb", "a small body that decompresses to 64 MiB is answered with 413 or 400", Should, bomb},
		{"unknown-encoding", "an unknown content encoding is answered with 415", Must, unknownEncoding},
		{"unknown-type", "a body whose type is not JSON is answered with 415", Should, unknownType},
		{"tenant-missing", "a batch without a tenant header is refused (400, 401, 403 or 422)", Must, tenantMissing},
		{"tenant-differs", "an event of another tenant than the header's is refused", Must, tenantDiffers},
		{"key-differs", "an Idempotency-Key that is not the batchId is refused", Should, keyDiffers},
		{"no-token", "a request without a token is answered with 401", Must, noToken},
		{"wrong-token", "a request with a wrong token is answered with 401", Must, wrongToken},
		{"wrong-path", "an unknown path is answered with 404, not as if it were accepted", Must, wrongPath},
		{"wrong-method", "an unknown method is answered with 405", Should, wrongMethod},
		{"retry-after", "answers 429 and 503 have a Retry-After", Should, saysRetryAfter},
	}
}

// want returns an error unless the answer has one of these statuses.
func want(a *answer, err error, statuses ...int) (string, error) {
	if err != nil {
		return "", err
	}
	if !slices.Contains(statuses, a.status) {
		return "", fmt.Errorf("want %s, but it %s", strings.Trim(fmt.Sprint(statuses), "[]"), a)
	}
	return a.String(), nil
}

// refusedFor reports whether the answer refuses an event permanently.
func refusedFor(a *answer, eventID string) bool {
	if a.status == http.StatusBadRequest || a.status == http.StatusUnprocessableEntity {
		return true
	}
	var in backendapi.IngestResponse
	if a.status != http.StatusAccepted || json.Unmarshal(a.body, &in) != nil {
		return false
	}
	return slices.ContainsFunc(in.Rejected, func(r backendapi.Rejected) bool { return strings.EqualFold(r.EventID, eventID) })
}

// damaged posts the stop of a new container, changed as JSON.
func (s *session) damaged(ctx context.Context, change func(batch, envelope, event map[string]any)) (*answer, string, error) {
	e := s.life().full()
	body, err := damage(batch(e), change)
	if err != nil {
		return nil, "", err
	}
	s.sent.Add(1)
	a, err := s.postRaw(ctx, body, nil)
	return a, e.EventID, err
}

// damage changes the last event of a batch as JSON.
func damage(b *backendapi.Batch, change func(batch, envelope, event map[string]any)) ([]byte, error) {
	var tree map[string]any
	dec := json.NewDecoder(bytes.NewReader(b.AppendCanonical(nil)))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("make an invalid batch: %w", err)
	}
	events, _ := tree["events"].([]any)
	envelope, _ := events[len(events)-1].(map[string]any)
	event, _ := envelope["event"].(map[string]any)
	change(tree, envelope, event)
	body, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("make an invalid batch: %w", err)
	}
	return body, nil
}

// at returns the object that a dotted path leads to, and the name of the member that the path ends with.
func at(event map[string]any, path string) (map[string]any, string) {
	object := event
	for {
		first, rest, more := strings.Cut(path, ".")
		next, ok := object[first].(map[string]any)
		if !more || !ok {
			return object, first
		}
		object, path = next, rest
	}
}

func malformedJSON(ctx context.Context, s *session) (string, error) {
	body := batch(s.life().stop()).AppendCanonical(nil)
	for _, raw := range [][]byte{nil, []byte("{"), body[:len(body)-1], []byte("<html>"), []byte("[]"), []byte(`"text"`)} {
		a, err := s.postRaw(ctx, raw, nil)
		if detail, err := want(a, err, http.StatusBadRequest, http.StatusUnprocessableEntity); err != nil {
			return detail, fmt.Errorf("a body of %q…: %w", raw[:min(len(raw), 10)], err)
		}
	}
	return "", nil
}

func tornGzip(ctx context.Context, s *session) (string, error) {
	body := batch(s.life().stop()).AppendCanonical(nil)
	header := map[string]string{"Content-Encoding": "gzip"}
	packed := zipped(body)
	for _, raw := range [][]byte{packed[:len(packed)/2], body, nil} {
		a, err := s.postRaw(ctx, raw, header)
		if detail, err := want(a, err, http.StatusBadRequest, http.StatusUnprocessableEntity); err != nil {
			return detail, err
		}
	}
	return "", nil
}

func requiredFields(ctx context.Context, s *session) (string, error) {
	var accepted []string
	for _, path := range []string{
		"eventId", "when", "kind", "tenant", "node", "runtime", "runtime.engine", "workload", "workload.containerId", "observation", "observation.source",
	} {
		a, id, err := s.damaged(ctx, func(_, _, event map[string]any) { o, name := at(event, path); delete(o, name) })
		if err != nil {
			return "", err
		}
		if !refusedFor(a, id) {
			accepted = append(accepted, fmt.Sprintf("without %s it %s", path, a))
		}
	}
	if len(accepted) > 0 {
		return "", errors.New(strings.Join(accepted, "; "))
	}
	return "", nil
}

func unknownKind(ctx context.Context, s *session) (string, error) {
	a, id, err := s.explode(ctx)
	if err != nil {
		return "", err
	}
	if !refusedFor(a, id) {
		return "", fmt.Errorf("it %s", a)
	}
	return a.String(), nil
}

func (s *session) explode(ctx context.Context) (*answer, string, error) {
	return s.damaged(ctx, func(_, _, event map[string]any) { event["kind"] = "CONTAINER_EXPLODE" })
}

func oneBadEvent(ctx context.Context, s *session) (string, error) {
	good, bad := s.life(), s.life()
	body, err := damage(batch(good.start(), good.stop(), bad.stop()), func(_, _, event map[string]any) { event["kind"] = "CONTAINER_EXPLODE" })
	if err != nil {
		return "", err
	}
	s.sent.Add(2)
	a, err := s.postRaw(ctx, body, nil)
	if err != nil {
		return "", err
	}
	if !refusedFor(a, bad.stop().EventID) {
		return "", fmt.Errorf("it %s", a)
	}
	// The exporter halves a refused batch. After a 202 it treats the rest of the batch as stored.
	again, err := s.post(ctx, batch(good.start(), good.stop()))
	if err != nil {
		return "", err
	}
	in, err := ingested(again, 2)
	if err != nil {
		return "", err
	}
	wantAccepted := 2
	if a.status == http.StatusAccepted {
		wantAccepted = 0
	}
	if in.Accepted != wantAccepted {
		return "", fmt.Errorf("first it %s, then the good events alone: it %s", a, again)
	}
	return a.String(), nil
}

func wrongValues(ctx context.Context, s *session) (string, error) {
	var accepted []string
	for _, c := range []struct {
		path  string
		value any
	}{
		{"eventId", "not-a-uuid"},
		{"when", "0001-01-01T00:00:00Z"},
		{"when", "yesterday"},
		{"run.startedAt", "1970-01-01T00:00:00Z"},
		{"run.exitCode", -1},
		{"run.exitCode", uint64(1) << 32},
		{"run.exitCode", "1"},
		{"workload.pod", ""},
		{"workload.pod", nil},
		{"workload.pod", strings.Repeat("x", backendapi.MaxName+1)},
		{"workload.containerId", "4f1a"},
		{"observation.source", "hearsay"},
		{"node", 7},
	} {
		a, id, err := s.damaged(ctx, func(_, _, event map[string]any) { o, name := at(event, c.path); o[name] = c.value })
		if err != nil {
			return "", err
		}
		if !refusedFor(a, id) {
			accepted = append(accepted, fmt.Sprintf("%s of %s: %s", c.path, shown(fmt.Sprintf("%.20v", c.value)), a))
		}
	}
	if len(accepted) > 0 {
		return "", errors.New(strings.Join(accepted, "; "))
	}
	return "", nil
}

func unknownSchema(ctx context.Context, s *session) (string, error) {
	a, id, err := s.damaged(ctx, func(_, envelope, _ map[string]any) { envelope["schemaVersion"] = "zastava.runtime.event@v99.0" })
	if err == nil && !refusedFor(a, id) {
		err = fmt.Errorf("it %s", a)
	}
	return conclude(a, err)
}

func problemDetails(ctx context.Context, s *session) (string, error) {
	a, _, err := s.explode(ctx)
	if err != nil {
		return "", err
	}
	if a.status == http.StatusAccepted {
		return "", skipError("bad events are rejected within 202")
	}
	p, ok := backendapi.ParseProblem(a.header.Get("Content-Type"), a.body)
	if !ok {
		return "", fmt.Errorf("its Content-Type is %q, and it %s", shown(a.header.Get("Content-Type")), a)
	}
	if p.Status != 0 && p.Status != a.status {
		return "", fmt.Errorf("the details have status %d, and it %s", p.Status, a)
	}
	return a.String(), nil
}

func namesTheField(ctx context.Context, s *session) (string, error) {
	a, id, err := s.explode(ctx)
	if err != nil {
		return "", err
	}
	var texts []string
	if p, ok := backendapi.ParseProblem(a.header.Get("Content-Type"), a.body); ok {
		texts = append(texts, p.Detail)
		for i := range p.Errors {
			texts = append(texts, p.Errors[i].Field)
		}
	}
	var in backendapi.IngestResponse
	if a.status == http.StatusAccepted && json.Unmarshal(a.body, &in) == nil {
		for _, r := range in.Rejected {
			if strings.EqualFold(r.EventID, id) {
				texts = append(texts, r.Detail)
			}
		}
	}
	if !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, "kind") }) {
		return "", fmt.Errorf("the refusal of an unknown kind does not name the field: it %s", a)
	}
	return a.String(), nil
}
