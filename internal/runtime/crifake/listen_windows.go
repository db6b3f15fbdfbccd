// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package crifake

import (
	"net"

	"github.com/zastava-otel/zastava/internal/testpipe"
)

// listen serves a named pipe that is called after path.
func listen(path string) (net.Listener, string, error) {
	name := testpipe.Name(path)
	l, err := testpipe.Listen(name)
	return l, testpipe.Endpoint(name), err
}
