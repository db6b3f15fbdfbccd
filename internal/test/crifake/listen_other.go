// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package crifake

import (
	"context"
	"net"
)

// listen listens on a Unix socket.
func listen(path string) (net.Listener, string, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", path)
	return l, "unix://" + path, err
}
