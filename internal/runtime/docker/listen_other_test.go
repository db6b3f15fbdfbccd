// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package docker

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// nowhere is an endpoint that nobody serves.
const nowhere = "unix:///nonexistent/docker.sock"

// listen listens where an engine would, and gives the endpoint.
func listen(t *testing.T, dir string) (net.Listener, string) {
	t.Helper()
	path := filepath.Join(dir, "d.sock")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	require.NoError(t, err)
	return l, "unix://" + path
}
