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

// about is what facts of one request are about.
type about struct {
	graph   string
	subject backendapi.Subject
}

// same tells whether what is about both may be sent together. Nil stands for events.
func (a *about) same(b *about) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// factOf takes a quarantined fact apart: what it is about, and its line without an end.
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
		return nil, nil, errors.New("not a quarantined fact: callgraphId, subject and fact are needed")
	}
	return &about{e.Event.CallgraphID, e.Event.Subject}, e.Event.Fact, nil
}

// query is where facts are posted to, beside the path.
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

// encodeFacts makes a request's body, and its id, which follows from all that it says.
func encodeFacts(a *about, items []quarantine.Entry) (id string, body []byte) {
	for i := range items {
		body = append(append(body, items[i].Envelope...), '\n')
	}
	return backendapi.FactsID(a.graph, a.subject.Key(), body), body
}
