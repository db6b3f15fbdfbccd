// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/tracker"
)

func TestComposeAndPlatformRoundTrip(t *testing.T) {
	k := &tracker.Known{
		State: container.StateRunning, Run: container.Run{StartedAt: seen},
		Container: &container.Container{
			Engine: "docker", Runtime: "main", Platform: container.Platform{OS: "windows"}, ID: "c1", Name: "shop-web-1", CreatedAt: seen,
			Compose: container.Compose{Project: "shop", Service: "web", Number: "1"},
		},
	}
	raw, err := encode(k)
	require.NoError(t, err)
	back, err := decode("c1", meta{Engine: "docker", Runtime: "main"}, raw)
	require.NoError(t, err)
	assert.Equal(t, k.Container, back.Container)
	assert.Equal(t, k.Container.Identity(), back.Container.Identity())
}
