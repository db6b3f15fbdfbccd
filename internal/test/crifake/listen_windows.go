// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package crifake

import (
	"net"

	"github.com/zastava-otel/zastava/internal/test/namedpipe"
)

// listen listens on a named pipe with a name derived from path.
func listen(path string) (net.Listener, string, error) {
	name := namedpipe.Name(path)
	l, err := namedpipe.Listen(name)
	return l, namedpipe.Endpoint(name), err
}
