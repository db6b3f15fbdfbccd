// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// factsChecks send runtime facts and query them.
func factsChecks() []check {
	return []check{
		{"facts", "facts as NDJSON, gzip or plain, are answered with 202 and their number", May, factsTaken},
		{"facts-json", "facts as one JSON document are answered the same", May, factsJSON},
		{"facts-refusals", "facts without callgraphId, subject, symbolId, hitCount, or lines are answered with 400", May, factsRefused},
		{"facts-repeat", "a request with the idempotency key of a stored one is not counted twice", Should, factsRepeated},
		{"facts-sums", "GET returns the facts of a subject with the sums of their hits", May, factsSums},
	}
}

const callgraph = "conformance"

// subject returns an image that no other check uses.
func (s *session) subject() string { return "sha256:" + randomHex(32) }

// postFacts posts facts of an image as NDJSON.
func (s *session) postFacts(ctx context.Context, query url.Values, lines []byte, header map[string]string) (*answer, error) {
	all := map[string]string{"Content-Type": backendapi.NDJSONContentType}
	maps.Copy(all, header)
	return s.do(ctx, http.MethodPost, backendapi.FactsNDJSONPath+"?"+query.Encode(), lines, all)
}

func of(image string) url.Values {
	return url.Values{"callgraphId": {callgraph}, "imageDigest": {image}}
}

func (s *session) fact(n int, hits uint64) backendapi.Fact {
	return backendapi.Fact{
		SymbolID: fmt.Sprintf("sym:binary:conformance-%s-%d", s.run, n), CodeID: fmt.Sprintf("code:binary:conformance-%s-%d", s.run, n),
		BuildID: "gnu-build-id:9f3a1cd4", PURL: "pkg:deb/debian/libssl3@3.0.15", LoaderBase: "0x7f23c01000", ProcessID: 214, ProcessName: "uwsgi",
		HitCount: hits, ObservedAt: new(s.began), Metadata: map[string]string{backendapi.FactPath: "/usr/lib/libssl.so.3", backendapi.FactStatus: "PRESENT"},
	}
}

func ndjson(facts ...backendapi.Fact) []byte {
	var out []byte
	for i := range facts {
		out = append(facts[i].AppendCanonical(out), '\n')
	}
	return out
}

// factsIngested decodes a 202 for n facts.
func (s *session) factsIngested(a *answer, err error, n int) error {
	switch {
	case err != nil:
		return err
	case a.notServed():
		return errAbsent
	case a.status != http.StatusAccepted:
		return fmt.Errorf("want 202, but it %s", a)
	}
	s.facts.Add(int64(n))
	var in backendapi.FactsResponse
	if json.Unmarshal(a.body, &in) != nil || in.Accepted != n {
		return fmt.Errorf("accepted must be %d: it %s", n, a)
	}
	return nil
}

func factsTaken(ctx context.Context, s *session) (string, error) {
	image := s.subject()
	a, err := s.postFacts(ctx, of(image), zipped(ndjson(s.fact(1, 3), s.fact(2, 1))), map[string]string{"Content-Encoding": "gzip"})
	if err := s.factsIngested(a, err, 2); err != nil {
		return "", err
	}
	a, err = s.postFacts(ctx, of(image), []byte(`{"symbolId":"sym:binary:conformance-minimal","hitCount":1}`), nil) // no end of line
	return conclude(a, s.factsIngested(a, err, 1))
}

func factsJSON(ctx context.Context, s *session) (string, error) {
	body, err := json.Marshal(backendapi.Facts{
		CallgraphID: callgraph, Subject: backendapi.Subject{ImageDigest: s.subject()}, Events: []backendapi.Fact{s.fact(1, 1), s.fact(2, 1)},
	})
	if err != nil {
		return "", fmt.Errorf("encode facts: %w", err)
	}
	a, err := s.do(ctx, http.MethodPost, backendapi.FactsPath, body, map[string]string{"Content-Type": "application/json"})
	return conclude(a, s.factsIngested(a, err, 2))
}

func factsRefused(ctx context.Context, s *session) (string, error) {
	image := s.subject()
	good := string(ndjson(s.fact(1, 1)))
	var accepted []string
	for _, c := range []struct {
		name  string
		query url.Values
		lines string
	}{
		{"no callgraphId", url.Values{"imageDigest": {image}}, good},
		{"no subject", url.Values{"callgraphId": {callgraph}}, good},
		{"no lines", of(image), ""},
		{"no symbolId", of(image), good + `{"hitCount":1}` + "\n"},
		{"no hitCount", of(image), good + `{"symbolId":"sym:x"}` + "\n"},
		{"no JSON", of(image), good + `{"symbolId":` + "\n"},
	} {
		a, err := s.postFacts(ctx, c.query, []byte(c.lines), nil)
		switch {
		case err != nil:
			return "", err
		case a.notServed():
			return "", errAbsent
		case a.status != http.StatusBadRequest && a.status != http.StatusUnprocessableEntity:
			accepted = append(accepted, c.name+": it "+a.String())
		}
	}
	if len(accepted) > 0 {
		return "", errors.New(strings.Join(accepted, "; "))
	}
	return "", nil
}

// hits returns the sum of the hits of a subject's only fact.
func (s *session) hits(ctx context.Context, image string) (uint64, error) {
	p, _, err := get[struct {
		Facts []backendapi.Fact `json:"facts"`
	}](ctx, s, backendapi.FactsPath, url.Values{"imageDigest": {image}})
	if err != nil {
		return 0, err
	}
	if len(p.Facts) != 1 || p.Facts[0].SymbolID != s.fact(1, 1).SymbolID {
		return 0, fmt.Errorf("one fact was sent, and %d are listed", len(p.Facts))
	}
	return p.Facts[0].HitCount, nil
}

func factsRepeated(ctx context.Context, s *session) (string, error) {
	image, key := s.subject(), map[string]string{backendapi.HeaderIdempotencyKey: uuid.NewString()}
	for range 2 {
		a, err := s.postFacts(ctx, of(image), ndjson(s.fact(1, 3)), key)
		if err := s.factsIngested(a, err, 1); err != nil && (a == nil || a.status != http.StatusConflict) {
			return "", err
		}
	}
	sum, err := s.hits(ctx, image)
	if err == nil && sum != 3 {
		err = fmt.Errorf("three hits, sent twice under one key, became %d", sum)
	}
	return "", err
}

func factsSums(ctx context.Context, s *session) (string, error) {
	image := s.subject()
	for _, hits := range []uint64{3, 4} {
		a, err := s.postFacts(ctx, of(image), ndjson(s.fact(1, hits)), map[string]string{backendapi.HeaderIdempotencyKey: uuid.NewString()})
		if err := s.factsIngested(a, err, 1); err != nil {
			return "", err
		}
	}
	sum, err := s.hits(ctx, image)
	if err == nil && sum != 7 {
		err = fmt.Errorf("3 and 4 hits became %d", sum)
	}
	return "", err
}
