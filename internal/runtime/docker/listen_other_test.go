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

// nowhere is an endpoint without a server.
const nowhere = "unix:///nonexistent/docker.sock"

// listen returns a listener like an engine's, and its endpoint.
func listen(t *testing.T, dir string) (net.Listener, string) {
	t.Helper()
	path := filepath.Join(dir, "d.sock")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	require.NoError(t, err)
	return l, "unix://" + path
}
