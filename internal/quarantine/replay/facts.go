// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/quarantine"
)

// about is the subject of the facts of one request.
type about struct {
	graph   string
	subject backendapi.Subject
}

// same reports whether facts about a and b may be in one request. Nil stands for events.
func (a *about) same(b *about) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// factOf decodes a quarantined fact: its subject, and its NDJSON line without the newline.
func factOf(envelope []byte) (*about, []byte, error) {
	var e struct {
		Event struct {
			CallgraphID string             `json:"callgraphId"`
			Fact        json.RawMessage    `json:"fact"`
			Subject     backendapi.Subject `json:"subject"`
		} `json:"event"`
	}
	if err := json.Unmarshal(envelope, &e); err != nil {
		return nil, nil, fmt.Errorf("not a quarantined fact: %w", err)
	}
	if e.Event.CallgraphID == "" || e.Event.Subject.Key() == "" || len(e.Event.Fact) == 0 || e.Event.Fact[0] != '{' {
		return nil, nil, errors.New("not a quarantined fact: callgraphId, subject and fact are required")
	}
	return &about{e.Event.CallgraphID, e.Event.Subject}, e.Event.Fact, nil
}

// query returns the query of the request.
func (a *about) query() string {
	q := url.Values{"callgraphId": {a.graph}}
	for name, value := range map[string]string{
		"imageDigest": a.subject.ImageDigest, "scanId": a.subject.ScanID, "component": a.subject.Component, "version": a.subject.Version,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q.Encode()
}

// encodeFacts returns the body of a request and its id, which is derived from subject and body.
func encodeFacts(a *about, items []quarantine.Entry) (id string, body []byte) {
	for i := range items {
		body = append(append(body, items[i].Envelope...), '\n')
	}
	return backendapi.FactsID(a.graph, a.subject.Key(), body), body
}
