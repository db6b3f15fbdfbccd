// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"fmt"
	"net/http"

	"go.yaml.in/yaml/v3"
)

// operationChecks request the health, readiness and document of the server.
func operationChecks() []check {
	return []check{
		{"health", "GET /healthz is answered with 200", May, serves("/healthz")},
		{"readiness", "GET /readyz is answered with 200", May, serves("/readyz")},
		{"openapi", "GET /openapi.yaml is an OpenAPI document that has the events", May, openapi},
	}
}

func serves(path string) func(context.Context, *session) (string, error) {
	return func(ctx context.Context, s *session) (string, error) {
		a, err := s.do(ctx, http.MethodGet, path, nil, nil)
		if err == nil && a.notServed() {
			return "", errAbsent
		}
		return want(a, err, http.StatusOK)
	}
}

func openapi(ctx context.Context, s *session) (string, error) {
	a, err := s.do(ctx, http.MethodGet, "/openapi.yaml", nil, nil)
	switch {
	case err != nil:
		return "", err
	case a.notServed():
		return "", errAbsent
	case a.status != http.StatusOK:
		return "", fmt.Errorf("it %s", a)
	}
	var doc struct {
		OpenAPI string         `yaml:"openapi"`
		Paths   map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(a.body, &doc); err != nil {
		return "", fmt.Errorf("it is not YAML: %s", shown(err.Error()))
	}
	if doc.OpenAPI == "" || doc.Paths[s.o.EventsPath] == nil {
		return "", fmt.Errorf("it has no path %s", s.o.EventsPath)
	}
	return "OpenAPI " + shown(doc.OpenAPI), nil
}
