// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
)

func TestFilterAllows(t *testing.T) {
	c := &container.Container{Name: "api", Pod: container.Pod{Namespace: "payments", Name: "api-7c9f"}, Image: container.Image{Reference: "ghcr.io/acme/api:1.8"}}
	tests := []struct {
		name             string
		include, exclude []Match
		allows           bool
	}{
		{"none", nil, nil, true},
		{"included by namespace", []Match{{Namespaces: []string{"pay*"}}}, nil, true},
		{"not included", []Match{{Namespaces: []string{"kube-*"}}}, nil, false},
		{"all lists of a match must fit", []Match{{Namespaces: []string{"payments"}, Containers: []string{"db"}}}, nil, false},
		{"one include is enough", []Match{{Containers: []string{"db"}}, {Images: []string{"ghcr.io/*"}}}, nil, true},
		{"exclude wins", []Match{{Namespaces: []string{"*"}}}, []Match{{Pods: []string{"api-????"}}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := NewFilter(tt.include, tt.exclude)
			require.NoError(t, err)
			assert.Equal(t, tt.allows, f.Allows(c))
		})
	}
	_, err := NewFilter([]Match{{Pods: []string{"ok", "[bad"}}}, nil)
	require.ErrorContains(t, err, `include[0].pods[1]: "[bad" is not a glob`)
	_, err = NewFilter(nil, []Match{{}})
	require.ErrorContains(t, err, "exclude[0]: is empty")
}
