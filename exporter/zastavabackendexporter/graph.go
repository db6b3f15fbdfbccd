// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// graphTemplate is a parsed callgraph_id: text that may contain {imageDigest}, {component}, {version} and {label:key}.
type graphTemplate []graphPart

type graphPart struct {
	text  string // literal text, or the name in braces
	value bool   // text is a name
}

func parseGraph(text string) (graphTemplate, error) {
	var out graphTemplate
	for rest := text; rest != ""; {
		before, after, found := strings.Cut(rest, "{")
		if before != "" {
			out = append(out, graphPart{text: before})
		}
		if !found {
			return out, nil
		}
		name, tail, closed := strings.Cut(after, "}")
		label, isLabel := strings.CutPrefix(name, "label:")
		switch {
		case !closed:
			return nil, fmt.Errorf("callgraph_id %q contains a { without }: add the }", text)
		case name == "imageDigest", name == "component", name == "version", isLabel && label != "":
		default:
			return nil, fmt.Errorf("callgraph_id: {%s} is unknown: use {imageDigest}, {component}, {version} or {label:key}", name)
		}
		out = append(out, graphPart{text: name, value: true})
		rest = tail
	}
	return out, nil
}

// expand returns the call graph of a subject. It returns false for a container that lacks what the template names.
func (t graphTemplate) expand(s *backendapi.Subject, w *backendapi.Workload) (string, bool) {
	if len(t) == 1 && !t[0].value {
		return t[0].text, true
	}
	var b strings.Builder
	for _, p := range t {
		value := p.text
		if p.value {
			switch p.text {
			case "imageDigest":
				value = s.ImageDigest
			case "component":
				value = s.Component
			case "version":
				value = s.Version
			default:
				value = w.Labels[strings.TrimPrefix(p.text, "label:")]
			}
			if value == "" {
				return "", false
			}
		}
		b.WriteString(value)
	}
	return b.String(), backendapi.Fits(b.String(), backendapi.MaxName)
}

func quoted(s string) []byte { return encoded(s) }

// encoded returns v, which consists of strings only, as JSON.
func encoded(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		return []byte(`""`) // cannot happen: strings always encode
	}
	return out
}
