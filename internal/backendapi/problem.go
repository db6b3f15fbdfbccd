// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"encoding/json"
	"mime"
	"strings"

	"github.com/zastava-otel/zastava/internal/limit"
)

// ProblemContentType is the media type of RFC 9457 problem details.
const ProblemContentType = "application/problem+json"

// Problem is the body of a refusal (RFC 9457). Errors names the faulty fields.
type Problem struct {
	Type   string       `json:"type,omitempty"`
	Title  string       `json:"title,omitempty"`
	Status int          `json:"status,omitempty"`
	Detail string       `json:"detail,omitempty"`
	Errors []FieldError `json:"errors,omitempty"`
}

// problemJSON bounds problem details: one field error for each of the events of a batch, and members of other standards.
var problemJSON = limit.JSON{Nesting: 16, Items: 64 + 8*MaxEventsPerBatch, Digits: 32}

// ParseProblem decodes the body of an answer as problem details. It returns false if the body has another type, no text, or more
// values or digits than problem details need.
func ParseProblem(contentType string, body []byte) (*Problem, bool) {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil || mediaType != ProblemContentType {
		return nil, false
	}
	if limit.CheckJSON(body, problemJSON) != nil {
		return nil, false
	}
	p := new(Problem)
	if err := json.Unmarshal(body, p); err != nil || (p.Title == "" && p.Detail == "" && len(p.Errors) == 0) {
		return nil, false
	}
	return p, true
}

// String returns the problem in one line.
func (p *Problem) String() string {
	parts := make([]string, 0, 2+len(p.Errors))
	for _, s := range []string{p.Title, p.Detail} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	for i := range p.Errors {
		parts = append(parts, p.Errors[i].Error())
	}
	return strings.Join(parts, "; ")
}
