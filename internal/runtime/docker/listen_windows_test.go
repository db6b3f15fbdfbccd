// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/test/namedpipe"
)

// nowhere is an endpoint without a server.
const nowhere = "npipe:////./pipe/nonexistent"

// listen returns a listener like an engine's, and its endpoint.
func listen(t *testing.T, dir string) (net.Listener, string) {
	t.Helper()
	name := namedpipe.Name(dir)
	l, err := namedpipe.Listen(name)
	require.NoError(t, err)
	return l, namedpipe.Endpoint(name)
}
